"""Whether a map has a kink near a point."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dini._tree import max_abs
from dini.linear import probe
from dini.rules import linearise

_Vector = Float[Array, " n"]

# In how many directions the map is asked, so that none runs along a kink, and how far: enough that
# every number, in one direction at least, moves by its radius.
_DIRECTIONS = 3
_REACH = 4.0


# A map is smooth on both sides of a kink nᵀy = c and continuous across it, so that ∂P jumps by
# a nᵀ for some a, and ∂P v by a nᵀv, for steps v on the scale of v itself. Where P is smooth,
# ∂P(y ± v) v differs from ∂P(y) v by ∂²P[v, v] alone: a part of order |v| of it.
def has_kink(
    fun: Callable[[_Vector], _Vector], y: _Vector, radius: _Vector, eps: float, name: str
) -> Bool[Array, ""]:
    """Whether the derivative of `fun` jumps within about `radius` of y, number by number.

    A kink that turns the derivative by less than eps^(1/6), 2.5e-3 in float64, is not seen; a
    bend on the scale of that many radii counts as a kink.
    """

    def slopes(direction: _Vector) -> Float[Array, "3 m"]:
        def slope(step: Array) -> _Vector:
            return linearise(fun, y + step * direction, name).pushforward(direction)

        return jax.vmap(slope)(jnp.array([0.0, 1.0, -1.0], y.dtype))

    directions = jnp.stack([probe(y, which) for which in range(_DIRECTIONS)])
    seen = jax.vmap(slopes)(_REACH * radius * directions)
    size = jnp.max(jnp.abs(seen), axis=(0, 1))
    jump = jnp.max(jnp.abs(seen - seen[:, :1]), axis=(0, 1))
    return ~jnp.all(jump <= eps ** (1 / 6) * size + 64 * eps * max_abs(size))
