"""Densities of errors of measurement around a path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dini.economics import measurement_log_density
from dini.numeric import ridders_jvp
from tests.support.compare import all_nan
from tests.support.state_spaces import DATA, FULL, GAPS, VARIANCES

PATH = np.random.default_rng(1).normal(size=GAPS.shape)


def by_periods(path, data, h):
    out = 0.0
    for y, mean in zip(data, path, strict=True):
        seen = ~np.isnan(y)
        if seen.any():
            cov = h[np.ix_(seen, seen)]
            out += scipy.stats.multivariate_normal.logpdf(y[seen], mean[seen], cov)
    return out


@pytest.mark.parametrize("h", [FULL, VARIANCES], ids=["full", "diagonal"])
def test_measurement_density_is_that_of_what_is_seen(h):
    full = np.diag(h) if h.ndim == 1 else h
    got = measurement_log_density(PATH, GAPS, h)
    np.testing.assert_allclose(got, by_periods(PATH, GAPS, full), rtol=1e-13)


def test_derivatives_in_the_path_and_the_covariance():
    f = jax.jit(lambda path, c: measurement_log_density(path, GAPS, FULL * jnp.exp(c)))
    point, direction = (jnp.asarray(PATH), 0.2), (jnp.cos(PATH), 0.7)
    _, slope, bar = ridders_jvp(f, point, direction)
    of_path, of_c = jax.grad(f, (0, 1))(*point)
    pull = jnp.sum(of_path * direction[0]) + of_c * direction[1]
    np.testing.assert_allclose([pull, jax.jvp(f, point, direction)[1]], slope, rtol=1e-9)
    assert bar < 1e-9 * abs(slope)


def test_failure_is_minus_infinity_with_nan_derivatives():
    f = lambda h, throw=False: measurement_log_density(PATH, DATA, h, throw=throw)
    for h in (np.zeros(2), np.ones((2, 2))):
        assert f(h) == -jnp.inf
        assert all_nan(jax.grad(f)(jnp.asarray(h)))
        with pytest.raises(RuntimeError, match="likelihood does not exist"):
            f(h, throw=True).block_until_ready()


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        measurement_log_density(PATH[:-1], DATA, FULL)
    with pytest.raises(ValueError, match="needs a `measurement_cov`"):
        measurement_log_density(PATH, DATA, None)
    with pytest.raises(TypeError, match="float64"):
        measurement_log_density(PATH.astype(np.float32), DATA, FULL)
