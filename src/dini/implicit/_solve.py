"""From an equation and a way to solve it to a differentiable, checked solution."""

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree

from dini._tree import RealView, describe, max_abs, stop_gradient
from dini.implicit import _problem
from dini.implicit._accept import Tolerance, accept_fixed_point, accept_root
from dini.implicit._adjoint import Implicit, Neumann, while_loop
from dini.implicit._problem import Problem, scale_of
from dini.implicit._theorem import system_at
from dini.implicit._watch import Watch, watched
from dini.linear import LinearConfig, guarded
from dini.rules import differentiable, linearise

# The solver's norm and ours may differ: an equation's own solver is given this much room.
_SLACK = 10.0

_FAILED = (
    "{name} was not solved: the solver failed, or the error estimated in z is larger than "
    "atol + rtol |z|, or something was not finite, or the solution is not a regular one (a root "
    "must be simple, a minimum not a saddle or flat, a condition not at a tie or kink). The "
    "unknown is {unknown}. {remedy}; with throw=False the solution is NaN, and `.solve(...)` tells "
    "the reason in its `result`."
)
_REMEDY = "Try another guess or solver, a larger max_steps, or larger tolerances"
_FOREIGN_REMEDY = (
    "What is decorated must return a solution of the equation given: see that the two agree, let "
    "it iterate further, or state larger rtol and atol"
)


class Equation(eqx.Module):
    """An equation in z: its kind, its function of (z, arguments), and how it is checked.

    `fn` captures no tracer. `rtol` and `atol` are those of the check, `norm` is the solver's.
    """

    problem: Problem = eqx.field(static=True)
    fn: Callable[[PyTree, PyTree], PyTree]
    linear: LinearConfig
    rtol: float
    atol: float
    norm: Callable = optx.max_norm

    def residual(self, view: RealView, arguments: PyTree) -> Callable:
        """F as a function of the vector of z."""
        return self.problem.residual(lambda z: self.fn(z, arguments), view)

    def accept(
        self, z: PyTree, arguments: PyTree, claimed: optx.RESULTS, own: bool
    ) -> tuple[PyTree, Any]:
        """The point checked, and with it the result code, the error, and a factorisation.

        `own` is True for the equation's own solver, which is helped over the last digits, and
        False for a foreign one, whose z is returned as it is.
        """
        view = RealView(z)
        residual = self.residual(view, stop_gradient(arguments))
        v = view.ravel(stop_gradient(z))
        tolerance = Tolerance(self.rtol, self.atol, self.norm, view.eps)
        factors = None
        if self.problem is _problem.fixed_point:
            slack = _SLACK if own else 1.0
            verdict = accept_fixed_point(residual, v, claimed, tolerance, slack)
        else:
            system = system_at(residual, v, self.linear)
            factors = system.factorise()
            verdict = accept_root(residual, v, claimed, tolerance, system, factors, polish=own)
            # Those of the point before the polish are not exact at the point after it.
            factors = None if own else factors
        # Under an adjoint that differentiates through the solver, the polish is a constant shift.
        polished = view.unravel(view.ravel(z) + stop_gradient(verdict.z - v))
        return polished, {"result": verdict.result, "error": verdict.error, "factors": factors}


class _GivenLoop(optx.AbstractAdjoint):
    """Runs an Optimistix solver in the loop that the real adjoint has chosen."""

    loop: Callable

    def apply(self, primal_fn: Callable, rewrite_fn: Callable, inputs: Any, tags: Any) -> Any:
        del rewrite_fn, tags
        return primal_fn((*inputs, self.loop))


class Search(eqx.Module):
    """How an equation is solved: an Optimistix solver and what it is given.

    `instead` is the solver for an equation without reverse mode, where `solver` is a mere default.
    """

    solver: optx.AbstractIterativeSolver
    instead: optx.AbstractIterativeSolver | None
    options: dict[str, Any]
    max_steps: int | None = eqx.field(static=True)
    watch: Watch = Watch()


def _search(inputs: tuple) -> tuple[PyTree, dict[str, Any]]:
    """Solves the equation by Optimistix, in real numbers of one dtype, and checks the result."""
    equation, guess, arguments, search, loop = inputs
    problem, view = equation.problem, RealView(guess)
    name = f"the equation of {equation.linear.name}"
    solver, scale = search.solver, jnp.ones((), view.dtype)
    # A solver sees the positional arguments' arrays as Optimistix's `args`, and may vary them.
    bound, positional, keywords = arguments
    arrays, rest = eqx.partition(positional, eqx.is_array)

    def real(y: PyTree, arrays: PyTree) -> PyTree:
        if search.watch.count is not None:
            jax.debug.callback(search.watch.count)
        out = equation.fn(view.untree(y), (bound, eqx.combine(arrays, rest), keywords))
        if problem is _problem.minimum:
            return out.astype(view.dtype) / scale
        unit = jnp.sqrt(scale) if problem is _problem.least_squares else scale
        return jtu.tree_map(lambda f: f / unit, RealView(out).tree(out))

    search_in: Callable[[PyTree, PyTree], PyTree] = real
    if not isinstance(solver, optx.AbstractFixedPointSolver):
        v = view.ravel(guess)
        at_guess = linearise(equation.residual(view, stop_gradient(arguments)), v, name)
        if not at_guess.plain:
            search_in = lambda y, args: differentiable(lambda y: real(y, args), name)(y)
        solver = solver if at_guess.reverse else search.instead or solver
        scale = scale if problem is _problem.fixed_point else scale_of(at_guess, v)
    residual = eqx.Partial(_size, equation, view, stop_gradient(arguments))
    solution = problem.search(
        search_in,
        watched(solver, search.watch, residual),
        view.tree(guess),
        arrays,
        search.options,
        max_steps=search.max_steps,
        adjoint=_GivenLoop(loop),
        throw=False,
    )
    z = view.untree(solution.value)
    z, extra = equation.accept(z, arguments, solution.result, own=True)
    stats = {k: x for k, x in solution.stats.items() if all(map(eqx.is_array, jtu.tree_leaves(x)))}
    stats.pop("max_steps", None)
    return z, extra | {"stats": stats}


