"""The inverse of a matrix."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from dini._matrices import marked, product
from dini.linalg._matrices import each, norm, square
from dini.linalg._regular import is_regular
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
    c = jnp.linalg.inv(a)
    return marked(c, is_regular(a, norm(a) * norm(c), c))
