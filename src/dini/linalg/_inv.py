"""The inverse of a matrix."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from dini.linalg._matrices import each, marked, norm, once, product, square
from dini.rules import matrix_function


def inv(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The inverse of a matrix, by LU factorisation.

    What is ill-conditioned has to prove itself: A is regular where |I − A C| < 1 or |I − C A| < 1.

    Args:
        A: matrices, real or complex.

    Returns:
        A⁻¹, of the shape and dtype of A; NaN, with its derivatives, where A is singular to working
        precision or not finite.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Reference: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 14.
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
    c, one = jnp.linalg.inv(a), jnp.eye(len(a), dtype=a.dtype)
    well = len(a) * jnp.finfo(a.dtype).eps * norm(a) * norm(c) < _WELL

    def proof() -> Bool[Array, ""]:
        return jnp.minimum(norm(one - product(a, c)), norm(one - product(c, a))) < 1

    return marked(c, once(~well, proof, well))


_WELL = 1e-3  # the bound n eps |A| |A⁻¹| of the error under which nothing needs a proof
