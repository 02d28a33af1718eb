"""The principal logarithm of a matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import marked, product
from dini.linalg._matrices import each, norm, square
from dini.linalg._scaling import growth
from dini.linalg._square_roots import square_root
from dini.rules import matrix_function

# log X = 2 artanh Y, Y = (X − I)(X + I)⁻¹, and artanh Y = Y Σ Wʲ/(2j + 1), W = Y². With
# |(X − I)ᵏ| ≤ θᵏ for all k from 2 _TERMS + 1 on, |Yᵏ| ≤ (θ/(2 − θ))ᵏ, and what is left out of the
# series is below 1e-17 of Y: it takes 2 √_TERMS products, a tenth of one more square root.
_THETA, _TERMS, _BLOCK = 0.8, 42, 6
_MOST_ROOTS = 60


def logm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The principal logarithm, eigenvalues of imaginary part between −π and π.

    Inverse scaling and squaring by products and inverses, log A = 2ᵏ log A^(1/2ᵏ), and the series
    of the inverse hyperbolic tangent. The derivative is that of each step.

    Args:
        A: matrices, real or complex.

    Returns:
        log A, of the shape and dtype of A. NaN, with its derivatives, where A is singular, not
        finite, or has an eigenvalue on the negative real axis: a real matrix then has no real
        principal logarithm, and that of a complex one jumps there. All of it to working precision.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Al-Mohy and Higham, Improved inverse scaling and squaring algorithms for the matrix
    logarithm (2012); Al-Mohy, Higham and Relton, Computing the Fréchet derivative of the matrix
    logarithm and estimating the condition number (2013).
    """
    return _logm(square("logm", A))


@jax.jit
@functools.partial(matrix_function, forward=True)
def _logm(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    return each(_of_one, a)


def _of_one(a: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    one = jnp.eye(len(a), dtype=a.dtype)

    def near(x: Array) -> Array:
        r = jax.lax.stop_gradient(x) - one
        r2 = product(r, r)
        r3 = product(r2, r)
        n1, n2, n3, n6 = map(norm, (r, r2, r3, product(r3, r3)))
        size = growth([n1, n2, n3, jnp.minimum(n2 * n2, n1 * n3), n2 * n3, n6], 2 * _TERMS)
        return size <= np.log2(_THETA)

    def root(state: tuple) -> tuple:
        x, roots, found, _ = state
        x, converged = square_root(x, x)
        return x, roots + 1, found & converged, near(x)

    def more(state: tuple) -> Array:
        _, roots, found, enough = state
        return found & (roots < _MOST_ROOTS) & ~enough

    start = a, jnp.zeros((), jnp.int32), jnp.isfinite(norm(a)), near(a)
    x, roots, found, enough = jax.lax.while_loop(more, root, start)
    y = jnp.linalg.solve(x + one, x - one)
    scale = jnp.ldexp(jnp.ones((), jnp.finfo(a.dtype).dtype), roots + 1)
    return marked(scale * product(y, _series(product(y, y))), found & enough)


# Σ Wʲ/(2j + 1) as a polynomial in W⁶ whose coefficients are polynomials in W of degree 5.
# (Paterson and Stockmeyer, On the number of nonscalar multiplications … (1973).)
def _series(w: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    powers = [jnp.eye(len(w), dtype=w.dtype)]
    for _ in range(_BLOCK):
        powers.append(product(powers[-1], w))
    total = jnp.zeros_like(w)
    for first in reversed(range(0, _TERMS, _BLOCK)):
        block = sum(powers[i] / (2 * (first + i) + 1) for i in range(_BLOCK))
        total = block + product(total, powers[_BLOCK])
    return total
