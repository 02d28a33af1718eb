"""Lyapunov equations, continuous and discrete."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini.linalg._equation import Terms, solve_linear
from dini.linalg._matrices import matrices
from dini.linalg._transformations import as_it_stands, shifts


def solve_continuous_lyapunov(A: ArrayLike, Q: ArrayLike) -> Inexact[Array, "... n n"]:
    """Solves A X + X Aᴴ = Q.

    By doubling where A is stable, or −A is, else by a Schur form, as in `solve_sylvester`.
    Derivatives solve the same equation, or that of Aᵀ.

    Args:
        A: of shape (..., n, n).
        Q: of shape (..., n, n).

    Returns:
        X, of shape (..., n, n); NaN where A has eigenvalues λ and −λ̄, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    Reference: Smith, Matrix equation XA + BX = C (1968).
    """
    return _continuous(*matrices("solve_continuous_lyapunov", "A: n n, Q: n n", A=A, Q=Q))


@jax.jit
@functools.partial(jnp.vectorize, signature="(n,n),(n,n)->(n,n)")
def _continuous(a: Array, q: Array) -> Array:
    terms = Terms(a, None, None, a.conj().T)
    return solve_linear(terms, shifts, q)


def solve_discrete_lyapunov(A: ArrayLike, Q: ArrayLike) -> Inexact[Array, "... n n"]:
    """Solves A X Aᴴ − X + Q = 0.

    By doubling where all eigenvalues of A lie inside the unit circle, else by a Schur form.
    Derivatives solve the same equation, or that of Aᵀ.

    Args:
        A: of shape (..., n, n).
        Q: of shape (..., n, n).

    Returns:
        X, of shape (..., n, n); NaN where A has eigenvalues λ and 1/λ̄, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    References: Smith, Matrix equation XA + BX = C (1968); Kitagawa, An algorithm for solving the
    matrix equation X = F X Fᵀ + S (1977).
    """
    return _discrete(*matrices("solve_discrete_lyapunov", "A: n n, Q: n n", A=A, Q=Q))


@jax.jit
@functools.partial(jnp.vectorize, signature="(n,n),(n,n)->(n,n)")
def _discrete(a: Array, q: Array) -> Array:
    terms = Terms(None, None, -a, a.conj().T)
    return solve_linear(terms, as_it_stands, q)
