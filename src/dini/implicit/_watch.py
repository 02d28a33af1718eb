"""A solver watched at work: what it reports on the way, and the history of its convergence."""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Float, Int, PyTree, Scalar

from dini._tree import max_abs


class Watch(eqx.Module):
    """What is wanted of the way to a solution.

    Attributes:
        progress: called on the host after each step with its number, from 1, and how far it moved.
        length: of how many steps, at most, the history is kept.
        count: called on the host at each evaluation of the equation.
    """

    progress: Callable[[int, float], Any] | None = eqx.field(static=True, default=None)
    length: int = eqx.field(static=True, default=0)
    count: Callable[[], None] | None = eqx.field(static=True, default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted."""
        return self.progress is None and self.length == 0


class History(eqx.Module):
    """The way of a solver: NaN where there were fewer steps.

    Attributes:
        residual: the largest number in F where each step began.
        moved: the largest number in each step.
    """

    residual: Float[Array, " steps"]
    moved: Float[Array, " steps"]


class _State(eqx.Module):
    inner: PyTree
    step: Int[Array, ""]
    history: History


class _Watched(eqx.Module):
    """A solver that does as another one does, and is watched.

    Attributes:
        solver: the other one.
        rtol, atol, norm: its own.
        watch: what is wanted.
        size: |F| at an iterate.
    """

    solver: Any
    rtol: float
    atol: float
    norm: Callable[[PyTree], Scalar]
    watch: Watch
    size: Callable[[PyTree], Scalar]

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> _State:
        """Optimistix's protocol."""
        dtype = jnp.result_type(*jtu.tree_leaves(y))
        never = jnp.full(self.watch.length, jnp.nan, dtype)
        inner = self.solver.init(fn, y, args, options, f_struct, aux_struct, tags)
        return _State(inner, jnp.asarray(0), History(never, never))

    def step(
        self, fn: Callable, y: PyTree, args: PyTree, options: dict, state: _State, tags: frozenset
    ) -> tuple[PyTree, _State, PyTree]:
        """Optimistix's protocol."""
        after, inner, aux = self.solver.step(fn, y, args, options, state.inner, tags)
        steps = jtu.tree_map(lambda a, b: max_abs((b - a).reshape(-1)), y, after)
        moved = jnp.max(jnp.stack(jtu.tree_leaves(steps)))
        history = state.history
        if self.watch.length:
            residual = history.residual.at[state.step].set(self.size(y))
            history = History(residual, history.moved.at[state.step].set(moved))
        if (progress := self.watch.progress) is not None:
            report = lambda step, moved: progress(int(step), float(moved))
            jax.debug.callback(report, state.step + 1, moved)
        return after, _State(inner, state.step + 1, history), aux

    def terminate(
        self, fn: Callable, y: PyTree, args: PyTree, options: dict, state: _State, tags: frozenset
    ) -> tuple[Array, optx.RESULTS]:
        """Optimistix's protocol."""
        return self.solver.terminate(fn, y, args, options, state.inner, tags)

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict,
        state: _State,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Optimistix's protocol; the history joins the statistics."""
        y, aux, stats = self.solver.postprocess(
            fn, y, aux, args, options, state.inner, tags, result
        )
        return y, aux, stats | {"history": state.history}


class _WatchedFixedPointSolver(_Watched, optx.AbstractFixedPointSolver):
    pass


class _WatchedRootFinder(_Watched, optx.AbstractRootFinder):
    pass


class _WatchedLeastSquaresSolver(_Watched, optx.AbstractLeastSquaresSolver):
    pass


class _WatchedMinimiser(_Watched, optx.AbstractMinimiser):
    pass


_KINDS = {
    optx.AbstractFixedPointSolver: _WatchedFixedPointSolver,
    optx.AbstractRootFinder: _WatchedRootFinder,
    optx.AbstractLeastSquaresSolver: _WatchedLeastSquaresSolver,
    optx.AbstractMinimiser: _WatchedMinimiser,
}


def watched(
    solver: optx.AbstractIterativeSolver, watch: Watch, size: Callable[[PyTree], Scalar]
) -> optx.AbstractIterativeSolver:
    """The solver, watched; it remains a solver of its kind."""
    if watch.idle:
        return solver
    kind = next(kind for kind in _KINDS if isinstance(solver, kind))
    return _KINDS[kind](solver, solver.rtol, solver.atol, solver.norm, watch, size)


class Tally:
    """How often something was called between `with` and its end."""

    count = 0

    def __enter__(self) -> "Tally":
        self.count = 0
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self) -> None:
        """One more."""
        self.count += 1


# One for all, so that a second look compiles nothing.
TALLY = Tally()


class Printer:
    """Prints what a solver reports, at most once a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._printed = 0.0

    # Printers of one name are one, so that a second call compiles nothing.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Printer) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __call__(self, step: int, moved: float) -> None:
        now = time.monotonic()
        if now - self._printed >= 1:
            self._printed = now
            print(f"{self.name}: step {step}, moved by {moved:.1e}", flush=True)
