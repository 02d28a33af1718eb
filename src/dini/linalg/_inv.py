"""The inverse of a matrix."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini._matrices import marked, once, product
from dini.linalg._matrices import each, norm, square
from dini.rules import matrix_function


def inv(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The inverse of a matrix, by LU factorisation.

    Args:
        A: matrices, real or complex.

    Returns:
        A⁻¹, of the shape and dtype of A; NaN, with its derivatives, where A is not finite, or is
        singular to working precision: n ε ρ(|A⁻¹| |A|) ≥ 1, the condition number under the best
        scaling of rows and columns.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 14; Bauer,
    Optimally scaled matrices (1963).
    """
    return _inv(square("inv", A))


# A C = I  ⇒  E C + A L = 0  ⇒  L = −C E C.
def _along(a: Inexact[Array, "... n n"], e: Inexact[Array, "... n n"]) -> Inexact[Array, "..."]:
    c = _inv(a)
    return -product(product(c, e), c)


@jax.jit
@functools.partial(matrix_function, frechet=_along)
def _inv(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    return each(_of_one, a)


def _of_one(a: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    c, rounding = jnp.linalg.inv(a), len(a) * jnp.finfo(a.dtype).eps
    regular = rounding * norm(a) * norm(c) < 1

    def however_scaled() -> Bool[Array, ""]:
        return rounding * _radius(jnp.abs(c), jnp.abs(a)) < 1

    return marked(c, once(~regular, however_scaled, regular))


# Of a matrix M ≥ 0 it is |M⁸|^(1/8), and |M⁸| the largest number of M⁸ (1, …, 1).
def _radius(c: Float[Array, "n n"], a: Float[Array, "n n"]) -> Float[Array, ""]:
    """A bound of the spectral radius of C A, for C ≥ 0 and A ≥ 0."""
    ones = jnp.ones(len(a), a.dtype)
    logarithm, image = jnp.zeros((), a.dtype), ones
    for _ in range(8):
        image = product(c, product(a, image))
        size = jnp.max(image, initial=0)
        logarithm, image = logarithm + jnp.log(size), image / size
    return jnp.exp(logarithm / 8)
