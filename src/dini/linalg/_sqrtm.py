"""The principal square root of a matrix, and its inverse."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import once, product
from dini.linalg._equation import Terms
from dini.linalg._implicit import implicit_equation
from dini.linalg._matrices import adjoint, matrices, norm
from dini.linalg._schur import schur
from dini.linalg._square_roots import square_root
from dini.linalg._transformations import shifts


def sqrtm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The principal square root S of a matrix: S² = A, eigenvalues in the right half-plane.

    Real in, real out. The derivative solves S L + L S = E.

    Args:
        A: of shape (..., n, n), real or complex.

    Returns:
        S, of shape (..., n, n). A real A with negative eigenvalues, or with one of an angle below
        √ε to the negative axis, has no real principal root to working precision: NaN.
        A complex A with negative eigenvalues has the root with eigenvalues on the positive
        imaginary axis, and derivatives of that branch. Of a singular A: the root where A is
        Hermitian and positive semi-definite, or complex and has one; else NaN. Derivatives of the
        root of a singular A are NaN.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Denman and Beavers, The matrix sign function and computations in systems (1976);
    Higham, Functions of Matrices (2008), chapter 6.
    """
    return _sqrtm(*matrices("sqrtm", "A: n n", A=A))


def inv_sqrtm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The inverse of the principal square root, Z = A^(−1/2): Z A Z = I.

    Real in, real out. The derivative solves (Z A) L + L (A Z) = −Z E Z.

    Args:
        A: of shape (..., n, n), real or complex.

    Returns:
        Z, of shape (..., n, n); NaN where A is singular, and where `sqrtm` gives NaN.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Reference: Higham, Functions of Matrices (2008), chapter 6.
    """
    return _inv_sqrtm(*matrices("inv_sqrtm", "A: n n", A=A))


def _guess(a: Array) -> tuple[Array, Array]:
    scale = _scale(a)
    unit = a / scale
    x, found = square_root(unit, unit)
    x = once(~found, lambda: _by_eigenvalues(unit), x)
    return x * jnp.sqrt(scale), norm(unit - product(x, x)) / norm(x) ** 2


def _inverse_guess(a: Array) -> tuple[Array, Array]:
    scale = _scale(a)
    unit, one = a / scale, jnp.eye(*a.shape, dtype=a.dtype)
    z, found = square_root(unit, one)
    z = once(~found, lambda: jnp.linalg.inv(_by_eigenvalues(unit)), z)
    off = norm(one - product(z, unit, z))
    return z / jnp.sqrt(scale), jnp.where(off < 1, off / (norm(z) ** 2 * norm(unit)), jnp.nan)


def _by_eigenvalues(a: Array) -> Array:
    """A root where the iteration has none: of semi-definite matrices, and of complex ones."""
    values, vectors = jnp.linalg.eigh(a)
    values = jnp.where(jnp.abs(values) <= 8 * len(a) * jnp.finfo(a.dtype).eps, 0, values)
    hermitian = jnp.all(a == adjoint(a)) & jnp.all(values >= 0)
    root = product(vectors * jnp.sqrt(jnp.maximum(values, 0)), adjoint(vectors))
    other = _by_schur(a) if jnp.iscomplexobj(a) else jnp.full_like(a, jnp.nan)
    return jnp.where(hermitian, root, other)


# R² = T, R upper triangular: r_jj = √t_jj, and (R_jj + r_jj I) r_j = t_j for the column above it.
# (Björck and Hammarling, A Schur method for the square root of a matrix (1983).)
def _by_schur(a: Array) -> Array:
    t, u = schur(a)
    n = a.shape[0]
    index = jnp.arange(n)
    roots = jnp.sqrt(jnp.diagonal(t))

    def column(j: Array, r: Array) -> Array:
        above = index < j
        matrix = r + jnp.diag(jnp.where(above, roots[j], 1))  # r has no columns from j on
        rhs = jnp.where(above, t[:, j], 0)
        solved = jax.scipy.linalg.solve_triangular(matrix, rhs)
        return r.at[:, j].set(jnp.where(above, solved, jnp.where(index == j, roots[j], 0)))

    r = jax.lax.fori_loop(0, n, column, jnp.zeros_like(t))
    return product(u, r, u.conj().T)


def _scale(a: Array) -> Array:
    """A power of 4 near ‖A‖."""
    length = norm(a)
    _, power = jnp.frexp(jnp.where((length > 0) & jnp.isfinite(length), length, 1))
    return jnp.ldexp(jnp.ones_like(length), 2 * (power // 2))


# S² = A  ⇒  S L + L S = E.
def _square_less(s: Array, a: Array) -> Array:
    return product(s, s) - a


def _of_square(s: Array, a: Array) -> Terms:
    del a
    return Terms(s, None, None, s, twins=True)


# Z A Z = I  ⇒  L (A Z) + (Z A) L = −Z E Z.
def _congruence_less(z: Array, a: Array) -> Array:
    return product(z, a, z) - jnp.eye(*a.shape, dtype=a.dtype)


def _of_congruence(z: Array, a: Array) -> Terms:
    return Terms(product(z, a), None, None, product(a, z))


_sqrtm, _inv_sqrtm = (
    implicit_equation(*parts, shifts, "(n,n)->(n,n)", schur=True)
    for parts in (
        (_guess, _square_less, _of_square),
        (_inverse_guess, _congruence_less, _of_congruence),
    )
)
