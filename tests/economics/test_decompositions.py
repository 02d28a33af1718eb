"""Variances and paths by shock, forecasts: beside closed forms and NumPy, step by step."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dini.economics import Model, Record
from tests.support.compare import all_nan, assert_close
from tests.support.economies import new_keynesian, smets_wouters


def tilted(lag, now, lead, shock, p):
    """k remembers, c looks ahead, h is k twice over and u is moved by no shock."""
    return [
        p["rho"] * lag.k + 0.3 * lag.z + shock.a - now.k,
        0.8 * lag.z + 0.5 * shock.a + p["sigma"] * shock.b - now.z,
        0.4 * lead.c + now.k - now.z + 1.0 - now.c,
        2 * now.k - now.h,
        now.u - 3,
    ]


REST = {"k": 0.0, "z": 0.0, "c": 1 / 0.6, "h": 0.0, "u": 3.0}
MODEL = Model(tilted, "k z c h u", "a b", steady_state=REST)
P = {"rho": jnp.asarray(0.9), "sigma": jnp.asarray(1.5)}


@functools.cache
def law():
    return MODEL.first_order(P)


@functools.cache
def arrays():
    return np.asarray(law().transition), np.asarray(law().impact)


def brute_force_variances(x, r, horizon):
    """Σ_{t<h} (Xᵗ R)² by shock, for h = 1, …, horizon."""
    parts, response, total = [], r, 0
    for _ in range(horizon):
        total = total + response**2
        parts.append(total)
        response = x @ response
    return np.stack(parts)


# --- Variances ------------------------------------------------------------------------------------


def test_variance_shares_are_the_sums_of_squared_responses():
    shares = law().variance_decomposition(12)
    parts = brute_force_variances(*arrays(), 12)[:, :4]
    assert_close(shares[:, :4], parts / parts.sum(-1, keepdims=True), rtol=1e-13)
    assert not np.any(shares[:, 4])


def test_variance_shares_of_the_long_run_are_those_of_many_periods():
    shares = law().variance_decomposition()
    parts = brute_force_variances(*arrays(), 600)[-1, :4]
    assert_close(shares[:4], parts / parts.sum(-1, keepdims=True), rtol=1e-12)
    assert not np.any(shares[4])


@pytest.mark.slow
def test_variance_shares_sum_to_the_covariance_by_scipy_shock_by_shock():
    economy = smets_wouters
    names = economy.VARIABLES, economy.SHOCKS
    found = Model(economy.equations, *names, steady_state=economy.steady_state)
    found = found.first_order(economy.Params())
    x, r = np.asarray(found.transition), np.asarray(found.impact)
    by_shock = [np.diag(scipy.linalg.solve_discrete_lyapunov(x, np.outer(c, c))) for c in r.T]
    expected = np.stack(by_shock, -1) / np.sum(by_shock, 0)[:, None]
    assert_close(found.variance_decomposition(), expected, rtol=1e-9)


@pytest.mark.slow
def test_decompositions_are_differentiable_where_nothing_moves_too():
    """Along one direction, beside differences; and backwards beside that."""
    random = np.random.default_rng(3)
    shapes = law().transition.shape, law().impact.shape
    direction = [random.standard_normal(shape) * 0.1 for shape in shapes]
    direction[0][4] = direction[1][4] = 0

    @jax.jit
    def all_of(x, r):
        found = eqx.tree_at(lambda law: (law.transition, law.impact), law(), (x, r))
        shares = found.variance_decomposition(3), found.variance_decomposition()
        return *shares, found.autocovariance(2), found.forecast([1.0, 1.0], 2).upper

    at = lambda h: all_of(*[m + h * d for m, d in zip(arrays(), direction, strict=True)])
    _, tangents = jax.jvp(all_of, arrays(), tuple(direction))
    near, far = ([b - a for a, b in zip(at(-h), at(h), strict=True)] for h in (1e-3, 2e-3))
    for tangent, one, two in zip(tangents, near, far, strict=True):
        assert_close(tangent, (8 * one - two) / 12e-3, rtol=1e-8)
    weights = [random.standard_normal(t.shape) for t in tangents]
    _, back = jax.vjp(all_of, *arrays())
    inner = lambda a, b: sum(np.sum(x * y) for x, y in zip(a, b, strict=True))
    assert_close(inner(back(tuple(weights)), direction), inner(weights, tangents), rtol=1e-11)


def test_variance_shares_of_no_law_are_nan():
    none = MODEL.first_order(P | {"rho": 1.1}, throw=False)
    assert all_nan(none.variance_decomposition(2))
    assert all_nan(none.variance_decomposition())


@pytest.mark.slow
def test_autocovariances_are_those_of_the_closed_form():
    p = new_keynesian.Params()
    names = new_keynesian.VARIABLES, new_keynesian.SHOCKS
    m = Model(new_keynesian.equations, *names, steady_state=new_keynesian.steady_state)
    x, r = (np.asarray(m) for m in new_keynesian.law(p))
    v = scipy.linalg.solve_discrete_lyapunov(x, r @ r.T)
    expected = np.stack([np.linalg.matrix_power(x, lag) @ v for lag in range(4)])
    assert_close(m.first_order(p).autocovariance(3), expected, rtol=1e-12)


# --- Forecasts ------------------------------------------------------------------------------------


def test_forecast_is_the_mean_path_with_the_quantiles_of_its_errors():
    x, r = arrays()
    state, p0 = np.array([1.0, -2.0, 0.0, 0.0, 0.0]), np.diag([0.5, 0.2, 0.0, 0.0, 0.0])
    found = law().forecast(state, 6, coverage=0.8, state_cov=p0)
    mean, cov = state, p0
    z = scipy.stats.norm.ppf(0.9)
    for t in range(6):
        mean, cov = x @ mean, x @ cov @ x.T + r @ r.T
        assert_close(found.mean[t], mean, rtol=1e-13)
        assert_close(found.covariance[t], cov, rtol=1e-13)
        assert_close(found.upper[t] - found.lower[t], 2 * z * np.sqrt(np.diag(cov)), rtol=1e-12)
        assert_close(found.upper[t] + found.lower[t], 2 * mean, rtol=1e-13)


def test_forecast_covers_what_it_says():
    """Of 4000 simulated paths, in the fourth period."""
    draws = np.random.default_rng(0).standard_normal((4000, 4, 2))
    paths = jax.vmap(law().simulate)(draws)[:, -1, :4]
    found = law().forecast(jnp.zeros(5), 4, coverage=[0.5, 0.9])
    assert found.lower.shape == (2, 4, 5)
    inside = (paths > found.lower[:, None, -1, :4]) & (paths < found.upper[:, None, -1, :4])
    error = np.abs(inside.mean(1) - np.array([[0.5], [0.9]]))
    assert np.max(error) < 4 * np.sqrt(0.25 / 4000)


def test_forecast_takes_a_state_in_every_form():
    vector = np.array([1.0, -2.0, 5.0, 5.0, 5.0])
    rest = law().steady_state.vector
    plain = law().forecast(vector, 3).mean
    for state in ([1.0, -2.0], {"z": -2.0, "k": 1.0}, Record.of(MODEL.variables, vector)):
        assert_close(law().forecast(state, 3).mean, plain, rtol=1e-15)
    levels = law().forecast(vector + rest, 3, levels=True)
    assert_close(levels.mean, plain + rest, rtol=1e-14)
    assert_close(levels.upper - levels.mean, law().forecast(vector, 3).upper - plain, rtol=1e-12)


def test_forecast_refuses_what_does_not_fit():
    for state in (jnp.zeros(3), jnp.zeros((2, 1)), 1.0):
        with pytest.raises(ValueError, match="5 variables, or of the 2 states"):
            law().forecast(state, 2)
    with pytest.raises(ValueError, match="nothing for z"):
        law().forecast({"k": 1.0}, 2)
    with pytest.raises(ValueError, match="there is no 'kk'"):
        law().forecast({"k": 1.0, "kk": 1.0, "z": 1.0}, 2)
    with pytest.raises(ValueError, match="covariance of the 5"):
        law().forecast([0.0, 0.0], 2, state_cov=jnp.eye(4))
    for coverage in (0.0, 1.0, 90, [0.5, -0.1]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            law().forecast([0.0, 0.0], 2, coverage=coverage)


# --- History --------------------------------------------------------------------------------------


def test_historical_decomposition_sums_to_the_path():
    x, r = arrays()
    shocks = np.random.default_rng(1).standard_normal((20, 2))
    w = start = np.array([0.7, -1.0, 0.0, 0.0, 0.0])
    found = law().historical_decomposition(shocks, start)
    assert found.shocks.shape == (20, 5, 2)
    for t, shock in enumerate(shocks):
        w = x @ w + r @ shock
        assert_close(found.path[t], w, rtol=1e-13)
        assert_close(found.initial[t], np.linalg.matrix_power(x, t + 1) @ start, rtol=1e-13)


def test_historical_decomposition_gives_to_each_shock_its_own_path():
    shocks = np.random.default_rng(2).standard_normal((20, 2))
    found = law().historical_decomposition(shocks)
    for j in range(2):
        alone = law().simulate(shocks * (np.arange(2) == j))
        assert_close(found.shocks[..., j], alone, rtol=1e-13)
    assert not np.any(found.initial)


def test_historical_decomposition_from_levels():
    shocks, rest = np.zeros((3, 2)), law().steady_state.vector
    levels = law().historical_decomposition(shocks, rest + 1.0, levels=True)
    assert_close(levels.path, law().historical_decomposition(shocks, jnp.ones(5)).path, rtol=1e-14)


def test_historical_decomposition_refuses_shocks_of_another_shape():
    with pytest.raises(ValueError, match=r"historical_decomposition takes shocks of shape"):
        law().historical_decomposition(jnp.zeros((4, 3)))
