"""Equations that are linear in the matrix sought: Sylvester's, and with more factors."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini.linalg._equation import Terms, solve_linear
from dini.linalg._matrices import matrices
from dini.linalg._transformations import of_pencils, shifts


def solve_sylvester(A: ArrayLike, B: ArrayLike, Q: ArrayLike) -> Inexact[Array, "... m n"]:
    """Solves A X + X B = Q.

    With shifts p and q it is X − W X V = F, W = (A + q)⁻¹(A − p) and V = (B − q)(B + p)⁻¹, solved
    by doubling. That converges where a circle parts the eigenvalues of A from those of −B, as it
    does with both spectra in one half-plane, or with two clusters. Elsewhere W and V are brought to
    Schur form, which serves every regular equation and is slower, very much so off the CPU. Either
    solution is refined. Derivatives solve the same equation, or its transpose.

    Args:
        A: of shape (..., m, m).
        B: of shape (..., n, n).
        Q: of shape (..., m, n).

    Returns:
        X, of shape (..., m, n); NaN where A and −B share an eigenvalue, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    References: Smith, Matrix equation XA + BX = C (1968); Golub, Nash and Van Loan, A
    Hessenberg–Schur method for the problem AX + XB = C (1979).
    """
    return _sylvester(*matrices("solve_sylvester", "A: m m, B: n n, Q: m n", A=A, B=B, Q=Q))


@jax.jit
@functools.partial(jnp.vectorize, signature="(m,m),(n,n),(m,n)->(m,n)")
def _sylvester(a: Array, b: Array, q: Array) -> Array:
    terms = Terms(a, None, None, b)
    return solve_linear(terms, shifts, q)


def solve_generalized_sylvester(
    A: ArrayLike,
    B: ArrayLike,
    C: ArrayLike,
    D: ArrayLike,
    E: ArrayLike,
) -> Inexact[Array, "... m n"]:
    """Solves A X B + C X D = E.

    Combinations of A and C, and of B and D, make it X − W X V = F, as they stand, exchanged, or
    with shifts: solved by doubling, or where that does not converge by Schur forms, as in
    `solve_sylvester`.

    Args:
        A: of shape (..., m, m).
        B: of shape (..., n, n).
        C: of shape (..., m, m).
        D: of shape (..., n, n).
        E: of shape (..., m, n).

    Returns:
        X, of shape (..., m, n); NaN where the pencils A + λ C and D − λ B share an eigenvalue, or
        one of them is singular for every λ, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    References: Chu, The solution of the matrix equations AXB − CXD = E (1987); Gardiner, Laub,
    Amato and Moler, Solution of the Sylvester matrix equation AXBᵀ + CXDᵀ = E (1992).
    """
    shapes = "A: m m, B: n n, C: m m, D: n n, E: m n"
    return _generalized(*matrices("solve_generalized_sylvester", shapes, A=A, B=B, C=C, D=D, E=E))


@jax.jit
@functools.partial(jnp.vectorize, signature="(m,m),(n,n),(m,m),(n,n),(m,n)->(m,n)")
def _generalized(a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
    terms = Terms(a, b, c, d)
    return solve_linear(terms, of_pencils, e)
