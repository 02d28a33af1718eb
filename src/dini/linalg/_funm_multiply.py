"""The action of a function of a large matrix."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
from jaxtyping import Array, ArrayLike, Inexact, PyTree

from dini.linalg._arnoldi import Basis, arnoldi, corner, first_column
from dini.linalg._matrices import product, square
from dini.linalg._operators import Operator, Transposed, balanced
from dini.rules import custom_rule

_Vectors = Inexact[Array, "k n"]


def funm_multiply(
    A: ArrayLike | lx.AbstractLinearOperator,
    B: ArrayLike,
    f: Callable,
    *,
    depth: int = 64,
    rtol: float | None = None,
) -> Inexact[Array, "..."]:
    """The product f(A) B by products of A with vectors, for a large A.

    f(A) b = |b| V f(H) e₁, with V the Krylov basis of A and b of `depth` vectors and H = Vᴴ A V,
    the matrix of A in it: exact once the space is invariant. f(A) itself is never formed.

    Args:
        A: a matrix, of shape (..., n, n), or a Lineax operator of vectors of shape (n,). Its leaves
            are differentiated; its product must be one that JAX can transpose.
        B: of shape (..., n, k), or (n,); with an operator (n, k) or (n,), and brought to the
            operator's precision.
        f: a function of square matrices, (m, m) → (m, m), such as `linalg.logm`: of general ones,
            since H is not symmetric, and defined where the eigenvalues of H lie. That is in the
            field of values of A, which is wider than its spectrum. Arrays that it captures are
            differentiated too.
        depth: the number of vectors, n being enough. A derivative takes 2 `depth` of matrices of
            size 2n.
        rtol: how large the last eighth of f(H) e₁ may be, relative to the largest of it: an
            estimate of the relative error, and by default ε^(2/3), 4e-11 in double precision.

    Returns:
        f(A) B, with the shape of B. NaN for a column that has not converged at this depth, where
        f(H) is NaN, and where f(H) does not commute with H to rtol, as with an f of symmetric
        matrices alone; derivatives are judged alike. What is judged is what the last vectors add:
        an eigenvector of which b has less than rtol is not waited for.

    Raises:
        TypeError: for an A that is not square, or an f that does not keep the shape, or makes real
            matrices complex.
        ValueError: for a B that does not fit A, or a depth or rtol that is not positive.

    References: Saad, Analysis of some Krylov subspace approximations to the matrix exponential
    operator (1992); Higham, Functions of Matrices (2008), chapter 13; Kandolf, Koskela, Relton and
    Schweitzer, Computing low-rank approximations of the Fréchet derivative of a matrix function
    using Krylov subspace methods (2021).
    """
    dense = not isinstance(A, lx.AbstractLinearOperator)
    b = jnp.asarray(B)
    if dense:
        a = square(A, "funm_multiply")
        shape, kind = a.shape, jnp.result_type(a, b)
        a = a.astype(jnp.result_type(a, jnp.finfo(kind).dtype))
    else:
        a, shape, kind = A, *_structure(A)
        kind = jnp.promote_types(kind, jnp.complex64) if jnp.iscomplexobj(b) else kind
    if b.ndim == 0 or (b.ndim > 2 and not dense) or b.shape[-2:][0] != shape[-1]:  # noqa: PLR2004
        raise ValueError(
            f"dini.linalg.funm_multiply: A is {list(shape)} and B is {list(b.shape)}; B must have "
            "as many rows as A has columns."
        )
    krylov = _krylov(f, depth, rtol, kind)
    columns = (b[:, None] if b.ndim == 1 else b).astype(kind)

    def real_or_complex(a: Any, b: Array) -> Array:
        if jnp.iscomplexobj(b) and not jnp.issubdtype(_dtype(a), jnp.complexfloating):
            halves = real_or_complex(a, jnp.concatenate([b.real, b.imag], axis=1))
            return jax.lax.complex(*jnp.split(halves, 2, axis=1))
        op = lx.MatrixLinearOperator(a) if dense else a
        return _multiply(krylov, op, b.T).T

    if dense:
        out = jnp.vectorize(real_or_complex, signature="(n,n),(n,k)->(n,k)")(a, columns)
    else:
        out = real_or_complex(a, columns)
    return out[..., 0] if b.ndim == 1 else out


def _dtype(a: Any) -> Any:
    return a.in_structure().dtype if isinstance(a, lx.AbstractLinearOperator) else a.dtype


def _structure(a: lx.AbstractLinearOperator) -> tuple[tuple[int, int], Any]:
    """The shape and dtype of an operator of vectors."""
    parts = [jtu.tree_leaves(s) for s in (a.in_structure(), a.out_structure())]
    given = [[(s.shape, s.dtype) for s in part] for part in parts]
    if given[0] != given[1] or len(given[0]) != 1 or len(given[0][0][0]) != 1:
        raise TypeError(
            "dini.linalg.funm_multiply takes a square operator, from arrays of shape (n,) to such, "
            f"and was given one from {a.in_structure()} to {a.out_structure()}."
        )
    ((shape, dtype),) = given[0]
    return (*shape, *shape), dtype


class _Krylov(eqx.Module):
    """How f(A) b is approximated."""

    f: Callable
    depth: int = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    def twice(self) -> "_Krylov":
        """For a block matrix: every eigenvalue is there twice, in a Jordan block."""
        return _Krylov(self.f, 2 * self.depth, self.rtol)

    def bases(self, a: Operator, b: _Vectors) -> tuple[Basis, bool]:
        """One for every vector, and whether they span the whole space."""
        n = b.shape[-1]
        return jax.vmap(lambda b: arnoldi(a.mv, b, min(self.depth, n)))(b), self.depth >= n


def _krylov(f: Callable, depth: int, rtol: float | None, dtype: Any) -> _Krylov:
    depth = operator.index(depth)
    accepted = float(jnp.finfo(dtype).eps) ** (2 / 3) if rtol is None else float(rtol)
    if depth < 1 or not accepted > 0:
        raise ValueError(
            "dini.linalg.funm_multiply: depth and rtol must be positive, and are "
            f"{depth} and {accepted}."
        )
    # The arrays of a module are as if captured: the rule finds those.
    is_tree = any(map(eqx.is_array, jtu.tree_leaves(f)))
    return _Krylov(functools.partial(f) if is_tree else f, depth, accepted)


# The derivatives of φ(θ, u, b) = uᵀ f(A(θ)) b. With f(M) = [[f(A), L(A, Ȧ)], [0, f(A)]] for
# M = [[A, Ȧ], [0, A]], φ's derivative along θ̇ is uᵀ L(A, Ȧ) b = [u; 0]ᵀ f(M) [0; b]: a φ of M.
@custom_rule
def _multiply(krylov: _Krylov, a: Operator, b: _Vectors) -> _Vectors:
    """∂φ/∂u, f(A) b."""
    return _value(krylov, a, b)


@custom_rule
def _gradient(krylov: _Krylov, a: Operator, u: _Vectors, b: _Vectors) -> PyTree[Array]:
    """∂φ/∂θ, summed over the pairs of vectors; a tree like the operator."""
    return _parameters(krylov, a, u, b)


@eqx.filter_jit
def _value(krylov: _Krylov, a: Operator, b: _Vectors) -> _Vectors:
    bases, whole = krylov.bases(a, b)

    def one(basis: Basis) -> Array:
        y = first_column(krylov.f, basis.h, whole, krylov.rtol)
        return basis.size * product(y, basis.v)

    return jax.vmap(one)(bases)


# uᵀ Aⁱ Ȧ Aʲ b with (Aᵀ)ⁱ u = |u| P Gⁱ e₁ and Aʲ b = |b| Q Hʲ e₁ makes uᵀ L(A, Ȧ) b the sum of
# X_ij p_iᵀ Ȧ q_j, X = |u| |b| Σ c_k Σ Gⁱ e₁ e₁ᵀ (Hᵀ)^(k−1−i): one pullback of A q_j for every j.
@eqx.filter_jit
def _parameters(krylov: _Krylov, a: Operator, u: _Vectors, b: _Vectors) -> PyTree[Array]:
    left, _ = krylov.bases(Transposed(a), u)
    right, whole = krylov.bases(a, b)

    def weights(left: Basis, right: Basis) -> Array:
        x = corner(krylov.f, left.h, right.h, whole, krylov.rtol)
        return left.size * right.size * product(x.T, left.v)

    theta, rest = eqx.partition(a, eqx.is_inexact_array)
    along_basis = lambda theta: jax.vmap(jax.vmap(eqx.combine(theta, rest).mv))(right.v)
    _, pullback = jax.vjp(along_basis, theta)
    return pullback(jax.vmap(weights)(left, right))[0]


def _along(krylov: _Krylov, a: Operator, dot: PyTree, b: _Vectors) -> _Vectors:
    """L(A, Ȧ) b, the upper half of f(M) [0; b]."""
    block, s = balanced(a, dot, b[0])
    out = _multiply(krylov.twice(), block, jnp.concatenate([jnp.zeros_like(b), b], axis=1))
    return s * out[:, : b.shape[1]]


def _gradient_along(
    krylov: _Krylov, a: Operator, dot: PyTree, u: _Vectors, b: _Vectors
) -> PyTree[Array]:
    """∂/∂θ of uᵀ L(A, Ȧ) b."""
    block, s = balanced(a, dot, b[0])
    zeros = jnp.zeros_like(b)
    halves = jnp.concatenate([u, zeros], axis=1), jnp.concatenate([zeros, b], axis=1)
    gradient = _gradient(krylov.twice(), block, *halves).a
    return jtu.tree_map(lambda x: s.astype(x.real.dtype) * x, gradient)


def _multiply_tangent(out: Array, primals: tuple, tangents: tuple) -> Array:
    (krylov, a, b), (_, a_dot, b_dot) = primals, tangents
    total = jnp.zeros_like(out) if b_dot is None else _multiply(krylov, a, b_dot)
    return total + _along(krylov, a, a_dot, b) if jtu.tree_leaves(a_dot) else total


def _multiply_pullback(out: Array, primals: tuple, u: Array, moving: tuple) -> tuple:
    del out
    krylov, a, b = primals
    a_bar = _gradient(krylov, a, u, b) if any(jtu.tree_leaves(moving[1])) else None
    return None, a_bar, _multiply(krylov, Transposed(a), u) if moving[2] else None


def _gradient_tangent(out: PyTree, primals: tuple, tangents: tuple) -> PyTree:
    (krylov, a, u, b), (_, a_dot, u_dot, b_dot) = primals, tangents
    terms = [jtu.tree_map(jnp.zeros_like, out)]
    terms += [] if u_dot is None else [_gradient(krylov, a, u_dot, b)]
    terms += [] if b_dot is None else [_gradient(krylov, a, u, b_dot)]
    terms += [_gradient_along(krylov, a, a_dot, u, b)] if jtu.tree_leaves(a_dot) else []
    return jtu.tree_map(lambda *x: sum(x[1:], x[0]), *terms)


# ⟨t, ∂φ/∂θ⟩ is the derivative of φ along t, uᵀ L(A, A'(t)) b: these are its partial derivatives.
def _gradient_pullback(out: PyTree, primals: tuple, t: PyTree, moving: tuple) -> tuple:
    del out
    krylov, a, u, b = primals
    a_bar = _gradient_along(krylov, a, t, u, b) if any(jtu.tree_leaves(moving[1])) else None
    u_bar = _along(krylov, a, t, b) if moving[2] else None
    b_bar = _along(krylov, Transposed(a), Transposed(t), u) if moving[3] else None
    return None, a_bar, u_bar, b_bar


_multiply._defpair(_multiply_tangent, _multiply_pullback, symbolic_zeros=True)
_gradient._defpair(_gradient_tangent, _gradient_pullback, symbolic_zeros=True)
