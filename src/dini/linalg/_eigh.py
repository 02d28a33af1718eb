"""Eigenvalues and eigenvectors of a symmetric or Hermitian matrix."""

from typing import Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact

from dini._matrices import product
from dini.linalg._defined_where import defined_where
from dini.linalg._matrices import adjoint, hermitian_part, square
from dini.rules import custom_rule


class EighResult(NamedTuple):
    """A = V Λ Vᴴ."""

    eigenvalues: Float[Array, "... n"]
    eigenvectors: Inexact[Array, "... n n"]


@overload
def eigh(
    a: Inexact[ArrayLike, "... n n"], *, eigvals_only: Literal[False] = False
) -> EighResult: ...


@overload
def eigh(
    a: Inexact[ArrayLike, "... n n"], *, eigvals_only: Literal[True]
) -> Float[Array, "... n"]: ...


def eigh(
    a: Inexact[ArrayLike, "... n n"], *, eigvals_only: bool = False
) -> EighResult | Float[Array, "... n"]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric or Hermitian matrix.

    Eigenvalues closer than 4 n eps max|λ| count as repeated: float arithmetic cannot tell them
    apart.

    - The derivative of an eigenvalue is exact where it is simple. Of repeated ones it is that of
      any function symmetric in them, their sum and product for instance; alone, they have none.
      Their second derivatives are NaN.
    - An eigenvector whose eigenvalue is repeated has no derivative: it is NaN, and in reverse mode
      the whole gradient of what depends on one. The others' are exact, whatever is repeated
      elsewhere; they grow as 1/gap, and lose as many digits.

    No rule for each vector on its own can give the derivative of V g(Λ) Vᴴ where eigenvalues are
    repeated, though it exists: take [`spectral_function`][dini.linalg.spectral_function], also for
    projections on invariant subspaces (g a step), and for second derivatives of their traces.

    Args:
        a: the matrices. Of one that is not Hermitian (A + Aᴴ)/2 is taken, and the derivative is
            that of the composition, as in JAX.
        eigvals_only: whether to return the eigenvalues alone.

    Returns:
        (eigenvalues, eigenvectors), real (..., n) and (..., n, n); or the eigenvalues. Complex
        vectors move with vᵢᴴ v̇ᵢ = 0, as in JAX: their phase is nobody's.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Equations: λ̇ᵢ = vᵢᴴ Ȧ vᵢ, v̇ⱼ = Σ_{i ≠ j} vᵢ (vᵢᴴ Ȧ vⱼ)/(λⱼ − λᵢ).

    Reference: Magnus, On differentiating eigenvalues and eigenvectors (1985).
    """
    a = hermitian_part(square("eigh", a))
    w, v = _each_eigh(a)
    return w if eigvals_only else EighResult(w, v)


@custom_rule
def _eigh(a: Array) -> tuple[Array, Array]:
    w, v = jnp.linalg.eigh(a, symmetrize_input=False)
    return w, v


@_eigh.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    w, v = _eigh(*primals)
    return (w, v), defined_where(_along, _simple, (*primals, w, v), tangents[0], still=_still)


# (A − λⱼ) v̇ⱼ = (λ̇ⱼ − Ȧ) vⱼ and vⱼᴴ v̇ⱼ = 0, in one equation, (A − λⱼ + vⱼ vⱼᴴ) v̇ⱼ = (λ̇ⱼ − Ȧ) vⱼ:
# other eigenvectors are in its solution alone, not in it, so its own derivatives ask for none of
# theirs, which a repeated eigenvalue may not have.
def _along(residuals: tuple[Array, Array, Array], e: Array) -> tuple[Array, Array]:
    a, w, v = residuals
    w_dot = jnp.sum(jnp.conj(v) * product(e, v), 0).real
    equation = lambda x: product(a, x) - x * w + v * jnp.sum(jnp.conj(v) * x, 0)
    basis = lax.stop_gradient(v)
    gap = jnp.where(_repeated(w), jnp.inf, lax.stop_gradient(w[:, None] - w))
    gap = jnp.fill_diagonal(gap, 1, inplace=False)
    solve = lambda basis: lambda _, b: product(basis, product(adjoint(basis), b) / gap)
    right = v * w_dot - product(e, v)
    rest = lax.custom_linear_solve(equation, right, solve(basis), solve(basis.conj()))
    return w_dot, rest


def _simple(residuals: tuple) -> tuple[Bool[Array, " n"], Bool[Array, " n"]]:
    """Eigenvalues all have a derivative, vectors (columns) where no other eigenvalue is as big."""
    _, w, _ = residuals
    return jnp.full(w.shape, True), jnp.sum(_repeated(w), 0) == 1


def _still(residuals: tuple, cotangent: tuple[Array, Array]) -> tuple:
    """Eigenpairs that nothing depends on do not move: they need have no derivative."""
    a, w, v = residuals
    used = (cotangent[0] != 0) | jnp.any(cotangent[1] != 0, axis=0)
    return a, *(jnp.where(used, x, lax.stop_gradient(x)) for x in (w, v))


def _repeated(w: Float[Array, " n"]) -> Bool[Array, "n n"]:
    w = lax.stop_gradient(w)
    rounding = 4 * w.size * jnp.finfo(w.dtype).eps * jnp.max(jnp.abs(w), initial=0)
    return jnp.abs(w - w[:, None]) <= rounding


_each_eigh = jax.jit(jnp.vectorize(_eigh, signature="(n,n)->(n),(n,n)"))
