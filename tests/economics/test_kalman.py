"""The likelihood against the density of the stacked data; its derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini.economics._kalman import kalman_filter, log_likelihood
from dini.economics._state_space import Prior, StateSpace, kept, of_law
from dini.numeric import ridders_jvp
from dini.testing import check_rule
from tests.support import gaussian
from tests.support.compare import all_nan
from tests.support.state_spaces import (
    COV,
    DATA,
    FULL,
    GAPS,
    IMPACT,
    MEAN,
    OBSERVATION,
    TRANSITION,
    VARIANCES,
    K,
    M,
    P,
    S,
    T,
    at_first,
    singular,
    spaces,
)

NOISES = {"full": FULL, "diagonal": VARIANCES, "none": None}


def sample(h, first=0, mean=MEAN, cov=COV, periods=T):
    h = np.zeros((M, M)) if h is None else np.diag(h) if np.ndim(h) == 1 else h
    return gaussian.dense(TRANSITION, IMPACT, OBSERVATION, h, mean, cov, periods, first)


def stationary():
    v = scipy.linalg.solve_discrete_lyapunov(TRANSITION, IMPACT @ IMPACT.T)
    return np.zeros(S), v


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [DATA, GAPS], ids=["whole", "gaps"])
@pytest.mark.parametrize("noise", NOISES)
def test_log_likelihood_is_the_density_of_all_that_is_seen(noise, data):
    got = log_likelihood(spaces(NOISES[noise]), data)
    expected = gaussian.log_density(sample(NOISES[noise]), data)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_log_likelihood_of_no_data_is_zero():
    assert log_likelihood(spaces(FULL), np.full((T, M), np.nan)) == 0


def test_prior_of_the_first_period():
    got = log_likelihood(spaces(FULL, at_first()), GAPS)
    expected = gaussian.log_density(sample(FULL, 1), GAPS)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("initial", ["stationary", None])
def test_stationary_prior_solves_the_lyapunov_equation(initial):
    space = spaces(FULL, initial)
    np.testing.assert_allclose(space.prior.cov, stationary()[1], rtol=1e-12, atol=1e-13)
    expected = gaussian.log_density(sample(FULL, 0, *stationary()), GAPS)
    np.testing.assert_allclose(log_likelihood(space, GAPS), expected, rtol=1e-13)


@pytest.mark.parametrize("roots", [(0.5, 1.1, 0.2), (1.5, 0.9, 3.0), (0.5, 1.0, 0.2)])
def test_explosive_law_has_no_stationary_prior(roots):
    turn = np.linalg.qr(OBSERVATION.T @ OBSERVATION + np.diag(MEAN))[0][:P, :P]
    t = np.zeros((S, S))
    t[:P, :P] = turn @ np.diag(roots) @ np.linalg.inv(turn)
    assert all_nan(spaces(FULL, None, t).prior.cov)
    assert log_likelihood(spaces(FULL, None, t), DATA, throw=False) == -jnp.inf


def test_presample_runs_through_the_filter_and_is_not_counted():
    got = log_likelihood(spaces(FULL), GAPS, presample=3)
    early = gaussian.log_density(sample(FULL, periods=3), GAPS[:3])
    expected = gaussian.log_density(sample(FULL), GAPS) - early
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    np.testing.assert_allclose(kalman_filter(spaces(FULL), GAPS, presample=3).log_likelihood, got)
    assert log_likelihood(spaces(FULL), GAPS, presample=T) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_filter_gives_the_conditional_moments(first):
    out = kalman_filter(spaces(FULL, Prior(MEAN, COV, first)), GAPS)
    everything = sample(FULL, first)
    likelihood = [0.0]
    for t in range(T):
        cut, x = GAPS[: t + 1], [part[t] for part in everything.x]
        seen, hidden = np.full((T, M), np.nan), np.full((T, M), np.nan)
        seen[: t + 1], hidden[:t] = cut, cut[:-1]
        likelihood.append(gaussian.log_density(everything, seen))
        for mean, cov, given in (
            (out.filtered, out.filtered_cov, seen),
            (out.predicted, out.predicted_cov, hidden),
        ):
            expected = gaussian.given(everything, given, x)
            np.testing.assert_allclose(mean[t], expected[0], atol=1e-13)
            np.testing.assert_allclose(cov[t], expected[1], atol=1e-13)
        y = gaussian.given(everything, hidden, [part[t] for part in everything.y])
        np.testing.assert_allclose(out.innovations[t], GAPS[t] - y[0], atol=1e-13)
        np.testing.assert_allclose(out.innovation_cov[t], y[1], atol=1e-13)
    np.testing.assert_allclose(out.log_densities, np.diff(likelihood), atol=1e-12)
    np.testing.assert_allclose(out.log_likelihood, likelihood[-1], rtol=1e-13)


def test_filter_agrees_with_statsmodels():
    mlemodel = pytest.importorskip("statsmodels.tsa.statespace.mlemodel")
    model = mlemodel.MLEModel(GAPS, k_states=S, k_posdef=K)
    model["design"], model["obs_cov"] = OBSERVATION, FULL
    model["transition"], model["selection"], model["state_cov"] = TRANSITION, IMPACT, np.eye(K)
    model.ssm.initialize_known(MEAN, COV)  # of the first period
    theirs = model.ssm.filter()
    ours = kalman_filter(spaces(FULL, at_first()), GAPS)
    np.testing.assert_allclose(ours.log_densities, theirs.llf_obs, atol=1e-12)
    np.testing.assert_allclose(ours.filtered.T, theirs.filtered_state, atol=1e-12)
    np.testing.assert_allclose(
        ours.predicted_cov[3], theirs.predicted_state_cov[..., 3], atol=1e-12
    )


def test_law_is_cut_to_states_and_observables():
    n, states, observed = 7, (5, 1, 2), (2, 6)
    random = np.random.default_rng(3)
    x, r = np.zeros((n, n)), random.normal(size=(n, 2))
    x[:, list(states)] = 0.4 * random.normal(size=(n, 3))
    mean = random.normal(size=n)
    cov = random.normal(size=(n, n))
    cov = cov @ cov.T
    y = random.normal(size=(T, 2))
    space = of_law(x, r, states, observed, VARIANCES, (mean, cov), ("r", "y"))
    z = np.eye(n)[list(observed)]
    whole = gaussian.dense(x, r, z, np.diag(VARIANCES), mean, cov, T)
    assert kept(states, observed) == (5, 1, 2, 6)
    assert space.transition.shape == (4, 4)
    assert space.lags == len(states)
    np.testing.assert_allclose(log_likelihood(space, y), gaussian.log_density(whole, y), rtol=1e-12)
    with pytest.raises(ValueError, match="r, y"):
        log_likelihood(space, y[:, :1])


# --- Derivatives ----------------------------------------------------------------------------------


def value(theta, data=GAPS, initial=None, presample=0):
    """A likelihood in which all arrays depend on θ, which has asymmetric roles."""
    a = jnp.asarray(TRANSITION) * (1 + 0.3 * theta[0]) + 0.1 * theta[1] * jnp.outer(MEAN, MEAN)
    r = jnp.asarray(IMPACT) + theta[1] * jnp.eye(S, K) * theta[2]
    z = jnp.asarray(OBSERVATION).at[0, 1].add(theta[2])
    h = jnp.asarray(FULL) * jnp.exp(theta[3])
    mean = theta[0] * jnp.arange(S)
    initial = (mean, COV * jnp.exp(theta[1])) if initial is None else initial
    space = StateSpace(a, r, z, h, initial, lags=P)
    return log_likelihood(space, data, presample=presample, throw=False)


THETA = jnp.array([0.2, -0.3, 0.4, 0.1])


DIRECTION = jnp.array([0.3, -1.0, 0.7, 0.5])
STATIONARY = pytest.param("stationary", marks=pytest.mark.slow)


@pytest.mark.parametrize("initial", [None, STATIONARY])
def test_gradient_in_both_modes(initial):
    f = jax.jit(lambda theta: value(theta, initial=initial, presample=1))
    _, slope, bar = ridders_jvp(f, (THETA,), (DIRECTION,))
    push = jax.jit(lambda v: jax.jvp(f, (THETA,), (v,))[1])(DIRECTION)
    np.testing.assert_allclose([jax.grad(f)(THETA) @ DIRECTION, push], slope, rtol=1e-9)
    assert bar < 1e-9 * abs(slope)


@pytest.mark.slow
@pytest.mark.parametrize("initial", ["stationary"])
def test_hessian_is_symmetric_and_that_of_the_gradient(initial):
    f = lambda theta: value(theta, initial=initial)
    hessian = jax.jit(jax.hessian(f))(THETA)
    _, curve, bars = ridders_jvp(jax.jit(jax.grad(f)), (THETA,), (DIRECTION,))
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10)
    np.testing.assert_allclose(hessian @ DIRECTION, curve, rtol=1e-8, atol=1e-8)
    assert np.all(bars < 1e-7)


@pytest.mark.slow
def test_rule_of_every_array():
    def f(a, r, z, h, root, mean, y):
        prior = Prior(mean, root @ root.T, 1)
        return log_likelihood(StateSpace(a, r, z, h @ h.T, prior, lags=P), y, throw=False)

    root, h = np.linalg.cholesky(COV), np.linalg.cholesky(FULL)
    check_rule(
        f, TRANSITION, IMPACT, OBSERVATION, h, root, MEAN, DATA[:4], order=1, transforms=("jit",)
    )


@pytest.mark.slow
def test_rule_at_a_singular_covariance_near_a_unit_root():
    y = np.random.default_rng(5).normal(size=(6, 2))

    def f(theta):
        t, r, z = (jnp.asarray(x.tolist()) for x in singular(*theta))
        return log_likelihood(StateSpace(t, r, z), y, throw=False)

    check_rule(f, (0.9999, 0.4, 0.3), modes=("fwd", "rev"))


def test_derivative_in_missing_data_is_zero_and_others_are_exact():
    gradient = jax.grad(lambda y: log_likelihood(spaces(FULL), y))(jnp.asarray(GAPS))
    assert np.all(gradient[np.isnan(GAPS)] == 0)
    step = np.zeros_like(GAPS)
    step[3, 1] = 1e-4
    up, down = (log_likelihood(spaces(FULL), GAPS + sign * step) for sign in (1, -1))
    np.testing.assert_allclose(gradient[3, 1], (up - down) / 2e-4, rtol=1e-7)


def test_draws_go_through_vmap():
    thetas = THETA + 0.1 * np.random.default_rng(1).normal(size=(3, 4))
    f = jax.jit(jax.vmap(jax.value_and_grad(value)))
    values, gradients = f(thetas)
    alone = jax.jit(jax.value_and_grad(value))
    for theta, v, g in zip(thetas, values, gradients, strict=True):
        expected = alone(theta)
        np.testing.assert_allclose(v, expected[0], rtol=1e-12)
        np.testing.assert_allclose(g, expected[1], rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_memory_of_the_gradient_is_that_of_one_filter_pass():
    def used(periods):
        y = jnp.zeros((periods, M))
        compiled = jax.jit(jax.grad(lambda t: value(t, y))).lower(THETA).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    a_period = (used(4000) - used(2000)) / 2000 / 8
    assert a_period < 2 * (P + P * P + M + 4)


# --- Long samples ---------------------------------------------------------------------------------


def in_extended_precision(t, r, z, y):
    """The log density without errors, one number at a time, without a prior's covariance."""
    t, r, z, y = (np.asarray(x, float).astype(np.longdouble) for x in (t, r, z, y))
    mean, cov, out = np.zeros(len(t), np.longdouble), 0 * t, np.longdouble(0)
    for row in y:
        mean, cov = t @ mean, t @ cov @ t.T + r @ r.T
        for design, number in zip(z, row, strict=True):
            across = cov @ design
            f, e = design @ across, number - design @ mean
            mean, cov = mean + across * (e / f), cov - np.outer(across, across) / f
            out -= (np.log(2 * np.longdouble(np.pi)) + np.log(f) + e * e / f) / 2
    return float(out)


