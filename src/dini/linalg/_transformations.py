"""How an equation A X B + C X D = E is transformed so that doubling converges."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dini._matrices import once
from dini.linalg._equation import Attempts, Terms
from dini.linalg._matrices import norm


# M = [[1, q], [−1, p]] gives W = (A + q)⁻¹(A − p), V = (B − q)(B + p)⁻¹. The powers of W · V decay
# where a circle parts the eigenvalues of A from those of −B, with p inside and −q outside.
# (It is the alternating-direction iteration with one pair of shifts: Wachspress (1988).)
def shifts(terms: Terms) -> Attempts:
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
    beyond = 2 * jnp.maximum(norm(a), norm(b)) * side
    pairs = [(side * of_a, side * of_b), (p, q), (beyond, beyond)]
    table = jnp.array([[[1, q], [-1, p]] for p, q in pairs], a.dtype)
    return Attempts(len(pairs), lambda i: table[i])


def as_it_stands(terms: Terms) -> None:
    """For A X B + C X D = E with A and B regular, and A X B the larger term."""
    del terms


def of_pencils(terms: Terms) -> Attempts:
    """For any A X B + C X D = E.

    First the equation as it stands, then with its terms exchanged, then as one with spectra in one
    half-plane, on either side; last a rotation for which both inverses are well conditioned.
    """
    a, b, c, d = terms.a, terms.b, terms.c, terms.d
    assert a is not None
    assert b is not None
    assert c is not None
    assert d is not None
    t = jnp.maximum(norm(a) / norm(c), norm(d) / norm(b))
    t = jnp.where((t > 0) & (t < jnp.inf), t, 1)
    angles = (jnp.arange(8) + 0.37) * jnp.pi / 8
    rotations = jax.vmap(lambda x: _matrix(jnp.cos(x) / t, jnp.sin(x), -jnp.sin(x) / t, jnp.cos(x)))
    turned = rotations(angles)

    def condition(m: Array) -> Array:
        (alpha, beta), (gamma, delta) = m
        parts = alpha * a + beta * c, delta * b - gamma * d
        return jnp.maximum(*(norm(x) * norm(jnp.linalg.inv(x)) for x in parts))

    def best() -> Array:
        worst = jax.vmap(condition)(turned)
        return turned[jnp.argmin(jnp.where(jnp.isfinite(worst), worst, jnp.inf))]

    fixed = [
        _matrix(1, 0, 0, 1),
        _matrix(0, 1, -1, 0),
        _matrix(1, t, -1, t),
        _matrix(1, -t, -1, -t),
    ]
    table = jnp.stack(fixed)
    last = len(fixed)
    pick = lambda i: once(i == last, best, table[jnp.minimum(i, last - 1)]).astype(a.dtype)
    return Attempts(last + 1, pick)


def _matrix(*entries: Array | int) -> Array:
    return jnp.stack([jnp.asarray(x, float) for x in entries]).reshape(2, 2)


def _geometric_mean(a: Array) -> Array:
    """That of the eigenvalues' sizes, and no less than √eps ‖A‖."""
    _, logarithm = jnp.linalg.slogdet(a)
    return jnp.maximum(jnp.exp(logarithm / a.shape[0]), jnp.finfo(a.dtype).eps ** 0.5 * norm(a))
