"""Whether a linear model has one stable law of motion: Blanchard and Kahn's conditions."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dini._matrices import once, product


class Verdict(eqx.Enumeration):
    """How many stable laws of motion a model has; compare with `==`.

    Reference: Blanchard and Kahn, The solution of linear difference models under rational
    expectations (1980).
    """

    determinate = "determinate: one stable law of motion"
    indeterminate = "indeterminate: more than one stable law of motion"
    explosive = "explosive: no stable law of motion"
    failed = "failed: no law of motion was found"


# With A X² + B X + C = 0 and S = (A X + B)⁻¹ A,  λ² A + λ B + C = (A X + B) (λ S + I) (λ I − X)
# has the eigenvalues of X, and −1/σ for each σ of S. X is the one stable law if all of the first
# lie inside the unit circle, and all of the second outside.
def verdict(
    x: Float[Array, "s s"], s: Float[Array, "l l"], pencil: tuple[Array, Array, Array]
) -> Verdict:
    """What the two spectra say; where there is no solvent, the number of stable eigenvalues.

    Args:
        x: X, or its block that has all its eigenvalues but zeros; NaN where there is no solvent.
        s: the same of S.
        pencil: A, B and C, each of shape (n, n), with rows of about one size.
    """
    x, s, pencil = jax.lax.stop_gradient((x, s, pencil))  # eigenvalues have no second derivative
    finite = jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(s))
    posed = jnp.all(jnp.isfinite(jnp.stack(pencil)))
    count = lambda: _of_count(*pencil)
    without = once(posed & ~finite, count, Verdict.failed)
    stable, unique = is_contraction(x), is_contraction(s)
    found = Verdict.where(unique, Verdict.explosive, Verdict.indeterminate)
    found = Verdict.where(unique & stable, Verdict.determinate, found)
    return Verdict.where(finite, found, without)


# ρ(M)ᵖ ≤ |Mᵖ|, and |Mᵖ| → 0 if ρ(M) < 1: by squaring, p = 2ᵏ, with a norm of 1 kept apart from its
# logarithm. Each square is exact to n ε, which is as if ρ were off by n ε, so that more than
# p = 1/(8 n ε) tells nothing.
def is_contraction(m: Float[Array, "n n"]) -> Bool[Array, ""]:
    """Whether ρ(M) < 1, which a ρ within about 8 n ε of 1 does not count as.

    It costs the more products the nearer ρ is to 1: log₂ 1/|1 − ρ|.
    """
    n = m.shape[0]
    if not n:
        return jnp.asarray(True)
    eps = float(jnp.finfo(m.dtype).eps)
    doublings = max(1, int(-math.log2(8 * n * eps)))

    def scaled(m: Array) -> tuple[Array, Array]:
        size = jnp.max(jnp.sum(jnp.abs(m), axis=0))
        return m / jnp.where(size > 0, size, 1), jnp.log(size)

    def square(state: tuple) -> tuple:
        m, log, k = state
        m, more = scaled(product(m, m))
        return m, 2 * log + more, k + 1

    # |Mᵖ| < ½ is enough. It is too late for that where the powers have grown beyond what a
    # defective matrix of radius 1 can do.
    def more(state: tuple) -> Array:
        _, log, k = state
        return (log >= _HALF) & (log < _LATE * n) & (k < doublings)

    _, log, _ = jax.lax.while_loop(more, square, (*scaled(m), 0))
    return log < _HALF


# (F − E) z = μ (F + E) z with μ = (λ − 1)/(λ + 1), for the pencil F − λ E of λ² A + λ B + C, has
# Re μ < 0 ⇔ |λ| < 1, and μ = 1 for an infinite λ: so A may be singular.
def _of_count(a: Array, b: Array, c: Array) -> Verdict:
    """The verdict by the number of eigenvalues inside the unit circle; n is what no law has."""
    n = a.shape[0]
    one, zero = jnp.eye(n, dtype=a.dtype), jnp.zeros_like(a)
    e = jnp.block([[one, zero], [zero, a]])
    f = jnp.block([[zero, one], [-c, -b]])
    mu = jnp.linalg.eigvals(jnp.linalg.solve(f + e, f - e))
    known = jnp.abs(mu.real) > float(jnp.finfo(a.dtype).eps) ** 0.5 * (1 + jnp.abs(mu))
    inside = jnp.sum(known & (mu.real < 0))
    outside = jnp.sum(known & (mu.real > 0))
    found = Verdict.where(outside > n, Verdict.explosive, Verdict.failed)
    return Verdict.where(inside > n, Verdict.indeterminate, found)


# The logarithm of a half; and, for each row, that of what powers of a matrix of radius 1 grow to.
_HALF, _LATE = -0.7, 40.0
