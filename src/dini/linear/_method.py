"""One solve with the matrix of a system: by a factorisation, or by an iteration."""

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
from jaxtyping import Array, Float, PyTree

from dini._tree import max_abs, stop_gradient
from dini.linear._choice import STRUCTURED

_DENSE_SOLVERS = (lx.AutoLinearSolver, lx.LU, lx.QR, lx.SVD, lx.Cholesky)
DIRECT_SOLVERS = (*_DENSE_SOLVERS, lx.Diagonal, lx.Triangular, lx.Tridiagonal)

_Vector = Float[Array, " n"]
_Action = Callable[[_Vector], _Vector]


class Method(Protocol):
    """How A x = b is solved, for an A whose action is given with each call."""

    def action(self, otherwise: _Action) -> _Action:
        """The product with A: `otherwise`, or with A itself where it was formed."""
        ...

    def solve(
        self, solver: lx.AbstractLinearSolver, action: _Action, b: _Vector
    ) -> tuple[_Vector, Float[Array, ""]]:
        """x, and the size of the last correction to it."""
        ...

    def allowed(self, action: _Action, b: _Vector, x: _Vector, share: Any, eps: float) -> Array:
        """The residual accepted in each row: `share` of what stands there, and rounding."""
        ...


class Direct(eqx.Module):
    """A factorisation, for all right-hand sides and for the transpose.

    Attributes:
        state: what the Lineax solver made of A.
        matrix: A, of shape (n, n), or None where its tags leave it to the solver how much of A is
            formed.
    """

    state: PyTree[Array]
    matrix: Float[Array, "n n"] | None

    def transpose(self, solver: lx.AbstractLinearSolver) -> "Direct":
        """The same factorisation, for the transpose."""
        state, _ = solver.transpose(self.state, {})
        return Direct(state, None if self.matrix is None else self.matrix.T)

    def action(self, otherwise: _Action) -> _Action:
        """The product with the matrix that was factorised, where it was formed."""
        matrix = self.matrix
        return otherwise if matrix is None else lambda v: matrix @ v

    def solve(
        self, solver: lx.AbstractLinearSolver, action: _Action, b: _Vector
    ) -> tuple[_Vector, Float[Array, ""]]:
        """The solution after one step of refinement, A (x + δ) = b with A δ = b − A x, and |δ|.

        The size of δ beside that of x estimates the error of x, whatever the scale of A's rows.
        """
        x, _, _ = solver.compute(self.state, b, {})
        delta, _, _ = solver.compute(self.state, b - action(x), {})
        return x + delta, max_abs(delta)

    def allowed(self, action: _Action, b: _Vector, x: _Vector, share: Any, eps: float) -> Array:
        """Row by row, share (|A| |x| + |b|), and the rounding of the largest x.

        The correction has told the error of x; the residual only tells whether b is in the range.
        """
        if self.matrix is not None:
            products, sums = jnp.abs(self.matrix) @ jnp.abs(x), jnp.sum(jnp.abs(self.matrix), 1)
        else:
            struct = jax.ShapeDtypeStruct(x.shape, x.dtype)
            products, sums = magnitude(lambda v: action(v * x), struct), magnitude(action, struct)
        return share * (jnp.abs(b) + products) + 64 * eps * max_abs(x) * sums


class Iterative(eqx.Module):
    """A solver that knows A by its action alone.

    Attributes:
        tags: those of A.
        preconditioner: an approximate inverse of A, or None.
    """

    tags: frozenset[object] = eqx.field(static=True)
    preconditioner: lx.AbstractLinearOperator | None

    def action(self, otherwise: _Action) -> _Action:
        """The action given."""
        return otherwise

    def solve(
        self, solver: lx.AbstractLinearSolver, action: _Action, b: _Vector
    ) -> tuple[_Vector, Float[Array, ""]]:
        """x, with no correction."""
        struct = jax.ShapeDtypeStruct(b.shape, b.dtype)
        operator = lx.FunctionLinearOperator(action, struct, self.tags)
        p = self.preconditioner
        options = {} if p is None else {"preconditioner": p}
        x, _, _ = solver.compute(solver.init(operator, options), b, options)
        return x, jnp.zeros_like(b, shape=())

    def allowed(self, action: _Action, b: _Vector, x: _Vector, share: Any, eps: float) -> Array:
        """The share of the largest entry of b."""
        del action, x, eps
        return share * max_abs(b)


def factorise(
    solver: lx.AbstractLinearSolver,
    action: _Action,
    struct: jax.ShapeDtypeStruct,
    tags: frozenset[object],
) -> Direct | None:
    """The factorisation that a direct solver makes; None of an iterative one.

    The matrix is formed here, once, unless its tags say that few of its entries are not zero: then
    the solver forms what it needs.
    """
    operator: lx.AbstractLinearOperator = lx.FunctionLinearOperator(action, struct, tags)
    matrix = None
    if isinstance(solver, _DENSE_SOLVERS) and not tags & STRUCTURED:
        matrix = jax.vmap(action, out_axes=1)(jnp.eye(*struct.shape, dtype=struct.dtype))
        operator = lx.MatrixLinearOperator(matrix, tags)
    state = solver.init(operator, {})
    parts = jtu.tree_leaves(state, is_leaf=_is_operator)
    if matrix is None and any(map(_is_operator, parts)):
        return None
    return stop_gradient(Direct(state, matrix))


def probe(like: jax.ShapeDtypeStruct | Array, which: int = 0) -> Float[Array, " n"]:
    """A fixed vector with entries of order 1 and no pattern, to ask a matrix with."""
    return jnp.cos(1 + (1 + which) * jnp.arange(like.shape[0], dtype=like.dtype))


def magnitude(
    action: Callable[[Float[Array, " n"]], Float[Array, " n"]], struct: jax.ShapeDtypeStruct
) -> Float[Array, " n"]:
    """Roughly |A| 1, row by row: the largest entry over a few probes, so that none is lost."""
    probes = jnp.stack([probe(struct, which) for which in range(3)])
    return jnp.max(jnp.abs(jax.vmap(action)(probes)), axis=0)


# With Q an orthonormal basis of a Krylov space, the eigenvalues of Qᵀ A Q approach the extreme ones
# of A. (Golub and Van Loan, Matrix Computations (2013), chapter 10.)
def lanczos(action: _Action, struct: jax.ShapeDtypeStruct, steps: int) -> Float[Array, "k k"]:
    """Qᵀ A Q for a symmetric A, on the Krylov space of a probe; k = min(steps, n)."""
    steps = min(steps, struct.shape[0])

    def extend(carry: tuple[Array, _Vector], i: Array) -> tuple:
        basis, v = carry
        # Twice, so that rounding leaves no part of the basis in v.
        for _ in range(2):
            v = v - basis.T @ (basis @ v)
        norm = jnp.linalg.norm(v)
        v = jnp.where(norm > 0, v / norm, 0)
        basis = basis.at[i].set(v)
        product = action(v)
        return (basis, product), product

    start = probe(struct), jnp.zeros((steps, *struct.shape), struct.dtype)
    (basis, _), products = jax.lax.scan(extend, (start[1], start[0]), jnp.arange(steps))
    return basis @ products.T


def _is_operator(x: Any) -> bool:
    return isinstance(x, lx.AbstractLinearOperator)
