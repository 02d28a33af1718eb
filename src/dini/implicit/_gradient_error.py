"""How far a gradient obtained by the implicit function theorem may be off."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, PyTree

from dini._tree import RealView, max_abs
from dini.linear import Direct, System, magnitude
from dini.rules import differentiable, linearise

_SAMPLES = 8
# The estimate of truncation is of first order, and rounding is random: both get some room.
_ROOM = 2.0
_ROUNDING = 2.0

_Vector = Float[Array, " n"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point v near a root of F(v, t), A = ∂vF there, and A's factorisation if it has one."""

    residual: Callable[[Float[Array, " n"], Float[Array, " m"]], Float[Array, " n"]]
    v: Float[Array, " n"]
    t: Float[Array, " m"]
    system: System
    factors: Direct | None

    def solve(self, b: _Vector) -> _Vector:
        """A⁻¹ b, whatever its residual."""
        a = self.system
        return a.compute(self.factors, a.matvec, a.weight * b, jnp.asarray(False))[0]

    def solve_transposed(self, b: _Vector) -> _Vector:
        """A⁻ᵀ b, whatever its residual."""
        a = self.system
        transposed = lambda u: jax.linear_transpose(a.matvec, a.struct)(u)[0]
        return a.weight * a.compute(self.factors, transposed, b, jnp.asarray(False), True)[0]

    def transposed(self, u: _Vector) -> _Vector:
        """Aᵀ u."""
        return jax.linear_transpose(self.system.action, self.system.struct)(u)[0]


# g = −Bᵀλ with Aᵀλ = z̄ and B = ∂tF. An error dv of the point and a residual r = z̄ − Aᵀλ of the
# adjoint solve change it, to first order, by
#     dg = −q_t − Bᵀ A⁻ᵀ (r − q_v),   (q_v, q_t) = ∂²(λᵀF)[dv, ·].
# Truncation: dv is the Newton correction, r the residual found. Rounding: as if every number in A,
# B, v, t and z̄ were off by eps times a random sign, a few times over; the spread of dg then tells
# its size. (Kenney and Laub, Small-sample statistical condition estimates, 1994.)
def gradient_with_error(
    at: Point, correction: _Vector, adjoint: _Vector, cotangent: _Vector
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """G = t̄ for this solution λ of the adjoint system, and a bound of the error of each number."""
    v, t, eps = at.v, at.t, at.system.eps
    both = differentiable(lambda x: at.residual(*x), at.system.config.name)
    of_t = linearise(lambda t: at.residual(v, t), t, at.system.config.name).pushforward
    pullback = lambda u: jax.linear_transpose(of_t, t)(u)[0]
    slope = jax.grad(lambda x: jnp.vdot(adjoint, both(x)))

    def change(errors: tuple[_Vector, _Vector, Array]) -> Float[Array, " m"]:
        r, dv, dg = errors
        _, (q_v, q_t) = jax.jvp(slope, ((v, t),), ((dv, jnp.zeros_like(t)),))
        return dg - q_t - pullback(at.solve_transposed(r - q_v))

    struct = at.system.struct
    rounded_r = jnp.abs(cotangent) + magnitude(lambda u: at.transposed(u * adjoint), struct)
    rounded_f = magnitude(lambda u: at.system.action(u * v), struct)
    rounded_f = rounded_f + magnitude(lambda u: of_t(u * t), jax.ShapeDtypeStruct(t.shape, t.dtype))
    rounded_g = magnitude(lambda u: pullback(u * adjoint), struct)

    def sample(key: Array) -> tuple[_Vector, _Vector, Array]:
        keys = jax.random.split(key, 3)
        r, f, g = (
            eps * jax.random.normal(k, x.shape, x.dtype) * x
            for k, x in zip(keys, (rounded_r, rounded_f, rounded_g), strict=True)
        )
        return r, at.solve(f), g

    rounding = jax.lax.map(sample, jax.random.split(jax.random.key(0), _SAMPLES))
    truncation = (cotangent - at.transposed(adjoint), correction, jnp.zeros_like(t))
    stacked = jtu.tree_map(lambda a, b: jnp.concatenate([a[None], b]), truncation, rounding)
    changes = jax.lax.map(change, stacked)
    spread = jnp.sqrt(jnp.mean(changes[1:] ** 2, axis=0))
    return -pullback(adjoint), _ROOM * jnp.abs(changes[0]) + _ROUNDING * spread


def largest_of_each(view: RealView, errors: Float[Array, " m"]) -> PyTree:
    """The largest number of each leaf."""
    return jtu.tree_map(lambda x: max_abs(jnp.abs(x).reshape(-1)), view.unravel(errors))
