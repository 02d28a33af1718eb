"""One period of the Kalman filter."""

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from dini._matrices import marked
from dini.economics._state_space import StateSpace


class Recursion(eqx.Module):
    """x_t = A s_{t−1} + B ε_t and y_t = C s_{t−1} + D ε_t + v_t, s the first numbers of x.

    So the filter goes from one law of s, given what was seen, to the next.

    Attributes:
        lagged: [A; C], of shape (r + m, p).
        impact: [B; D], of shape (r + m, k).
        noise: H, of shape (m, m); None for none.
    """

    lagged: Float[Array, "rm p"]
    impact: Float[Array, "rm k"]
    noise: Float[Array, "m m"] | None


def recursion(space: StateSpace, rows: int) -> Recursion:
    """That of the first `rows` numbers of x, from the lagged ones."""
    t, r, z = space.transition[:, : space.lags], space.impact, space.observation
    over = lambda x: jnp.concatenate([x[:rows], z @ x])
    return Recursion(over(t), over(r), space.measurement_cov)


def observed(space: StateSpace, rows: int) -> Recursion:
    """The same from all of x in the same period: what is seen of it."""
    one = jnp.eye(space.transition.shape[0])
    over = jnp.concatenate([one[:rows], space.observation])
    return Recursion(over, jnp.zeros((over.shape[0], 0)), space.measurement_cov)


class Update(eqx.Module):
    """The law of x_t before and after y_t is seen.

    Attributes:
        predicted: of shape (r,).
        predicted_cov: of shape (r, r).
        mean: of shape (r,), given y_t.
        cov: of shape (r, r), given y_t.
        log_density: of the numbers of y_t that are seen.
        innovation: e, of shape (m,); 0 where missing.
        innovation_cov: F, of shape (m, m), of all numbers of y_t.
        whitener: U of shape (m, m), with Uᵀ U the inverse of F, both of the numbers seen.
        gain: K, of shape (r, m); 0 where missing.
    """

    predicted: Float[Array, " r"]
    predicted_cov: Float[Array, "r r"]
    mean: Float[Array, " r"]
    cov: Float[Array, "r r"]
    log_density: Float[Array, ""]
    innovation: Float[Array, " m"]
    innovation_cov: Float[Array, "m m"]
    whitener: Float[Array, "m m"]
    gain: Float[Array, "r m"]


# The joint covariance of (x_t, y_t) is J = [A; C] P [A; C]ᵀ + [B; D] [B; D]ᵀ + H in the last block,
# with the blocks P⁻, M and F. So K = M F⁻¹, the mean x⁻ + K e, and the covariance P⁻ − K Mᵀ
# = (A − K C) P (A − K C)ᵀ + (B − K D) (B − K D)ᵀ + K H Kᵀ: Joseph's form, a sum of squares, gives
# its value; the two are one function of θ, and the short one its derivatives, at less cost.
def update(
    given: Recursion,
    mean: Float[Array, " p"],
    cov: Float[Array, "p p"],
    y: Float[Array, " m"],
) -> Update:
    """The law of x_t, of that of s_{t−1} and y_t; NaN in y_t is not seen.

    Where F is not positive definite, all but the prediction is NaN.
    """
    m, p = y.shape[0], mean.shape[0]
    r = given.lagged.shape[0] - m
    seen = ~jnp.isnan(y)
    xy = given.lagged @ mean
    joint = given.lagged @ cov @ given.lagged.T + given.impact @ given.impact.T
    f = joint[r:, r:] if given.noise is None else joint[r:, r:] + given.noise
    e = jnp.where(seen, y - xy[r:], 0)

    whitener, log_det = whiten(f, seen)
    white = whitener @ jnp.concatenate([e[:, None], joint[r:, :r]], axis=1)
    w, mf = white[:, 0], white[:, 1:]
    gain = mf.T @ whitener
    short = joint[:r, :r] - mf.T @ mf
    after = short + stop_gradient(_joseph(given, cov, gain, p, r) - short)

    constant = jnp.sum(seen) * jnp.log(2 * jnp.pi)
    density = -(w @ w + log_det + constant) / 2
    before = (joint[:r, :r] + joint[:r, :r].T) / 2
    return Update(xy[:r], before, xy[:r] + mf.T @ w, after, density, e, f, whitener, gain)


def whiten(f: Float[Array, "m m"], seen: Bool[Array, " m"]) -> tuple[Array, Array]:
    """U with Uᵀ U = F⁻¹ of what is seen, zero elsewhere; log det F of what is seen.

    NaN where F is singular to working precision: what a number adds to the others is rounding.
    """
    one = jnp.eye(f.shape[0])
    f = jnp.where(seen[:, None] & seen, f, one)
    root = jnp.linalg.cholesky(f, symmetrize_input=False)
    added = stop_gradient(jnp.diag(root) ** 2 / jnp.diag(f))
    regular = jnp.min(added, initial=1) > _ROUNDING * f.shape[0] * jnp.finfo(f.dtype).eps
    root = marked(root, regular)
    inverse = solve_triangular(root, one, lower=True)
    return jnp.where(seen[:, None], inverse, 0), 2 * jnp.sum(jnp.log(jnp.diag(root)))


def _joseph(given: Recursion, cov: Array, gain: Array, p: int, r: int) -> Array:
    both = jnp.concatenate([given.lagged, given.impact], axis=1)
    closed = both[:r] - gain @ both[r:]
    parts = [closed[:, :p] @ cov, closed[:, p:]]
    if given.noise is not None:
        parts, closed = [*parts, gain @ given.noise], jnp.concatenate([closed, gain], axis=1)
    square = jnp.concatenate(parts, axis=1) @ closed.T
    return (square + square.T) / 2


_ROUNDING = 16
