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


def value(theta, steady_after, throw=False, h=FULL, data=DATA, presample=0):
    a = jnp.asarray(TRANSITION) * (1 + 0.3 * theta[0])
    r = jnp.asarray(IMPACT) * (1 + theta[1])
    z = jnp.asarray(OBSERVATION).at[0, 1].add(theta[2])
    h = None if h is None else jnp.asarray(h) * jnp.exp(theta[1])
    space = StateSpace(a, r, z, h, (MEAN, COV), lags=P)
    options = {"steady_after": steady_after, "presample": presample, "throw": throw}
    return log_likelihood(space, data, **options)


THETA = jnp.array([0.1, -0.2, 0.3])


def test_limit_solves_the_riccati_equation():
    expected = scipy.linalg.solve_discrete_are(TRANSITION.T, OBSERVATION.T, IMPACT @ IMPACT.T, FULL)
    np.testing.assert_allclose(limit(spaces(FULL)), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("h", [FULL, None], ids=["noise", "exact"])
def test_steady_gain_gives_value_and_derivatives_of_the_plain_filter(h):
    both = [
        jax.jit(jax.value_and_grad(lambda theta, k=k: value(theta, k, h=h))) for k in (None, EXACT)
    ]
    (plain, slope), (steady, gradient) = (f(THETA) for f in both)
    np.testing.assert_allclose(steady, plain, rtol=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-8)


def test_derivatives_of_the_steady_part():
    f = jax.jit(lambda theta: value(theta, EXACT, presample=EXACT + 2))
    direction = jnp.array([0.5, -1.0, 0.8])
    _, slope, bar = ridders_jvp(f, (THETA,), (direction,))
    push = jax.jit(lambda v: jax.jvp(f, (THETA,), (v,))[1])(direction)
    np.testing.assert_allclose([jax.grad(f)(THETA) @ direction, push], slope, rtol=1e-8)
    assert bar < 1e-8 * abs(slope)


@pytest.mark.slow
def test_hessian_of_the_steady_part():
    f = lambda theta: value(theta, EXACT)
    hessian = jax.jit(jax.hessian(f))(THETA)
    plain = jax.jit(jax.hessian(lambda theta: value(theta, None)))(THETA)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9)
    np.testing.assert_allclose(hessian, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("presample", [3, EXACT + 5])
def test_presample_may_end_in_either_part(presample):
    plain, steady = (value(THETA, k, presample=presample) for k in (None, EXACT))
    np.testing.assert_allclose(steady, plain, rtol=1e-10)


def test_sample_that_ends_before_is_exact():
    assert value(THETA, PERIODS) == value(THETA, None)
    assert value(THETA, 10 * PERIODS) == value(THETA, None)


def test_covariance_far_from_its_limit_is_loud():
    f = lambda theta: value(theta, 2)
    assert np.isnan(f(THETA))
    assert all_nan(jax.grad(f)(THETA))
    assert all_nan(jax.jvp(f, (THETA,), (THETA,))[1])
    with pytest.raises(RuntimeError, match="too short"):
        value(THETA, 2, throw=True).block_until_ready()


def test_missing_data_in_the_steady_part_are_loud():
    y = DATA.copy()
    y[3, 0] = np.nan
    assert np.isfinite(value(THETA, EXACT, data=y))
    y[EXACT + 1, 1] = np.nan
    assert np.isnan(value(THETA, EXACT, data=y))
    with pytest.raises(RuntimeError, match="without missing numbers"):
        value(THETA, EXACT, throw=True, data=y).block_until_ready()


def test_law_without_likelihood_is_minus_infinity():
    assert value(THETA.at[0].set(jnp.nan), EXACT) == -jnp.inf
    with pytest.raises(RuntimeError, match="likelihood does not exist"):
        value(THETA.at[0].set(jnp.nan), EXACT, throw=True).block_until_ready()


def test_singular_covariance_near_a_unit_root():
    t, r, z = (np.asarray(x, float) for x in singular(0.9999))
    space = StateSpace(t, r, z)
    plain, steady = (log_likelihood(space, DATA, steady_after=k) for k in (None, EXACT))
    np.testing.assert_allclose(steady, plain, rtol=1e-9)


# Of a level that is seen only as its difference the filter learns more in every period, by 1/t.
def test_differences_of_a_level_have_no_steady_gain():
    t, r = np.array([[0.9, 0.0], [1.0, 0.0]]), np.array([[1.0], [0.0]])
    space = StateSpace(t, r, np.array([[1.0, -1.0]]))
    assert np.isfinite(log_likelihood(space, DATA[:, :1]))
    assert np.isnan(log_likelihood(space, DATA[:, :1], steady_after=EXACT, throw=False))
