"""Directional derivatives of numbers made of a matrix: by a program of JAX, and by mpmath."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

_DIGITS = 60
_STEP = mpmath.mpf(10) ** -20


def directional(phi, e, h):
    """A ↦ φ, ∂φ along e in both modes, and ∂²φ along e and h in the four nestings."""
    forward = lambda f, v: lambda a: jax.jvp(f, (a,), (v,))[1]
    reverse = lambda f, v: lambda a: jnp.sum(jax.grad(f)(a) * v).real

    modes = (forward, reverse)

    def numbers(a):
        second = [outer(inner(phi, e), h)(a) for outer in modes for inner in modes]
        return [phi(a), *(mode(phi, e)(a) for mode in modes), *second]

    return numbers


def matrix(a):
    return mpmath.matrix(np.asarray(a).tolist())


def total(weights, m):
    """Σ weights_ij m_ij."""
    weights = matrix(weights)
    return mpmath.fsum(weights[i, j] * m[i, j] for i in range(m.rows) for j in range(m.cols))


def expected(phi, a, e, h):
    """What `directional` gives, for φ of mpmath matrices, by differences with 60 digits."""
    with mpmath.workdps(_DIGITS):
        a, e, h = matrix(a), _STEP * matrix(e), _STEP * matrix(h)
        first = (phi(a + e) - phi(a - e)) / (2 * _STEP)
        corners = phi(a + e + h) - phi(a + e - h) - phi(a - e + h) + phi(a - e - h)
        value, second = phi(a), corners / (4 * _STEP**2)
        return [float(mpmath.re(x)) for x in [value, *[first] * 2, *[second] * 4]]


def assert_right(phi, exact, stack, e, h, first=1e-9, second=1e-6, floor=1e-3):
    """Every matrix of a stack has the right numbers, in one compiled program.

    Args:
        phi: a number made of a matrix, by JAX.
        exact: the same by mpmath.
        stack: the matrices.
        e: the first direction.
        h: the second direction.
        first: the relative error that first derivatives may have, one for all or one a matrix.
        second: that of second derivatives.
        floor: the size below which an error counts relative to it.
    """
    actual = np.stack(jax.jit(jax.vmap(directional(phi, e, h)))(stack), -1)
    right = np.array([expected(exact, a, e, h) for a in stack])
    error = np.abs(actual - right) / np.maximum(floor, np.abs(right))
    bound = np.stack([np.broadcast_to(b, len(right)) for b in [first] * 3 + [second] * 4], -1)
    assert np.all(error <= bound), f"value, jvp, vjp, four nestings:\n{error}"
