"""The smoother against the conditional moments of the stacked sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics._kalman import kalman_filter
from dini.economics._smoother import kalman_smoother
from dini.economics._state_space import Prior, StateSpace
from dini.numeric import ridders_jvp
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
    K,
    M,
    P,
    S,
    T,
    at_first,
    singular,
    spaces,
)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("h", [FULL, None], ids=["noise", "exact"])
def test_smoother_gives_the_conditional_moments(h, first):
    noise = np.zeros((M, M)) if h is None else h
    sample = gaussian.dense(TRANSITION, IMPACT, OBSERVATION, noise, MEAN, COV, T, first)
    out = kalman_smoother(spaces(h, Prior(MEAN, COV, first)), GAPS)
    for mean, cov, what in (
        (out.states, out.state_cov, sample.x),
        (out.shocks, out.shock_cov, sample.shocks),
        (out.initial, out.initial_cov, sample.initial),
    ):
        expected = gaussian.given(sample, GAPS, what)
        np.testing.assert_allclose(mean, expected[0], atol=1e-12)
        np.testing.assert_allclose(cov, expected[1], atol=1e-12)
    errors = gaussian.given(sample, GAPS, sample.errors)[0]
    np.testing.assert_allclose(out.errors, errors, atol=1e-12)


def test_smoother_agrees_with_statsmodels():
    mlemodel = pytest.importorskip("statsmodels.tsa.statespace.mlemodel")
    model = mlemodel.MLEModel(GAPS, k_states=S, k_posdef=K)
    model["design"], model["obs_cov"] = OBSERVATION, FULL
    model["transition"], model["selection"], model["state_cov"] = TRANSITION, IMPACT, np.eye(K)
    model.ssm.initialize_known(MEAN, COV)  # of the first period
    theirs = model.ssm.smooth()
    ours = kalman_smoother(spaces(FULL, at_first()), GAPS)
    np.testing.assert_allclose(ours.states.T, theirs.smoothed_state, atol=1e-12)
    cov = np.moveaxis(theirs.smoothed_state_cov, -1, 0)
    np.testing.assert_allclose(ours.state_cov, cov, atol=1e-12)
    # Their disturbance of a period leads to the next one.
    shocks = theirs.smoothed_state_disturbance.T
    np.testing.assert_allclose(ours.shocks[1:], shocks[:-1], atol=1e-12)
    errors = theirs.smoothed_measurement_disturbance.T  # 0 where nothing is seen
    seen = ~np.isnan(GAPS)
    np.testing.assert_allclose(ours.errors[seen], errors[seen], atol=1e-12)


def test_smoothed_path_obeys_the_law_and_meets_the_data():
    t, r, z = (np.asarray(x, float) for x in singular())
    y = np.random.default_rng(4).normal(size=(40, 2))
    y[10, 0] = y[20:23] = np.nan
    out = kalman_smoother(StateSpace(t, r, z, None, (np.zeros(5), 0.5 * np.eye(5))), y)
    before = np.concatenate([out.initial[None], out.states[:-1]])
    np.testing.assert_allclose(out.states, before @ t.T + out.shocks @ r.T, atol=1e-11)
    seen = ~np.isnan(y)
    np.testing.assert_allclose((out.states @ z.T)[seen], y[seen], atol=1e-11)
    assert np.linalg.eigvalsh(out.state_cov).min() > -1e-13


def test_last_smoothed_law_is_the_filtered_one():
    smoothed, filtered = kalman_smoother(spaces(FULL), GAPS), kalman_filter(spaces(FULL), GAPS)
    np.testing.assert_allclose(smoothed.states[-1], filtered.filtered[-1], rtol=1e-13)
    np.testing.assert_allclose(smoothed.state_cov[-1], filtered.filtered_cov[-1], atol=1e-14)


@pytest.mark.slow
def test_derivatives_in_both_modes():
    weights = np.random.default_rng(8).normal(size=(T, S + K + M))

    def f(theta):
        a = jnp.asarray(TRANSITION) * (1 + 0.3 * theta[0])
        r = jnp.asarray(IMPACT) + theta[1] * jnp.eye(S, K)
        h = jnp.asarray(FULL) * jnp.exp(theta[2])
        out = kalman_smoother(StateSpace(a, r, OBSERVATION, h, (MEAN, COV), lags=P), GAPS)
        means = jnp.concatenate([out.states, out.shocks, out.errors], axis=1)
        covs = jnp.sum(out.state_cov[:, 0] * weights[:, :S]) + jnp.sum(out.shock_cov[:, 1, 2])
        return jnp.sum(weights * means) + covs + out.initial[1] + out.initial_cov[1, 2]

    theta, direction = jnp.array([0.2, -0.3, 0.1]), jnp.array([0.7, -1.0, 0.4])
    _, slope, bar = ridders_jvp(jax.jit(f), (theta,), (direction,))
    push = jax.jit(lambda v: jax.jvp(f, (theta,), (v,))[1])(direction)
    pull = jax.jit(jax.grad(f))(theta) @ direction
    np.testing.assert_allclose([push, pull], slope, rtol=1e-9)
    assert bar < 1e-9 * abs(slope)


def test_failure_is_nan_or_raises():
    alike = np.ones((M, 1)) * OBSERVATION[:1]
    space = StateSpace(TRANSITION, IMPACT, alike, None, (MEAN, COV), lags=P)
    assert all_nan(kalman_smoother(space, DATA, throw=False))
    with pytest.raises(RuntimeError, match="likelihood does not exist"):
        jax.block_until_ready(kalman_smoother(space, DATA))
    with pytest.raises(ValueError, match="column"):
        kalman_smoother(space, DATA[:, :1])
