"""The options that all decorators share."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypedDict

import equinox as eqx
import lineax as lx
import optimistix as optx
from jaxtyping import PyTree

from dini._tree import asarrays
from dini.implicit._adjoint import Implicit, Neumann
from dini.implicit._problem import Problem
from dini.linear import LinearConfig


class Options(eqx.Module):
    """How an equation is solved, differentiated and checked; None stands for a default."""

    solver: optx.AbstractIterativeSolver | None = None
    linear_solver: lx.AbstractLinearSolver | str = "auto"
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None = None
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())
    adjoint: optx.AbstractAdjoint | None = None
    options: dict[str, Any] | None = None
    max_steps: int | None = eqx.field(static=True, default=256)
    rtol: float | None = None
    atol: float | None = None
    throw: bool = eqx.field(static=True, default=True)
    has_aux: bool = eqx.field(static=True, default=False)
    progress: bool | Callable[[int, float], Any] = eqx.field(static=True, default=False)

    def replace(self, allowed: tuple[str, ...], name: str, new: dict[str, Any]) -> "Options":
        """These options with some of those `allowed` replaced.

        Raises:
            TypeError: for an option that the decorator does not have, or of the wrong kind.
            ValueError: for a linear solver or preconditioner beside an adjoint that has its own.
        """
        if unknown := [o for o in new if o not in allowed]:
            raise TypeError(
                f"{name} has no option {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(allowed)}."
            )
        if "tags" in new:  # as Lineax: one tag, or several
            tags = new["tags"]
            several = isinstance(tags, frozenset | set | list | tuple)
            new = new | {"tags": frozenset(tags) if several else frozenset({tags})}
        changed = dataclasses.replace(self, **new)
        changed = dataclasses.replace(changed, options=asarrays(changed.options))
        for option, kind in (
            ("solver", optx.AbstractIterativeSolver),
            ("adjoint", optx.AbstractAdjoint),
        ):
            value = getattr(changed, option)
            if not (value is None or isinstance(value, kind)):
                raise TypeError(
                    f"{name}: {option} must be an Optimistix {option}, and is {value!r}."
                )
        linear = changed.linear_solver != "auto" or changed.preconditioner is not None
        if changed.adjoint is not None and linear:
            raise ValueError(
                f"{name}: linear_solver and preconditioner belong to the adjoint where one is "
                "given: adjoint=dini.Implicit(linear_solver, preconditioner)."
            )
        return changed

    def configured_adjoint(self, name: str, rtol: float) -> optx.AbstractAdjoint:
        """The adjoint; one of ours is told the tolerance, the name, and whether to raise."""
        adjoint = self.adjoint
        if adjoint is None:
            adjoint = Implicit(self.linear_solver, self.preconditioner)
        if isinstance(adjoint, Implicit | Neumann):
            rtol = rtol if adjoint.rtol is None else adjoint.rtol
            adjoint = dataclasses.replace(adjoint, rtol=rtol, throw=self.throw, name=name)
        return adjoint

    def linear(self, problem: Problem, name: str, rtol: float) -> LinearConfig:
        """The linear solves of an equation, before the adjoint has its say."""
        tags = problem.turn(self.tags)
        return LinearConfig(tags=tags, rtol=rtol, throw=self.throw, name=name)


class SharedOptions(TypedDict, total=False):
    """Options of every decorator.

    Attributes:
        linear_solver: "auto" or any Lineax solver, for the linear system of the derivative.
        preconditioner: an approximate inverse of ∂zF, as `dini.Implicit` takes it.
        tags: Lineax tags that hold for ∂zF: of ∂T − I for a fixed point, of the Hessian for a
            minimum or least squares.
        adjoint: any Optimistix adjoint; `dini.Implicit(linear_solver, preconditioner)` by default.
        throw: True (default) raises on any failure, in compiled code and in derivatives too; False
            gives NaN, in values and derivatives, lane by lane, without a host callback.
        has_aux: whether the function decorated returns (value, aux).
    """

    linear_solver: lx.AbstractLinearSolver | str
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None
    tags: frozenset[object]
    adjoint: optx.AbstractAdjoint | None
    throw: bool
    has_aux: bool


class EquationOptions(SharedOptions, total=False):
    """Options of the decorators on an equation.

    Attributes:
        solver: any Optimistix solver of a fitting kind; its rtol and atol are those of the check.
        max_steps: how many steps it may take, 256 by default; None for no bound.
        options: what Optimistix hands to the solver, brackets for instance; may be traced.
        progress: True prints, at most once a second, the number of the step and how far it moved; a
            function is called on the host with both after each step. It is a host callback.
    """

    solver: optx.AbstractIterativeSolver | None
    max_steps: int | None
    options: dict[str, Any] | None
    progress: bool | Callable[[int, float], Any]


class SolverOptions(SharedOptions, total=False):
    """Options of the decorators on a solver.

    Attributes:
        rtol: relative tolerance of the estimated error in what the solver returns.
        atol: absolute tolerance of the same.
    """

    rtol: float | None
    atol: float | None
