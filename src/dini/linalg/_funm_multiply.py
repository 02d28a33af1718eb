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
from jaxtyping import Array, ArrayLike, Inexact

from dini.linalg._krylov import Krylov, action
from dini.linalg._matrices import square


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
            differentiated too. Outside `jit` a function made anew is compiled anew.
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
        TypeError: for an operator that is not square, or an f that does not keep the shape, or
            makes real matrices complex.
        ValueError: for a matrix that is not square, a B that does not fit A, or a depth or rtol
            that is not positive.

    References: Saad, Analysis of some Krylov subspace approximations to the matrix exponential
    operator (1992); Higham, Functions of Matrices (2008), chapter 13; Kandolf, Koskela, Relton and
    Schweitzer, Computing low-rank approximations of the Fréchet derivative of a matrix function
    using Krylov subspace methods (2021).
    """
    b = jnp.asarray(B)
    if isinstance(A, lx.AbstractLinearOperator):
        shape, kind, most_axes = *_structure(A), 2
        kind = jnp.promote_types(kind, jnp.complex64) if jnp.iscomplexobj(b) else kind
    else:
        A = square("funm_multiply", A)
        shape, kind, most_axes = A.shape, jnp.result_type(A, b), b.ndim
        A = A.astype(jnp.result_type(A, jnp.finfo(kind).dtype))
    if b.ndim == 0 or b.ndim > most_axes or b.shape[-2:][0] != shape[-1]:
        raise ValueError(
            f"dini.linalg.funm_multiply: A is {list(shape)} and B is {list(b.shape)}; B must have "
            "as many rows as A has columns."
        )
    method = _method(f, depth, rtol, kind)
    columns = (b[:, None] if b.ndim == 1 else b).astype(kind)
    if isinstance(A, lx.AbstractLinearOperator):
        out = _of_operator(method, A, columns)
    else:
        of_matrix = lambda a, b: _of_operator(method, lx.MatrixLinearOperator(a), b)
        out = jnp.vectorize(of_matrix, signature="(n,n),(n,k)->(n,k)")(A, columns)
    return out[..., 0] if b.ndim == 1 else out


def _of_operator(method: Krylov, a: lx.AbstractLinearOperator, b: Array) -> Array:
    """f(A) B; of a real A, f(A) is real, and the parts of a complex B are columns apart."""
    _, kind = _structure(a)
    if not jnp.iscomplexobj(b) or jnp.issubdtype(kind, jnp.complexfloating):
        return action(method, a, b.T).T
    parts = action(method, a, jnp.concatenate([b.real, b.imag], axis=1).T)
    return jax.lax.complex(*jnp.split(parts.T, 2, axis=1))


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


def _method(f: Callable, depth: int, rtol: float | None, dtype: Any) -> Krylov:
    depth = operator.index(depth)
    accepted = float(jnp.finfo(dtype).eps) ** (2 / 3) if rtol is None else float(rtol)
    if depth < 1 or not accepted > 0:
        raise ValueError(
            "dini.linalg.funm_multiply: depth and rtol must be positive, and are "
            f"{depth} and {accepted}."
        )
    # The arrays of a module are as if captured: the rule finds those.
    is_tree = any(map(eqx.is_array, jtu.tree_leaves(f)))
    return Krylov(functools.partial(f) if is_tree else f, depth, accepted)