def _size(equation: Equation, view: RealView, arguments: PyTree, y: PyTree) -> Array:
    """The largest number in F at an iterate of the search."""
    return max_abs(equation.residual(view, arguments)(view.ravel(view.untree(y))))


def _call_solver(inputs: tuple) -> tuple[PyTree, dict[str, Any]]:
    """Calls a foreign solver once, and checks what it returns."""
    equation, guess, arguments, solver, _ = inputs
    inexact, rest = eqx.partition(arguments, eqx.is_inexact_array)
    z, aux = solver(guess, eqx.combine(_undifferentiated(inexact), rest))
    z, extra = equation.accept(z, arguments, optx.RESULTS.successful, own=False)
    return z, extra | {"aux": eqx.filter(aux, eqx.is_array), "stats": {}}


@jax.custom_jvp
def _undifferentiated(tree: PyTree) -> PyTree:
    """The identity, for what no derivative may pass through: a foreign solver."""
    return tree


@_undifferentiated.defjvp
def _refuse_derivative(primals: tuple, tangents: tuple) -> NoReturn:
    del primals, tangents
    raise TypeError(
        "A foreign solver is never differentiated, and the adjoint given would do that. Use "
        "adjoint=dini.Implicit() or dini.Neumann(k)."
    )


def _residual(z: PyTree, extra: PyTree, inputs: tuple) -> Float[Array, " n"]:
    """F(z, θ) as a vector."""
    del extra
    equation, _, arguments, *_ = inputs
    view = RealView(z)
    return equation.residual(view, arguments)(view.ravel(z))


class Solved(eqx.Module):
    """A solution with its result code, and what else the solve has told."""

    value: PyTree
    extra: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Posed:
    """An equation with its arguments, how it is solved, and how the solution is differentiated.

    Attributes:
        equation: F.
        guess: where the search starts.
        arguments: what z is a function of.
        how: a `Search`, or a solver (guess, arguments) ↦ (z, aux) that captures no tracer.
        adjoint: how derivatives are obtained.
        aux: the auxiliary output, from what has been solved.
        pairs: whether the plain call returns it too.
    """

    equation: Equation
    guess: PyTree
    arguments: PyTree
    how: Search | Callable
    adjoint: optx.AbstractAdjoint
    aux: Callable[[Solved], PyTree]
    pairs: bool = False

    def value(self) -> Any:
        """What the plain call returns."""
        solved = self.solve()
        return (solved.value, self.aux(solved)) if self.pairs else solved.value

    def solution(self) -> optx.Solution:
        """The same with all that is known of it."""
        solved = self.solve()
        stats = solved.extra["stats"] | {"error": solved.extra["error"]}
        if isinstance(self.how, Search):
            stats |= {"max_steps": self.how.max_steps}
        return optx.Solution(
            solved.value, solved.extra["result"], self.aux(solved), stats, state=None
        )

    def solve(self) -> Solved:
        """Solves for z, differentiable in the arguments; raises or gives NaN."""
        adjoint, (primal, inputs) = self.adjoint, self.primal()
        # Tags speak of a matrix, and another adjoint sees an operator on trees.
        matrix = isinstance(adjoint, Implicit | Neumann) or _is_vector(self.guess)
        linear = inputs[0].linear
        tags = linear.tags if matrix else frozenset()
        value, extra = adjoint.apply(primal, _residual, inputs, tags)
        failed = extra["result"] != optx.RESULTS.successful
        how, remedy = self.how, _FOREIGN_REMEDY
        if isinstance(how, Search):
            remedy = getattr(how.solver, "remedy", _REMEDY)
        message = _FAILED.format(name=linear.name, unknown=describe(value), remedy=remedy)
        value = guarded(value, failed, message, linear.throw)
        return Solved(_in_every_order(value, failed), extra)

    def primal(self) -> tuple[Callable, tuple]:
        """What solves the equation, without derivatives, and all that it is given."""
        equation, how = self.equation, self.how
        primal = _search if isinstance(how, Search) else _call_solver
        inputs = (equation, stop_gradient(self.guess), self.arguments, stop_gradient(how))
        if isinstance(self.adjoint, Implicit | Neumann):
            rule = self.adjoint.rule(primal, (*inputs, while_loop), equation.linear.tags)
            inputs = (eqx.tree_at(lambda e: e.linear, equation, rule.config), *inputs[1:])
        return primal, inputs


def _is_vector(z: PyTree) -> bool:
    return eqx.is_inexact_array(z) and z.ndim == 1 and not jnp.iscomplexobj(z)


# z + p sin z with p = 0 is z and has its derivatives; with p = NaN every derivative is NaN. Without
# it the second derivative of an equation affine in z and θ is 0, whether it is solved or not.
def _in_every_order(tree: PyTree, failed: Bool[Array, ""]) -> PyTree:
    """The identity, of which no derivative of any order survives a failure, not even a zero."""
    p = jnp.where(failed, jnp.nan, 0)

    def leaf(x: Any) -> Any:
        if not eqx.is_inexact_array(x):
            return x
        return x + p.astype(x.dtype) * jnp.sin(x.real)

    return jtu.tree_map(leaf, tree)
