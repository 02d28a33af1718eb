"""Square roots of a matrix, made of products and inverses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini._matrices import once, product
from dini.linalg._matrices import norm
from dini.linalg._regular import is_regular


# Newton's iteration for the sign of [[0, A], [I, 0]] in its product form: M → I from M = A, with
# G = (I + M⁻¹)/2, X ← X G and M ← (I + (M + M⁻¹)/2)/2. As long as M is far from I it is brought to
# |det M| = 1 first, its eigenvalues to size 1. (Higham, Functions of Matrices (2008), eq. 6.29.)
# With e = |M − I|, and near I, e ← e²/4, |∂M| ← e |∂M|/2 and |∂²M| ← |∂M|²/2 + e |∂²M|/2: where M
# is I by chance, as the scaled M of a matrix with one eigenvalue is, its derivatives are not.
def square_root(
    a: Inexact[Array, "n n"], x: Inexact[Array, "n n"]
) -> tuple[Inexact[Array, "n n"], Bool[Array, ""]]:
    """X A^(−1/2): the principal root of A from X = A, and its inverse from X = I.

    Args:
        a: A.
        x: X, a function of A.

    Returns:
        The product, with its first and second derivatives, and whether it was found: no eigenvalue
        of A is zero, or negative, to working precision.
    """
    eps = float(jnp.finfo(a.dtype).eps)
    one = jnp.eye(len(a), dtype=a.dtype)

    def step(state: tuple) -> tuple:
        m, x, (off, first, second), condition, count = state
        inverse, size = inverse_and_size(m)
        condition = jnp.where(count == 0, norm(m) * norm(inverse), condition)
        far = off > _FAR
        mu = jnp.where(far, size**-0.5, 1)
        inverse = inverse / mu**2
        x = mu * (x + product(x, inverse)) / 2
        scaled = mu**2 * m
        # The same as (I + (M + M⁻¹)/2)/2, which cancels where M has an eigenvalue near −1.
        careful = lambda: product(one + inverse, one + scaled) / 4
        m = once(far, careful, (one + (scaled + inverse) / 2) / 2)
        first, second = jnp.where(far, 1, off * first), jnp.where(far, 1, first**2 + off * second)
        return m, x, (norm(m - one), first, second), condition, count + 1

    def close(errors: tuple) -> Bool[Array, ""]:
        off, first, second = errors
        return (off <= eps**0.6) & (jnp.maximum(first, second) <= eps**0.9)

    def more(state: tuple) -> Bool[Array, ""]:
        _, _, errors, _, count = state
        return ~close(errors) & (count < _MOST_STEPS) & ~jnp.isnan(errors[0])

    off = norm(a - one) + 1
    start = a, x, (off, jnp.ones_like(off), jnp.ones_like(off)), off, jnp.zeros((), jnp.int32)
    _, x, errors, condition, _ = jax.lax.while_loop(more, step, start)
    return x, close(errors) & is_regular(a, condition)


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


# An eigenvalue at the angle δ from the negative axis takes log₂ 1/δ steps.
_MOST_STEPS = 36
_FAR = 1e-2
