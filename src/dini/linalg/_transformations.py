"""How an equation A X B + C X D = E is transformed so that doubling converges."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from dini.linalg._equation import Terms
from dini.linalg._stein import size


# M = [[1, q], [−1, p]] gives W = (A + q)⁻¹(A − p), V = (B − q)(B + p)⁻¹. The powers of W · V decay
# where a circle parts the eigenvalues of A from those of −B, with p inside and −q outside.
# (It is the alternating-direction iteration with one pair of shifts: Wachspress (1988).)
def shifts(terms: Terms) -> Inexact[Array, "3 2 2"]:
    """For A X + X B = Q.

    First p and q in one direction, the geometric means of the eigenvalues' sizes: for spectra in
    one half-plane, however wide. Then their means: for two clusters. Then shifts beyond both
    spectra, with inverses that are well conditioned whatever the spectra are.
    """
    a, b = terms.a, terms.d
    assert a is not None
    assert b is not None
    p, q = jnp.trace(a) / a.shape[0], jnp.trace(b) / b.shape[0]
    whole = jnp.abs(p + q)
    side = jnp.where(whole > 0, (p + q) / jnp.where(whole > 0, whole, 1), 1)
    of_a = _geometric_mean(a)
    of_b = of_a if terms.twins else _geometric_mean(b)
    beyond = 2 * jnp.maximum(size(a), size(b)) * side
    pairs = [(side * of_a, side * of_b), (p, q), (beyond, beyond)]
    return jnp.array([[[1, q], [-1, p]] for p, q in pairs], a.dtype)


def none(terms: Terms) -> Inexact[Array, "1 2 2"]:
    """The identity: for A X B + C X D = E with A and B well conditioned, A X B the larger term."""
    del terms
    return jnp.eye(2)[None]


def _geometric_mean(a: Array) -> Array:
    """That of the eigenvalues' sizes, and no less than √eps ‖A‖."""
    _, logarithm = jnp.linalg.slogdet(a)
    return jnp.maximum(jnp.exp(logarithm / a.shape[0]), jnp.finfo(a.dtype).eps ** 0.5 * size(a))
