"""A Krylov method that stops at any product with the matrix, and counts them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dini.linear._condition import row_sizes

_Vector = Float[Array, " n"]

# A residual that shrinks to less than this share of itself is a good next direction.
_SHRINKS = 0.9


class MinimalResidual(NamedTuple):
    """x, the residual b − A x, how many products with A they took, and how large A's rows are.

    The rows are known up to a common factor, and as far as the last `depth` directions show them.
    """

    x: _Vector
    r: _Vector
    products: Int[Array, ""]
    rows: _Vector


# Directions pᵢ with qᵢ = A pᵢ orthonormal: then |b − A x| is smallest over their span at
#     x = Σ pᵢ qᵢᵀb,   r = b − Σ qᵢ qᵢᵀb,
# without a small system to solve. The next p is r, or, where r has hardly changed and so would
# bring nothing new, the last q: either way their span is the Krylov space of GMRES.
def minimal_residual(
    action: Callable[[_Vector], _Vector],
    b: _Vector,
    precondition: Callable[[_Vector], _Vector],
    unsolved: Callable[[_Vector, Float[Array, ""]], Array],
    depth: int,
    max_products: int,
) -> MinimalResidual:
    """Solves A x = b approximately: x has the least |b − A x| over a Krylov space.

    It is GMRES in the form of generalised conjugate residuals, truncated to the last `depth`
    directions: 2 · depth vectors of memory. It goes on while `unsolved(x, |b − A x| / |b|)`, for at
    most `max_products` products, and stops where `depth` of them in a row gain next to nothing.
    The residual never grows, whatever A is, and belongs to A and b as they are: the preconditioner
    stands on the right.

    References: Eisenstat, Elman and Schultz, Variational iterative methods for nonsymmetric systems
    of linear equations (1983); Jiránek and Rozložník, Adaptive version of simpler GMRES (2010).
    """
    depth = min(depth, b.size)
    eps, norm = jnp.finfo(b.dtype).eps, jnp.linalg.norm

    def goes_on(carry: tuple) -> Array:
        x, r, k, *_, stuck = carry
        return (k < max_products) & ~stuck & unsolved(x, norm(r) / norm(b))

    def extend(carry: tuple) -> tuple:
        x, r, k, p, ps, qs, window, _ = carry
        p = precondition(p)
        q = action(p)
        whole = norm(q)
        # Twice, so that rounding leaves no part of the other directions in q.
        for _ in range(2):
            c = qs @ q
            p, q = p - c @ ps, q - c @ qs
        new = norm(q) > 10 * eps * whole
        p, q = (jnp.where(new, v / norm(q), 0) for v in (p, q))
        slot, share = k % depth, q @ r
        after = r - share * q
        ps, qs = ps.at[slot].set(p), qs.at[slot].set(q)
        onwards = jnp.where(norm(after) <= _SHRINKS * norm(r), after, q)
        filled = slot == depth - 1
        stuck = ~new | filled & (norm(after) > _SHRINKS * window)
        window = jnp.where(filled, norm(after), window)
        return x + share * p, after, k + 1, onwards, ps, qs, window, stuck

    none = jnp.zeros((depth, b.size), b.dtype)
    start = (jnp.zeros_like(b), b, jnp.asarray(0), b, none, none, norm(b), jnp.asarray(False))
    x, r, k, _, ps, qs, *_ = jax.lax.while_loop(goes_on, extend, start)
    return MinimalResidual(x, r, k, row_sizes(ps, qs))
