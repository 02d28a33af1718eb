"""Square roots of a matrix, made of products and inverses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini._matrices import product
from dini.linalg._matrices import norm

_MOST_STEPS = 60
_FAR = 1e-2
# Steps from where M is near I on: one that gets there, and one that squares the error, e, that of a
# first derivative, of size 2ᵏ e after k steps, and of a second, 4ᵏ e: all below rounding then.
_LAST = 2


# Newton's iteration for the sign of [[0, A], [I, 0]] in its product form: M → I from M = A, with
# G = (I + M⁻¹)/2, X ← X G and M ← (I + (M + M⁻¹)/2)/2. As long as M is far from I it is brought to
# |det M| = 1 first, its eigenvalues to size 1. (Higham, Functions of Matrices (2008), eq. 6.29.)
def square_root(
    a: Inexact[Array, "n n"], x: Inexact[Array, "n n"]
) -> tuple[Inexact[Array, "n n"], Bool[Array, ""]]:
    """X A^(−1/2): the principal root of A from X = A, and its inverse from X = I.

    Args:
        a: A.
        x: X, a function of A.

    Returns:
        The product, and whether it was found: no eigenvalue of A is zero or negative.
    """
    n, eps = len(a), float(jnp.finfo(a.dtype).eps)
    one = jnp.eye(n, dtype=a.dtype)

    def step(state: tuple) -> tuple:
        m, x, off, close, count = state
        inverse, size = inverse_and_size(m)
        mu = jnp.where(off > _FAR, size**-0.5, 1)
        inverse = inverse / mu**2
        x = mu * (x + product(x, inverse)) / 2
        m = (one + (mu**2 * m + inverse) / 2) / 2
        off = norm(m - one)
        return m, x, off, close + (off <= eps**0.6), count + 1

    def more(state: tuple) -> Bool[Array, ""]:
        _, _, off, close, count = state
        return (close < _LAST) & (count < _MOST_STEPS) & ~jnp.isnan(off)

    zero = jnp.zeros((), jnp.int32)
    off = norm(a - one)
    _, x, _, close, _ = jax.lax.while_loop(more, step, (a, x, off + 1, zero, zero))
    return x, close == _LAST


def inverse_and_size(m: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Float[Array, ""]]:
    """M⁻¹, and |det M|^(1/n), a constant for derivatives: both of one factorisation."""
    factors = jax.scipy.linalg.lu_factor(jax.lax.stop_gradient(m))
    size = jnp.exp(jnp.mean(jnp.log(jnp.abs(jnp.diagonal(factors[0])))))
    inverse = jax.lax.custom_linear_solve(
        lambda x: product(m, x),
        jnp.eye(len(m), dtype=m.dtype),
        lambda _, b: jax.scipy.linalg.lu_solve(factors, b),
        lambda _, b: jax.scipy.linalg.lu_solve(factors, b, trans=1),
    )
    return inverse, size
