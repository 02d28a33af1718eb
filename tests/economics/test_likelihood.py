"""The likelihood of a model, and what data say of its variables, in levels and by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dini.economics import Prior
from dini.numeric import finite_difference_jvp
from tests.support import kalman
from tests.support.economies import rbc, smets_wouters
from tests.support.models import model

OBSERVABLES, COV = ("c", "k"), np.array([[0.02, 0.005], [0.005, 0.3]])
NAMES = rbc.VARIABLES
ROWS = [NAMES.index(name) for name in OBSERVABLES]


@functools.cache
def law():
    return model(rbc).first_order(rbc.Params())


@functools.cache
def data():
    """A path with errors of measurement, and some of it missing."""
    rng = np.random.default_rng(0)
    path = np.asarray(law().simulate(rng.normal(size=(12, 1)), levels=True))[:, ROWS]
    path = path + rng.multivariate_normal(np.zeros(2), COV, size=12)
    path[3, 0] = path[7] = np.nan
    return path


def log_likelihood(p=None, **options):
    p = rbc.Params() if p is None else p
    return model(rbc).log_likelihood(p, data(), OBSERVABLES, measurement_cov=COV, **options)


def test_value_is_that_of_the_filter_in_numpy():
    deviations = data() - np.asarray(law().steady_state.vector)[ROWS]
    x, r = np.asarray(law().transition), np.asarray(law().impact)
    prior = np.zeros(4), kalman.ergodic(x, r)
    expected = kalman.log_likelihood(x, r, ROWS, deviations, *prior, measurement_cov=COV)
    np.testing.assert_allclose(log_likelihood(), expected, rtol=1e-11)


def test_derivatives_in_parameters():
    p, direction = rbc.Params(), rbc.Params(0.3, 0.2, 0.5, 0.1, 0.05)
    f = lambda alpha, beta, rho, delta, sigma: log_likelihood(
        rbc.Params(alpha, beta, rho, delta, sigma)
    )
    _, slope = finite_difference_jvp(f, p, direction, method="ridders", step=1e-3)
    pulled = sum(g * d for g, d in zip(jax.grad(f, range(5))(*p), direction, strict=True))
    np.testing.assert_allclose(pulled, slope, rtol=1e-8)


@pytest.mark.slow
def test_smoothed_variables_obey_the_law_and_explain_the_data():
    out = model(rbc).smooth(rbc.Params(), data(), OBSERVABLES, measurement_cov=COV)
    rest = np.asarray(law().steady_state.vector)
    path = np.vstack([out.initial, out.states]) - rest
    moved = path[:-1] @ np.asarray(law().transition).T + out.shocks @ np.asarray(law().impact).T
    np.testing.assert_allclose(path[1:], moved, rtol=1e-9, atol=1e-10)
    seen = ~np.isnan(data())
    np.testing.assert_allclose((out.states[:, ROWS] + out.errors)[seen], data()[seen], rtol=1e-12)
    last = model(rbc).filter(rbc.Params(), data(), OBSERVABLES, measurement_cov=COV)
    np.testing.assert_allclose(last.filtered[-1], out.states[-1], rtol=1e-12)
    np.testing.assert_allclose(last.filtered_cov[-1], out.state_cov[-1], atol=1e-12)
    np.testing.assert_allclose(last.log_likelihood, log_likelihood(), rtol=1e-12)


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_joint_likelihood_is_that_of_the_simulated_path(order):
    shocks, start = np.random.default_rng(1).normal(size=(12, 1)), np.array([0.5, -1.0, 0.1, 0.02])
    which = law() if order == 1 else model(rbc).second_order(rbc.Params())
    path = np.asarray(which.simulate(shocks, initial=start) + which.steady_state.vector)[:, ROWS]
    expected = 0.0
    for y, mean in zip(data(), path, strict=True):
        s = ~np.isnan(y)
        if s.any():
            expected += scipy.stats.multivariate_normal.logpdf(y[s], mean[s], COV[np.ix_(s, s)])
    args = rbc.Params(), shocks, data(), OBSERVABLES, COV
    got = model(rbc).joint_log_likelihood(*args, initial=start, order=order)
    np.testing.assert_allclose(got, expected, rtol=1e-11)


@pytest.mark.slow
def test_draws_without_a_law_are_minus_infinity_in_their_lane():
    rhos = jnp.array([0.2, 1.01])
    f = lambda rho: log_likelihood(rbc.Params()._replace(rho=rho), throw=False)
    values, slopes = jax.vmap(jax.value_and_grad(f))(rhos)
    np.testing.assert_allclose(values[0], log_likelihood(), rtol=1e-11)
    assert values[1] == -jnp.inf
    assert np.isfinite(slopes[0])
    assert np.isnan(slopes[1])
    with pytest.raises(RuntimeError, match="explosive"):
        log_likelihood(rbc.Params()._replace(rho=1.01))


@pytest.mark.parametrize("method", ["log_likelihood", "filter", "smooth"])
@pytest.mark.parametrize("name", ["measurement_cov", "initial"])
def test_matrix_that_is_no_covariance_is_refused(method, name):
    """Eigenvalues −0.1 and 0.3: a variance of forecasts may be positive all the same."""
    n = len(rbc.VARIABLES)
    no_cov = np.eye(n)
    no_cov[:2, :2] = [[0.1, 0.2], [0.2, 0.1]]
    given = {
        "measurement_cov": no_cov[:2, :2],
        "initial": (np.zeros(n), no_cov),
    }
    options = {"measurement_cov": COV} | {name: given[name]}
    with pytest.raises(ValueError, match=f"{name}.*no covariance matrix"):
        getattr(model(rbc), method)(rbc.Params(), data(), OBSERVABLES, **options)


def test_what_does_not_fit_is_refused():
    p, y = rbc.Params(), data()
    with pytest.raises(ValueError, match="among the observables, there is no 'cc'"):
        model(rbc).log_likelihood(p, y, ["cc", "k"])
    with pytest.raises(ValueError, match="stands twice"):
        model(rbc).log_likelihood(p, y, ["c", "c"])
    with pytest.raises(ValueError, match="`data` has shape"):
        model(rbc).log_likelihood(p, y[:, :1], OBSERVABLES)
    single = jax.tree.map(jnp.float32, p)
    with pytest.raises(TypeError, match="needs float64"):
        model(rbc).log_likelihood(single, y, OBSERVABLES, measurement_cov=COV)
    with pytest.raises(RuntimeError, match="fewer shocks and measurement errors than observables"):
        model(rbc).log_likelihood(p, y, OBSERVABLES)
    with pytest.raises(ValueError, match="order"):
        model(rbc).joint_log_likelihood(p, np.zeros((12, 1)), y, OBSERVABLES, COV, order=3)


@pytest.mark.slow
def test_smets_and_wouters_on_the_published_data():
    names, p = smets_wouters.OBSERVABLES, smets_wouters.Params()
    m, n = model(smets_wouters), len(smets_wouters.VARIABLES)
    y = smets_wouters.published_data(71, 230)
    np.testing.assert_allclose(m.log_likelihood(p, y, names, presample=4), -820.4932222, rtol=1e-9)
    before = np.zeros(n), 10 * np.eye(n)
    of_first = m.log_likelihood(p, y[1:], names, presample=3, initial=before)
    np.testing.assert_allclose(of_first, -817.4680267, rtol=1e-9)
    prior = Prior(*before, period=1)
    np.testing.assert_allclose(
        m.log_likelihood(p, y, names, presample=4, initial=prior), -817.4680267, rtol=1e-9
    )
