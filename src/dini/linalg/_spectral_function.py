"""Functions of a symmetric or Hermitian matrix, by its eigenvalues."""

import functools
import itertools
import numbers
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import product
from dini._tree import Closed
from dini.linalg._divided_differences import divided_differences
from dini.linalg._matrices import adjoint, hermitian_part, square
from dini.linalg._polarised import Tangent, polarised


def spectral_function(
    a: Inexact[ArrayLike, "... n n"],
    f: str | tuple[str, ArrayLike] | Callable[[Float[Array, ""]], Inexact[Array, ""]],
) -> Inexact[Array, "... n n"]:
    """f(A) = V f(Λ) Vᴴ of a symmetric or Hermitian matrix A = V Λ Vᴴ.

    Its derivatives are divided differences of f at the eigenvalues, so they are right where
    eigenvalues are close or equal. The first costs four matrix products beside the value; the
    k-th takes memory of nᵏ⁺¹ numbers.

    Args:
        a: the matrices. Of one that is not Hermitian (A + Aᴴ)/2 is taken, and the derivative is
            that of f((A + Aᴴ)/2), as in JAX.
        f: "exp", "log", "sqrt", ("power", p), or any JAX function of a real number, whose values
            may be complex. Parameters that f captures, and p unless it is an int, are
            differentiated. At an eigenvalue of multiplicity m, the k-th derivative of f(A) asks for
            that of f, taken by JAX.

    Returns:
        f(A), of the shape of A. NaN where an eigenvalue is outside the domain of f; for the named
        functions a negative one within rounding, −n eps max|λ| ≤ λ < 0, counts as 0. A derivative
        that f has not at a repeated eigenvalue, such as that of "sqrt" at a double 0, is NaN or
        infinite.

    Raises:
        TypeError, ValueError: for a that is not square, and an f that is none of these.

    Equations: with E′ = Vᴴ E V,
    (Vᴴ L_f(A, E) V)_ij = f[λ_i, λ_j] E′_ij (Daleckii–Krein), and
    (Vᴴ D²f(A)[E, H] V)_ij = Σ_k f[λ_i, λ_k, λ_j] (E′_ik H′_kj + H′_ik E′_kj).

    Reference: Higham, Functions of Matrices (2008), section 3.2.
    """
    a = hermitian_part(square("spectral_function", a))
    scalar, semidefinite = _scalar(f, jnp.finfo(a.dtype).dtype)
    each = _each if callable(f) else _compiled  # a user's function may be a new one in each call
    return each(scalar, semidefinite, a)


def _each(scalar: Callable, semidefinite: bool, a: Array) -> Array:
    one = functools.partial(_of_one, scalar, semidefinite)
    return jnp.vectorize(one, signature="(n,n)->(n,n)")(a)


_compiled = eqx.filter_jit(_each)


def _of_one(scalar: Callable, semidefinite: bool, a: Array) -> Array:
    w, v = jnp.linalg.eigh(jax.lax.stop_gradient(a), symmetrize_input=False)
    if semidefinite:
        rounding = a.shape[-1] * jnp.finfo(w.dtype).eps * jnp.max(jnp.abs(w), initial=0)
        w = jnp.where((w < 0) & (w >= -rounding), 0, w)
    return _derivative(scalar, a, (w, v), ())


@polarised
def _derivative(scalar: Any, factors: tuple[Array, Array], directions: tuple[Array, ...]) -> Array:
    w, v = factors
    table = _table(scalar, w, len(directions))
    if not directions:
        return product(v * table, adjoint(v))
    turned = [product(adjoint(v), e, v) for e in directions]
    middle = tuple(range(1, len(directions)))
    return product(v, jnp.sum(table * _chains(turned), axis=middle), adjoint(v))


def _table(scalar: Any, w: Array, order: int) -> Array:
    if isinstance(scalar, Tangent):
        return scalar.of(lambda primal: _table(primal, w, order))
    return divided_differences(scalar, w, order)


def _chains(matrices: list[Array]) -> Array:
    """Σ over permutations of E_ik H_kl … G_mj, with an axis for each index."""
    count = len(matrices)
    total = 0
    for order in itertools.permutations(matrices):
        term = 1
        for at, m in enumerate(order):
            others = [x for x in range(count + 1) if x not in (at, at + 1)]
            term = term * jnp.expand_dims(m, others)
        total = total + term
    return jnp.asarray(total)


class _Power(eqx.Module):
    p: Array

    def __call__(self, x: Array) -> Array:
        return x**self.p


class _Elementwise(eqx.Module):
    """A function of one number, for arrays."""

    fn: Callable

    def __call__(self, x: Array) -> Array:
        return jax.vmap(self.fn)(x.reshape(-1)).reshape(x.shape)


_NAMED = {"exp": (jnp.exp, False), "log": (jnp.log, True), "sqrt": (jnp.sqrt, True)}


def _scalar(f: Any, dtype: Any) -> tuple[Callable, bool]:
    """The function of arrays, and whether it belongs to matrices that are positive semidefinite."""
    if isinstance(f, str) and f in _NAMED:
        return _NAMED[f]
    if isinstance(f, tuple) and len(f) == 2 and f[0] == "power":  # noqa: PLR2004
        p = f[1]
        if isinstance(p, numbers.Integral):
            return functools.partial(_integer_power, int(p)), False
        p = jnp.asarray(p)
        if p.shape or not jnp.issubdtype(p.dtype, jnp.floating):
            raise TypeError(
                "dini.linalg.spectral_function takes ('power', p) with a real number p, and was "
                f"given {p.dtype}{list(p.shape)}."
            )
        return _Power(p.astype(dtype)), True
    if not callable(f):
        raise ValueError(
            "dini.linalg.spectral_function takes 'exp', 'log', 'sqrt', ('power', p) or a function "
            f"of a number for f, and was given {f!r}."
        )
    at = jax.ShapeDtypeStruct((), dtype)
    out = jax.eval_shape(f, at)
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.inexact):
        raise TypeError(
            "dini.linalg.spectral_function takes a function from a real number to one of floating "
            f"point, and the one given returns {out} for {at}."
        )
    return _Elementwise(Closed(f, at)), False


def _integer_power(p: int, x: Array) -> Array:
    return x**p
