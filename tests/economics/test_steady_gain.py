"""The gain of the long run: as exact as the plain filter where it serves, and loud elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini.economics._kalman import log_likelihood
from dini.economics._state_space import StateSpace
from dini.economics._steady_gain import limit
from dini.numeric import ridders_jvp
from tests.support.compare import all_nan
from tests.support.state_spaces import (
    COV,
    FULL,
    IMPACT,
    MEAN,
    OBSERVATION,
    TRANSITION,
    M,
    P,
    singular,
    spaces,
)

PERIODS, EXACT = 60, 40
DATA = np.random.default_rng(9).normal(size=(PERIODS, M))


def value(theta, data, steady_after=EXACT, throw=False, h=FULL, presample=0):
    a = jnp.asarray(TRANSITION) * (1 + 0.3 * theta[0])
    r = jnp.asarray(IMPACT) * jnp.exp(theta[1])
    z = jnp.asarray(OBSERVATION).at[0, 1].add(theta[2])
    h = None if h is None else jnp.asarray(h) * jnp.exp(theta[0])
    space = StateSpace(a, r, z, h, (MEAN, COV), lags=P)
    options = {"steady_after": steady_after, "presample": presample, "throw": throw}
    return log_likelihood(space, data, **options)


def plain(theta, data, **options):
    return value(theta, data, None, **options)


THETA = jnp.array([0.1, -0.2, 0.3])
QUIET = jnp.array([0.1, -9.0, 0.3])  # shocks so small that the filter learns slowly
steady = jax.jit(jax.value_and_grad(value))


def test_limit_solves_the_riccati_equation():
    expected = scipy.linalg.solve_discrete_are(TRANSITION.T, OBSERVATION.T, IMPACT @ IMPACT.T, FULL)
    np.testing.assert_allclose(limit(spaces(FULL)), expected, rtol=1e-10, atol=1e-12)


def test_steady_gain_gives_value_and_gradient_of_the_plain_filter():
    got, expected = steady(THETA, DATA), jax.jit(jax.value_and_grad(plain))(THETA, DATA)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_steady_gain_without_errors_of_measurement():
    got, expected = (
        jax.jit(jax.value_and_grad(lambda theta, f=f: f(theta, DATA, h=None)))(THETA)
        for f in (value, plain)
    )
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-8, atol=1e-8)


# Only the steady part is counted.
@pytest.mark.slow
def test_derivatives_of_the_steady_part():
    f = jax.jit(lambda theta: value(theta, DATA, presample=EXACT + 2))
    direction = jnp.array([0.5, -1.0, 0.8])
    _, slope, bar = ridders_jvp(f, (THETA,), (direction,))
    push = jax.jit(lambda v: jax.jvp(f, (THETA,), (v,))[1])(direction)
    np.testing.assert_allclose([jax.grad(f)(THETA) @ direction, push], slope, rtol=1e-8)
    assert bar < 1e-8 * abs(slope)


@pytest.mark.slow
def test_hessian_of_the_steady_part():
    hessian, expected = (jax.jit(jax.hessian(f))(THETA, DATA) for f in (value, plain))
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9)
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("presample", [EXACT + 5])
def test_presample_may_end_in_either_part(presample):
    got, expected = (f(THETA, DATA, presample=presample) for f in (value, plain))
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_sample_that_ends_before_is_exact():
    expected = plain(THETA, DATA)
    assert value(THETA, DATA, PERIODS) == expected
    assert value(THETA, DATA, 10 * PERIODS) == expected


@pytest.mark.slow
def test_covariance_far_from_its_limit_is_loud():
    got, gradient = steady(QUIET, DATA)
    assert np.isfinite(plain(QUIET, DATA))
    assert np.isnan(got)
    assert all_nan(gradient)
    assert all_nan(jax.jit(lambda t: jax.jvp(lambda t: value(t, DATA), (t,), (t,))[1])(QUIET))
    with pytest.raises(RuntimeError, match="too short"):
        value(QUIET, DATA, throw=True).block_until_ready()


def test_missing_data_in_the_steady_part_are_loud():
    y = DATA.copy()
    y[3, 0] = np.nan
    assert np.isfinite(steady(THETA, y)[0])
    y[EXACT + 1, 1] = np.nan
    assert np.isnan(steady(THETA, y)[0])
    with pytest.raises(RuntimeError, match="without missing numbers"):
        value(THETA, y, throw=True).block_until_ready()


def test_law_without_likelihood_is_minus_infinity():
    nothing = THETA.at[0].set(jnp.nan)
    got, gradient = steady(nothing, DATA)
    assert got == -jnp.inf
    assert all_nan(gradient)
    with pytest.raises(RuntimeError, match="likelihood does not exist"):
        value(nothing, DATA, throw=True).block_until_ready()


@pytest.mark.slow
def test_singular_covariance_near_a_unit_root():
    t, r, z = (np.asarray(x, float) for x in singular(0.9999))
    space = StateSpace(t, r, z)
    got, expected = (log_likelihood(space, DATA, steady_after=k) for k in (EXACT, None))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


# Of a level that is seen only as its difference the filter learns more in every period, by 1/t.
@pytest.mark.slow
def test_differences_of_a_level_have_no_steady_gain():
    t, r = np.array([[0.9, 0.0], [1.0, 0.0]]), np.array([[1.0], [0.0]])
    space = StateSpace(t, r, np.array([[1.0, -1.0]]))
    assert np.isfinite(log_likelihood(space, DATA[:, :1]))
    assert np.isnan(log_likelihood(space, DATA[:, :1], steady_after=EXACT, throw=False))
