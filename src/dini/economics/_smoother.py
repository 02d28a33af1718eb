"""What all data say of every period: states, shocks and errors of measurement."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from dini.economics._kalman import FAILED, observations, run
from dini.economics._state_space import StateSpace
from dini.economics._update import Update
from dini.linear import guarded


class Smoothed(eqx.Module):
    """Means and covariances given all data, x in the order of the state space.

    Attributes:
        states: of shape (T, s), of x_t.
        state_cov: of shape (T, s, s).
        shocks: of shape (T, k), of ε_t; 0 in the first period if the prior is of x₁.
        shock_cov: of shape (T, k, k).
        errors: of shape (T, m), of v_t, of missing data too.
        initial: of shape (s,), of what the prior is of: x₀, or x₁.
        initial_cov: of shape (s, s).
    """

    states: Float[Array, "T s"]
    state_cov: Float[Array, "T s s"]
    shocks: Float[Array, "T k"]
    shock_cov: Float[Array, "T k k"]
    errors: Float[Array, "T m"]
    initial: Float[Array, " s"]
    initial_cov: Float[Array, "s s"]


def kalman_smoother(space: StateSpace, data: ArrayLike, *, throw: bool = True) -> Smoothed:
    """States and shocks given all data, by de Jong's recursion.

    It inverts no covariance of states, which may be singular. The means obey the law:
    x_t = T x_{t−1} + R ε_t.

    Args:
        space: the state space.
        data: as for [`log_likelihood`][dini.economics.log_likelihood].
        throw: whether failures raise; else the result is NaN.

    Returns:
        A [`Smoothed`][dini.economics.Smoothed].

    Raises:
        ValueError, RuntimeError: as for the likelihood.

    References: de Jong, Smoothing and interpolation with the state-space model (1989); Koopman,
    Disturbance smoother for state space models (1993).
    """
    return _smoother(space, observations(space, data), throw)


# With s̃_t the error of the filtered s_t: e_t = C s̃_{t−1} + D ε_t + v_t and s̃_t = L s̃_{t−1} + G ε_t
# − K v_t, L = A − K C, G = B − K D. The innovations are independent, so that the later ones tell of
# s̃_{t−1} the mean P r_{t−1} and take P N_{t−1} P from its covariance, where
# r_{t−1} = Cᵀ F⁻¹ e_t + Lᵀ r_t, N_{t−1} = Cᵀ F⁻¹ C + Lᵀ N_t L, r_T = 0, N_T = 0;
# of ε_t Dᵀ F⁻¹ e_t + Gᵀ r_t and Dᵀ F⁻¹ D + Gᵀ N_t G, and of v_t H F⁻¹ e_t − H Kᵀ r_t.
@eqx.filter_jit
def _smoother(space: StateSpace, y: Array, throw: bool) -> Smoothed:
    p, t, b, z = space.lags, space.transition, space.impact, space.observation
    k, m = b.shape[1], z.shape[0]
    h = jnp.zeros((m, m)) if space.measurement_cov is None else space.measurement_cov
    a, c, d = t[:p, :p], z @ t[:, :p], z @ b

    def emit(u: Update) -> tuple:
        return (u.mean, u.cov), (u.whitener @ u.innovation, u.whitener, u.gain[:p])

    _, (filtered, seen) = run(space, y, emit, t.shape[0])

    def back(later: tuple[Array, Array], now: tuple) -> tuple:
        (r, n), ((mean, cov), (white, whitener, gain)) = later, now
        state = _told(mean, cov[:, :p], cov, r, n)
        loop, onward = a - gain @ c, b[:p] - gain @ d
        of_lag, of_shock = whitener @ c, whitener @ d
        shock = of_shock.T @ white + onward.T @ r
        shock_cov = jnp.eye(k) - of_shock.T @ of_shock - onward.T @ n @ onward
        error = h @ (whitener.T @ white - gain.T @ r)
        r, n = of_lag.T @ white + loop.T @ r, of_lag.T @ of_lag + loop.T @ n @ loop
        return (r, n), (*state, shock, shock_cov, error)

    nothing = jnp.zeros(p), jnp.zeros((p, p))
    (r, n), out = jax.lax.scan(back, nothing, (filtered, seen), reverse=True)
    states, state_cov, shocks, shock_cov, errors = out
    if space.prior.period:
        initial = states[0], state_cov[0]
        shocks, shock_cov = shocks.at[0].set(0), shock_cov.at[0].set(jnp.eye(k))
    else:
        cov = space.prior.cov
        initial = _told(space.prior.mean, cov[:, :p], cov, r, n)
    smoothed = Smoothed(states, state_cov, shocks, shock_cov, errors, *initial)
    return guarded(smoothed, ~jnp.all(jnp.isfinite(states)), FAILED, throw)


def _told(mean: Array, across: Array, cov: Array, r: Array, n: Array) -> tuple[Array, Array]:
    """The mean and covariance of x, after what the later innovations tell of its lagged part."""
    cov = cov - across @ n @ across.T
    return mean + across @ r, (cov + cov.T) / 2
