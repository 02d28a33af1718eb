"""One square root of a matrix, made of products and inverses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from dini.linalg._matrices import norm, product

_MOST_STEPS = 50
_FINAL_STEPS = 3  # Newton squares its error, and that of each derivative, once more in each
_FAR = 1e-2


# Newton's iteration for the sign function in its product form: M → I, X → A^(1/2) from M = X = A,
# X ← X (I + M⁻¹)/2 and M ← (I + (M + M⁻¹)/2)/2. As long as M is far from I it is brought to
# |det M| = 1 first. (Higham, Functions of Matrices (2008), equation 6.29.)
def square_root(a: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Bool[Array, ""]]:
    """The principal square root, and whether it was found: no eigenvalue is zero or negative."""
    n, eps = len(a), float(jnp.finfo(a.dtype).eps)
    one = jnp.eye(n, dtype=a.dtype)

    def step(state: tuple) -> tuple:
        m, x, off, close, count = state
        _, logdet = jnp.linalg.slogdet(jax.lax.stop_gradient(m))
        mu = jnp.where(off > _FAR, jnp.exp(-logdet / (2 * n)), 1).astype(logdet.dtype)
        inverse = jnp.linalg.inv(m) / mu**2
        x = mu * (x + product(x, inverse)) / 2
        m = (one + (mu**2 * m + inverse) / 2) / 2
        off = norm(m - one)
        return m, x, off, close + (off <= eps**0.4), count + 1

    def more(state: tuple) -> Bool[Array, ""]:
        _, _, off, close, count = state
        return (close < _FINAL_STEPS) & (count < _MOST_STEPS) & ~jnp.isnan(off)

    zero = jnp.zeros((), jnp.int32)
    off = norm(a - one)
    _, x, _, close, _ = jax.lax.while_loop(more, step, (a, a, off + 1, zero, zero))
    return x, close == _FINAL_STEPS
