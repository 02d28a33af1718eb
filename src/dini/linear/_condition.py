"""What the products of a matrix tell of its size: of all of it, and of each row."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_Action = Callable[[Float[Array, " n"]], Float[Array, " n"]]
_TURNS = 6


# |A|₁ = max |A x|₁ over |x|₁ = 1 is attained at a unit vector. From x, the gradient Aᵀ sign(A x)
# points to the one to try next. A vector of alternating signs is tried as well.
def norm_estimate(
    action: _Action, transposed: _Action, struct: jax.ShapeDtypeStruct
) -> Float[Array, ""]:
    """A lower bound of |A|₁, the largest column sum, almost always within a factor of 3.

    Reference: Higham, FORTRAN codes for estimating the one-norm of a real or complex matrix (1988).
    """
    n = struct.shape[0]
    index = jnp.arange(n)
    alternating = jnp.where(index % 2 == 0, 1, -1) * (1 + index / max(n - 1, 1))
    weights = 2 / (3 * n) * alternating.astype(struct.dtype)

    def turn(x: Float[Array, " n"], i: Array) -> tuple[Array, Array]:
        y = action(jnp.where(i == _TURNS - 1, weights, x))
        towards = transposed(jnp.where(y >= 0, 1, -1).astype(struct.dtype))
        best = jnp.argmax(jnp.abs(towards))
        return (index == best).astype(struct.dtype), jnp.sum(jnp.abs(y))

    start = jnp.full(struct.shape, 1 / n, struct.dtype)
    _, sizes = jax.lax.scan(turn, start, jnp.arange(_TURNS))
    return jnp.max(sizes)


# |A s|ᵢ ≤ Σⱼ |Aᵢⱼ| max |s|, with equality for some s.
def row_sizes(s: Float[Array, "k n"], products: Float[Array, "k n"]) -> Float[Array, " n"]:
    """The sizes of A's rows, as far as the products A s tell, row by row; rows of zeros do not."""
    longest = jnp.max(jnp.abs(s), axis=1, keepdims=True)
    return jnp.max(jnp.abs(products) / jnp.where(longest > 0, longest, 1), axis=0)
