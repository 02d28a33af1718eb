"""The principal square root of a matrix, and its inverse."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Inexact

from dini.linalg._check import matrices
from dini.linalg._equation import Terms
from dini.linalg._implicit import implicit_equation
from dini.linalg._schur import schur
from dini.linalg._stein import once, size
from dini.linalg._transformations import shifts


def sqrtm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The principal square root S of a matrix: S² = A, eigenvalues in the right half-plane.

    Real in, real out. The derivative solves S L + L S = E.

    Args:
        A: of shape (..., n, n), real or complex.

    Returns:
        S, of shape (..., n, n). A real A with negative eigenvalues has no real principal root: NaN.
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


# Newton's iteration for the sign of [[0, A], [I, 0]], in its product form: M → I,
# G = μ(I + M⁻¹/μ²)/2, X ← X G, M ← (I + (μ² M + M⁻¹/μ²)/2)/2. X tends to A^(1/2) from A, and to
# A^(−1/2) from I. μ = |det M|^(−1/2n) brings the eigenvalues to size 1 while they are far from it.
def _denman_beavers(a: Array, x: Array) -> tuple[Array, Bool[Array, ""]]:
    """X times the product of all G, and whether M has come to I."""
    n = a.shape[0]
    one = jnp.eye(n, dtype=a.dtype)
    eps = jnp.finfo(a.dtype).eps

    def step(state: tuple) -> tuple:
        m, x, off, k = state
        lu, pivots = jax.scipy.linalg.lu_factor(m)
        inverse = jax.scipy.linalg.lu_solve((lu, pivots), one)
        logdet = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(lu))))
        square = jnp.where(off > _NEAR, jnp.exp(-logdet / n), 1)  # μ²
        m, inverse = square * m, inverse / square
        x = jnp.sqrt(square) * (x + x @ inverse) / 2
        m = (one + (m + inverse) / 2) / 2
        return m, x, size(m - one), k + 1

    # M is off I by the square of what it was: after the last step by rounding alone.
    more = lambda s: (s[2] > eps**0.6) & jnp.isfinite(s[2]) & (s[3] < _STEPS)
    _, x, off, _ = jax.lax.while_loop(more, step, (a, x, size(a - one) + 1, 0))
    return x, off <= eps**0.6


def _guess(a: Array) -> tuple[Array, Bool[Array, ""]]:
    scale = _scale(a)
    x, converged = _denman_beavers(a / scale, a / scale)
    x, stands = _otherwise(a / scale, x, converged)
    return x * jnp.sqrt(scale), stands


def _inverse_guess(a: Array) -> tuple[Array, Bool[Array, ""]]:
    scale = _scale(a)
    unit = a / scale
    x, converged = _denman_beavers(unit, jnp.eye(*a.shape, dtype=a.dtype))

    def invert() -> Array:
        root, stands = _otherwise(unit, jnp.full_like(unit, jnp.nan), converged)
        return jnp.where(stands, jnp.linalg.inv(root), jnp.nan)

    x = once(~converged, invert, x)
    return x / jnp.sqrt(scale), jnp.asarray(False)


def _otherwise(a: Array, x: Array, converged: Array) -> tuple[Array, Array]:
    """The iteration's X; where it has not converged, a root by eigenvalues, if there is one."""

    def by_eigenvalues() -> Array:
        values, vectors = jnp.linalg.eigh(a)
        values = jnp.where(jnp.abs(values) <= 8 * a.shape[0] * _eps(a), 0, values)
        hermitian = jnp.all(a == a.conj().T) & jnp.all(values >= 0)
        root = (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.conj().T
        other = _by_schur(a) if jnp.iscomplexobj(a) else jnp.full_like(a, jnp.nan)
        return jnp.where(hermitian, root, other)

    x = once(~converged, by_eigenvalues, x)
    return x, size(a - x @ x) <= _eps(a) ** 0.75 * (size(a) + size(x) ** 2)


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
    return u @ r @ u.conj().T


def _scale(a: Array) -> Array:
    """A power of 4 near ‖A‖."""
    norm = size(a)
    _, power = jnp.frexp(jnp.where((norm > 0) & jnp.isfinite(norm), norm, 1))
    return jnp.ldexp(jnp.ones_like(norm), 2 * (power // 2))


def _eps(a: Array) -> float:
    return float(jnp.finfo(a.dtype).eps)


# S² = A  ⇒  S L + L S = E.
def _square_less(s: Array, a: Array) -> Array:
    return s @ s - a


def _of_square(s: Array, a: Array) -> Terms:
    del a
    return Terms(s, None, None, s, twins=True)


# Z A Z = I  ⇒  L (A Z) + (Z A) L = −Z E Z.
def _congruence_less(z: Array, a: Array) -> Array:
    return z @ a @ z - jnp.eye(*a.shape, dtype=a.dtype)


def _of_congruence(z: Array, a: Array) -> Terms:
    return Terms(z @ a, None, None, a @ z)


_sqrtm, _inv_sqrtm = (
    implicit_equation(*parts, shifts, "(n,n)->(n,n)", schur=True)
    for parts in (
        (_guess, _square_less, _of_square),
        (_inverse_guess, _congruence_less, _of_congruence),
    )
)

_NEAR = 1e-2
_STEPS = 60