def positive(covs):
    """No negative eigenvalue beyond the rounding of the largest, period by period."""
    size = np.abs(covs).max(axis=(1, 2))
    return np.all(np.linalg.eigvalsh(covs).min(axis=1) >= -1e-14 * size)


@pytest.mark.parametrize("periods", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_long_sample_near_a_unit_root_stays_positive(periods):
    t, r, z = (np.asarray(x, float) for x in singular(rho=0.9999))
    random = np.random.default_rng(2)
    x, ys = np.zeros(5), []
    for e in random.normal(size=(periods, 2)):
        x = t @ x + r @ e
        ys.append(z @ x)
    y = np.array(ys)
    out = kalman_filter(StateSpace(t, r, z, None, (np.zeros(5), np.zeros((5, 5)))), y)
    for cov in (out.predicted_cov, out.filtered_cov):
        np.testing.assert_array_equal(cov, np.swapaxes(cov, 1, 2))
        assert positive(cov)
    np.testing.assert_allclose(out.log_likelihood, in_extended_precision(t, r, z, y), rtol=1e-12)


def test_vague_prior_leaves_covariances_positive():
    vague = (MEAN, 1e10 * np.eye(S))
    y = np.random.default_rng(6).normal(size=(60, M))
    out = kalman_filter(spaces(None, vague, impact=IMPACT[:, :M]), y)
    assert positive(out.filtered_cov)
    fewer = (MEAN, 1e7 * np.eye(S))
    expected = gaussian.log_density(sample(None, 0, *fewer), DATA)
    np.testing.assert_allclose(log_likelihood(spaces(None, fewer), DATA), expected, rtol=1e-8)


# --- Failures -------------------------------------------------------------------------------------

ALIKE = np.ones((M, 1)) * OBSERVATION[:1]


@pytest.mark.parametrize("why", ["singular", "law", "prior", "data", "last"])
def test_failure_is_minus_infinity_with_nan_derivatives(why):
    y = DATA.copy()
    if why in ("data", "last"):
        y[1 if why == "data" else -1, 0] = np.inf
    z = ALIKE if why == "singular" else OBSERVATION

    def f(scale, throw=False):
        a = TRANSITION * (jnp.nan * scale if why == "law" else scale)
        cov = COV * (jnp.nan * scale if why == "prior" else scale)
        return log_likelihood(StateSpace(a, IMPACT, z, None, (MEAN, cov), lags=P), y, throw=throw)

    assert f(1.0) == -jnp.inf
    assert all_nan(jax.grad(f)(1.0))
    assert all_nan(jax.jvp(f, (1.0,), (1.0,))[1])
    with pytest.raises(RuntimeError, match="likelihood does not exist"):
        f(1.0, throw=True).block_until_ready()


def test_forecast_that_is_singular_but_for_rounding_is_none():
    """Two observables that say what one does: a factor of their covariance may exist."""
    mixed = np.random.default_rng(0).normal(size=(40, M, 1)) @ OBSERVATION[:1]
    space = lambda z: StateSpace(TRANSITION, IMPACT, z, None, (MEAN, COV), lags=P)
    f = lambda z: log_likelihood(space(z), DATA[:1], throw=False)
    values = jax.vmap(f)(jnp.asarray(mixed))
    assert np.all(values == -jnp.inf)


def test_failure_of_one_lane_leaves_the_others():
    def f(scale):
        space = StateSpace(TRANSITION * scale, IMPACT, OBSERVATION, FULL, (MEAN, COV))
        return log_likelihood(space, DATA, throw=False)

    got, slope = jax.vmap(jax.value_and_grad(f))(jnp.array([1.0, jnp.nan, 0.5]))
    assert got[1] == -jnp.inf
    assert np.isnan(slope[1])
    assert np.all(np.isfinite(got[::2]) & np.isfinite(slope[::2]))


def test_failed_filter_tells_the_periods_before():
    space = StateSpace(TRANSITION, IMPACT, ALIKE, None, (MEAN, COV), lags=P)
    y = DATA.copy()
    y[:3, 0] = np.nan
    out = kalman_filter(space, y, throw=False)
    assert out.log_likelihood == -jnp.inf
    assert np.all(np.isfinite(out.log_densities[:3]))
    assert all_nan(out.log_densities[3:])
    with pytest.raises(RuntimeError, match="likelihood does not exist"):
        jax.block_until_ready(kalman_filter(space, y))


def test_single_precision_is_refused_with_the_reason():
    with pytest.raises(TypeError, match="subtracts covariances"):
        StateSpace(TRANSITION.astype(np.float32), IMPACT, OBSERVATION)
    with pytest.raises(TypeError, match="jax_enable_x64"):
        log_likelihood(spaces(FULL), DATA.astype(np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transition": TRANSITION[:, :2]}, "`transition`"),
        ({"impact": IMPACT[:2]}, "`impact`"),
        ({"observation": OBSERVATION[:, :2]}, "`observation`"),
        ({"measurement_cov": np.ones(3)}, "`measurement_cov`.*o1, o2"),
        ({"measurement_cov": np.array([[1, 0.5], [0.4, 1]])}, "no covariance"),
        ({"measurement_cov": np.array([[1.0, 2.0], [2.0, 1.0]])}, "no covariance"),
        ({"measurement_cov": np.array([1.0, -1.0])}, "no covariance"),
        ({"initial": (MEAN[:2], COV)}, "`initial mean`"),
        ({"initial": (MEAN, COV[:2])}, "`initial cov`"),
        ({"initial": "ergodic"}, "stationary"),
        ({"initial": Prior(MEAN, COV, 2)}, "period"),
        ({"lags": S + 1}, "`lags`"),
        ({"observables": ("o1",)}, "names"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_arrays_that_do_not_fit_are_refused(change, words):
    arguments = {
        "transition": TRANSITION,
        "impact": IMPACT,
        "observation": OBSERVATION,
        "initial": (MEAN, COV),
        "observables": ("o1", "o2"),
    }
    with pytest.raises(ValueError, match=words):
        StateSpace(**arguments | change)


def test_traced_measurement_covariance_that_is_none_gives_no_likelihood():
    f = jax.jit(lambda h: log_likelihood(spaces(h), DATA, throw=False))
    assert np.isfinite(f(FULL))
    assert f(FULL + np.array([[0, 0.1], [0, 0]])) == -jnp.inf
    assert f(np.diag([1.0, -0.1])) == -jnp.inf
    assert f(np.array([[0.1, 0.3], [0.3, 0.1]])) == -jnp.inf  # eigenvalues −0.2 and 0.4


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (DATA.T, {}, r"shape \(2, 8\).*2 observables, 0, 1"),
        (DATA[0], {}, "shape"),
        (DATA[:0], {}, "one at least"),
        (DATA, {"presample": T + 1}, "`presample`"),
        (DATA, {"presample": -1}, "`presample`"),
        (DATA, {"steady_after": 0}, "`steady_after`"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, options, words):
    with pytest.raises(ValueError, match=words):
        log_likelihood(spaces(FULL), data, **options)
    if "steady_after" not in options:
        with pytest.raises(ValueError, match=words):
            kalman_filter(spaces(FULL), data, **options)


def test_integers_are_numbers_and_strings_are_not():
    y = np.array([[1, 0], [2, -1]])
    np.testing.assert_allclose(
        log_likelihood(spaces(FULL), y), log_likelihood(spaces(FULL), y.astype(float))
    )
    with pytest.raises(TypeError, match="real numbers"):
        log_likelihood(spaces(FULL), y.astype(complex))
