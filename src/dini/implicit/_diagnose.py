"""A decorated function looked at from inside: what was solved, how well, and at what cost."""

import dataclasses
import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float, PyTree, Scalar

from dini._tree import RealView, asarrays, max_abs, stop_gradient
from dini.implicit import _problem
from dini.implicit._adjoint import Implicit, Neumann, while_loop
from dini.implicit._call import Decorated
from dini.implicit._diagnosis import Diagnosis
from dini.implicit._gradient_error import Point, gradient_with_error, largest_of_each
from dini.implicit._solve import Posed, Search
from dini.implicit._theorem import system_at
from dini.implicit._watch import TALLY, History, Watch
from dini.linear import System, explain, norm_estimate, probe

_LENGTH = 10_000  # steps of which the history is kept
_POWERS = 64  # products with ∂T


def diagnose(f: Decorated, *args: Any, cotangent: PyTree = None, **kwargs: Any) -> Diagnosis:
    """Solves a decorated equation, and reports on the solution, its gradient and the cost.

    The bound of the gradient's error adds up, to first order, what follows from the error of z (its
    Newton correction), from the residual of the adjoint solve, and from rounding. It does not know
    of errors in F itself beyond rounding.

    Args:
        f: a function decorated by `implicit_*` or `custom_*`. Nothing raises, whatever its `throw`.
        *args: a guess, and the further arguments, as for a plain call.
        cotangent: z̄, a tree like z, of the gradient looked at; all ones by default: the gradient
            of the sum of z.
        **kwargs: as for a plain call.

    Returns:
        A [`Diagnosis`][dini.Diagnosis].

    Raises:
        TypeError: if `f` is not such a function, or has no reverse mode.

    References: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 15; Kenney
    and Laub, Small-sample statistical condition estimates for general matrix functions (1994).
    """
    if not isinstance(f, Decorated):
        raise TypeError(
            "dini.diagnose takes a function decorated by dini.implicit_* or dini.custom_*, and was "
            f"given {f!r}."
        )
    with TALLY:
        found = f.with_options(throw=False).read(_look, args, kwargs, asarrays(cotangent))
        jax.effects_barrier()
    taken, history = found["steps"], found["history"]
    steps = None if taken is None else int(taken)
    solved = found["result"] == optx.RESULTS.successful
    found["solved"] = bool(solved)
    found["result"] = "accepted" if solved else f"refused: {optx.RESULTS[found['result']]}"
    found["steps"], found["evaluations"] = steps, None if steps is None else TALLY.count
    found["history"] = np.stack([history.residual, history.moved], axis=1)[:steps]
    for name in ("gradient", "gradient_error"):
        found[name] = _by_name(f, found[name])
    for name in ("residual", "error", "condition", "adjoint_residual", "contraction"):
        found[name] = None if found[name] is None else float(found[name])
    return Diagnosis(**found)


def _by_name(f: Decorated, arguments: tuple) -> dict[str, PyTree]:
    """What belongs to the arguments, by the names of the parameters."""
    bound, args, kwargs = arguments
    named = inspect.signature(f.fn).bind(*bound, None, *args, **kwargs).arguments
    return {name: tree for name, tree in named.items() if jtu.tree_leaves(tree)}


def _look(posed: Posed, cotangent: PyTree) -> dict[str, Any]:
    """All that `Diagnosis` holds, in arrays."""
    how, adjoint = posed.how, posed.adjoint
    if isinstance(how, Search):
        length = min(how.max_steps or _LENGTH, _LENGTH)
        watch = Watch(how.watch.progress, length, TALLY.add)
        how = dataclasses.replace(how, watch=watch)
    if not isinstance(adjoint, Implicit | Neumann):
        adjoint = Implicit(name=posed.equation.linear.name, throw=False)
    primal, inputs = dataclasses.replace(posed, how=how, adjoint=adjoint).primal()
    z, extra = stop_gradient(primal((*inputs, while_loop)))
    equation, config = inputs[0], inputs[0].linear

    moving, still = eqx.partition(posed.arguments, eqx.is_inexact_array)
    view, params = RealView(z), RealView(moving)
    v, t = view.ravel(z), params.ravel(moving)

    def residual(v: Array, t: Array) -> Float[Array, " n"]:
        return equation.residual(view, eqx.combine(params.unravel(t), still))(v)

    system = system_at(lambda v: residual(v, t), v, config)
    factors = system.factorise()
    at = Point(residual, v, t, system, factors)
    z_bar = jnp.ones_like(v) if cotangent is None else view.ravel(cotangent)
    if isinstance(adjoint, Neumann):
        rule = adjoint.rule(primal, (*inputs, while_loop), config.tags)
        series = lambda b: rule.tangent(system, None, b, jnp.asarray(False))
        costate = jax.linear_transpose(series, v)(z_bar)[0]
    else:
        costate = at.solve_transposed(z_bar)
    f = residual(v, t)
    gradient, errors = gradient_with_error(at, -at.solve(f), costate, z_bar)
    left = max_abs(at.transposed(costate) - z_bar) / max_abs(z_bar)
    history = extra["stats"].get("history", History(jnp.zeros(0), jnp.zeros(0)))
    fixed_point = equation.problem is _problem.fixed_point
    return {
        "name": config.name,
        "value": z,
        "result": extra["result"],
        "residual": max_abs(f),
        "error": extra["error"],
        "condition": _condition(at),
        "contraction": _contraction(system) if fixed_point else None,
        "cotangent": view.unravel(z_bar),
        "adjoint_residual": left,
        "gradient": params.unravel(gradient),
        "gradient_error": largest_of_each(params, errors),
        "linear_solver": explain(config.solver, system.struct.shape[0], config.tags),
        "steps": extra["stats"].get("num_steps"),
        "history": history,
    }


def _condition(at: Point) -> Scalar:
    """|A|₁ |A⁻¹|₁, each estimated."""
    struct = at.system.struct
    size = norm_estimate(at.system.action, at.transposed, struct)
    return size * norm_estimate(at.solve, at.solve_transposed, struct)


# Powers of ∂T = I + ∂zF grow like its spectral radius; the geometric mean of many steps sees it
# where the largest eigenvalues are a complex pair too.
def _contraction(system: System) -> Scalar:
    def power(u: Array, _: None) -> tuple[Array, Array]:
        after = u + system.action(u)
        size = jnp.linalg.norm(after)
        return jnp.where(size > 0, after / size, 0), size

    start = probe(system.struct)
    _, sizes = jax.lax.scan(power, start / jnp.linalg.norm(start), length=_POWERS)
    return jnp.exp(jnp.mean(jnp.log(sizes[_POWERS // 2 :])))
