"""The complex Schur form, on every platform: what equations fall back on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Inexact

from dini._matrices import product


def schur(a: Inexact[Array, "n n"]) -> tuple[Complex[Array, "n n"], Complex[Array, "n n"]]:
    """(T, U) with A = U T Uᴴ, T upper triangular and U unitary.

    LAPACK's on a CPU; elsewhere, where JAX has none, the QR algorithm step by step, which is slow.
    """
    a = a.astype(jnp.result_type(a.dtype, jnp.complex64))
    return jax.lax.platform_dependent(a, cpu=_lapack, default=qr_algorithm)


def _lapack(a: Array) -> tuple[Array, Array]:
    t, u = jax.scipy.linalg.schur(a, output="complex")
    return jnp.triu(t), u


# H − μ I = Q R, H ← Qᴴ H Q, with μ the eigenvalue of the last 2×2 block of what is left nearer to
# its corner. A subdiagonal number at rounding is set to zero, and the block left ends before it.
# (Golub and Van Loan, Matrix Computations (2013), section 7.5.)
def qr_algorithm(a: Array) -> tuple[Array, Array]:
    """The Schur form by shifted QR steps on the whole matrix; NaN if it does not converge."""
    n = a.shape[-1]
    real = jnp.finfo(a.dtype)
    index = jnp.arange(n)

    def more(state: tuple) -> Array:
        *_, last, k = state
        return (last > 0) & (k <= _STEPS * n)

    def step(state: tuple) -> tuple:
        t, u, last, k = state
        inside = index <= last
        shift = jnp.where(k % 10 == 0, jnp.abs(t[last, last - 1]) + t[last, last], _shift(t, last))
        block = jnp.where(inside[:, None] & inside, t, 0) - jnp.diag(jnp.where(inside, shift, -1))
        q, _ = jnp.linalg.qr(block)
        t, u = product(q.conj().T, t, q), product(u, q)
        below = jnp.sum(jnp.abs(jnp.where(index < last, t[last], 0)))
        done = below <= real.eps * jnp.linalg.norm(t) / 8
        t = jnp.where(done & (index == last)[:, None] & (index < last), 0, t)
        return t, u, last - done, k + 1

    start = a, jnp.eye(n, dtype=a.dtype), jnp.asarray(n - 1), 1
    t, u, last, _ = jax.lax.while_loop(more, step, start)
    return jnp.where(last <= 0, jnp.triu(t), jnp.nan), u


def _shift(t: Array, last: Array) -> Array:
    a, b = t[last - 1, last - 1], t[last - 1, last]
    c, d = t[last, last - 1], t[last, last]
    half = (a - d) / 2
    root = jnp.sqrt(half**2 + b * c)
    root = jnp.where((half.conj() * root).real < 0, -root, root)
    away = half + root
    return d - jnp.where(away == 0, 0, b * c / jnp.where(away == 0, 1, away))


_STEPS = 60
