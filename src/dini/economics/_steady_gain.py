"""The Kalman filter with the gain of the long run."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dini.economics._state_space import StateSpace
from dini.economics._update import observed, update
from dini.linalg import solve_discrete_are
from dini.linear import guarded


# P⁻ ← T (P⁻ − P⁻ Zᵀ F⁻¹ Z P⁻) Tᵀ + R Rᵀ with F = Z P⁻ Zᵀ + H does not depend on the data. Its fixed
# point solves the Riccati equation of (Tᵀ, Zᵀ, R Rᵀ, H), the dual of control's.
def limit(space: StateSpace) -> Float[Array, "s s"]:
    """The covariance of x_t given y_1 … y_{t−1} in the long run; NaN where there is none."""
    t, r, z, h = space.transition, space.impact, space.observation, space.measurement_cov
    m = z.shape[0]
    return solve_discrete_are(t.T, z.T, r @ r.T, jnp.zeros((m, m)) if h is None else h)


def steady_log_densities(
    space: StateSpace,
    law: tuple[Float[Array, " p"], Float[Array, "p p"]],
    y: Float[Array, "T m"],
    good: Bool[Array, ""],
    throw: bool,
) -> Float[Array, " T"]:
    """The log densities of y_t given what came before, by the constant gain.

    Args:
        space: the state space.
        law: the mean and covariance of the lagged numbers of x before these periods.
        y: the data.
        good: whether there was no failure before; where there was, there is none here.
        throw: whether missing data, and a covariance that is not near its limit, raise; else NaN.
    """
    mean, cov = law
    p, r = space.lags, space.impact
    t = space.transition[:, :p]
    before = limit(space)
    u = update(observed(space, p), jnp.zeros(t.shape[0]), before, jnp.zeros(y.shape[1]))

    # With s the lagged numbers: s_t = (A − K C) s_{t−1} + K y_t, A and C as in `Recursion`.
    a, c = t[:p], space.observation @ t
    closed, entering = a - u.gain @ c, y @ u.gain.T

    def step(mean: Array, entering: Array) -> tuple[Array, Array]:
        return closed @ mean + entering, mean

    _, means = jax.lax.scan(step, mean, entering)
    white = (y - means @ c.T) @ u.whitener.T
    # log_density at e = 0 is all that does not depend on the data.
    densities = u.log_density - jnp.sum(white**2, axis=1) / 2

    off = jnp.max(jnp.abs(t @ cov @ t.T + r @ r.T - before))
    near = off <= _NEAR * jnp.max(jnp.abs(before))
    whole = ~jnp.any(jnp.isnan(y))
    densities = guarded(densities, good & ~near, _FAR, throw)
    densities = guarded(densities, good & ~whole, _MISSING, throw)
    return jnp.where(good, densities, 0)


_NEAR = 1e-8
_FAR = (
    "dini.economics: `steady_after` is too short. The covariance of the forecast is not yet within "
    "1e-8 of its limit, or there is no limit from which the filter forgets its past. Raise it, or "
    "leave it out."
)
_MISSING = (
    "dini.economics: `steady_after` needs data without missing numbers after so many periods, for "
    "the gain is not constant there. Raise it beyond them, or leave it out."
)
