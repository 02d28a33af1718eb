"""The choice of a linear solver, and the Krylov method behind the automatic one."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from dini._tree import max_abs

# A dense factorisation is cheaper than Krylov iterations up to about this many unknowns, and
# affordable as a fallback up to about that many (128 MiB in float64).
DENSE = 128
DENSE_FALLBACK = 4096

# Tags by which a direct solver forms and factorises few entries.
STRUCTURED = frozenset(
    {lx.diagonal_tag, lx.tridiagonal_tag, lx.lower_triangular_tag, lx.upper_triangular_tag}
)


def choose(
    linear_solver: lx.AbstractLinearSolver | str,
    size: int,
    tags: frozenset[object],
    rtol: float,
) -> lx.AbstractLinearSolver:
    """The Lineax solver for a system of `size` unknowns whose operator carries `tags`."""
    if isinstance(linear_solver, lx.AbstractLinearSolver):
        return linear_solver
    if linear_solver != "auto":
        raise ValueError(
            f'linear_solver must be "auto" or a Lineax solver, and is {linear_solver!r}.'
        )
    if tags & STRUCTURED or size <= DENSE:
        return lx.AutoLinearSolver(well_posed=True)
    definite = tags & {lx.positive_semidefinite_tag, lx.negative_semidefinite_tag}
    first = lx.CG(rtol, rtol) if definite else lx.BiCGStab(rtol, rtol)
    if size <= DENSE_FALLBACK:
        return KrylovWithFallback(first, lx.LU(), rtol)
    return KrylovWithFallback(first, lx.GMRES(rtol, rtol, restart=100), rtol)


def explain(
    linear_solver: lx.AbstractLinearSolver | str, size: int, tags: frozenset[object]
) -> str:
    """The solver that `choose` takes, and why, in words."""
    solver = choose(linear_solver, size, tags, 1.0)
    if linear_solver != "auto":
        return f"{type(solver).__name__}, as given"
    if tags & STRUCTURED:
        return f"{type(solver).__name__}: the tags tell a structure"
    if not isinstance(solver, KrylovWithFallback):
        return f"{type(solver).__name__}: {size} unknowns, dense up to {DENSE}"
    first, second = type(solver.first).__name__, type(solver.second).__name__
    why = "definite" if isinstance(solver.first, lx.CG) else "not known to be definite"
    return f"{first}, with {second} to fall back on: {size} unknowns, {why}"


class KrylovWithFallback(lx.AbstractLinearSolver):
    """A Krylov method with short recurrences, and a sturdier solver for where it breaks down.

    Short recurrences are cheap, and stagnate on some operators. The sturdier solver runs inside a
    `while_loop` of at most one turn: under `vmap` that turn is skipped unless some lane needs it,
    where a `cond` would always take it.
    """

    first: lx.AbstractLinearSolver
    second: lx.AbstractLinearSolver
    rtol: float

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> Any:
        """The operator, with its Jacobian linearised."""
        del options
        return lx.linearise(operator)

    def compute(
        self, state: Any, vector: Float[Array, " n"], options: dict[str, Any]
    ) -> tuple[Float[Array, " n"], lx.RESULTS, dict[str, Any]]:
        """Solves with the first solver, then, where its residual is too large, with the second."""
        x, _, _ = self.first.compute(self.first.init(state, options), vector, options)
        target = 10 * self.rtol * max_abs(vector)

        def unsolved(x: Float[Array, " n"]) -> Array:
            return ~(max_abs(vector - state.mv(x)) <= target)

        def again(_: tuple) -> tuple:
            solution = self.second.compute(self.second.init(state, options), vector, options)
            return solution[0], jnp.asarray(False)

        x, _ = jax.lax.while_loop(lambda carry: carry[1], again, (x, unsolved(x)))
        return x, lx.RESULTS.successful, {}

    def transpose(self, state: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The state of the transposed operator."""
        if "preconditioner" in options:
            options = options | {"preconditioner": options["preconditioner"].transpose()}
        return state.transpose(), options

    def conj(self, state: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The state of the conjugated operator: every system here is real."""
        return state, options

    def assume_full_rank(self) -> bool:
        """Whether the solver assumes that operators have full rank."""
        return True
