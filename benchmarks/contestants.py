"""The solvers that are compared: ours, Optimistix's and SciPy's, each asked for the same accuracy.

A contestant is a function of (counted, start, args, bracket) that returns its solution, whether it
says that it has solved the equation, and, for ours, the cost that it reports.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import scipy.optimize
from counting import Counted

import dini

TOL = 1e-8
STEPS = 1000


class Answer(NamedTuple):
    """What a solver returns and says of it."""

    z: np.ndarray
    said: bool
    reported: int | None = None


def _in_jax(solver: Any) -> Callable:
    """An Optimistix solver; one of roots on T(z) − z for a fixed point, as Optimistix has it."""

    def run(counted: Counted, start: np.ndarray, args: Any, bracket: Any) -> Answer:
        solve = optx.fixed_point if counted.fixed_point else optx.root_find
        options = {} if bracket is None else dict(zip(("lower", "upper"), bracket, strict=True))
        options = {name: jnp.asarray(end, float) for name, end in options.items()}
        solution = solve(counted.traced, solver, start, args, options, max_steps=STEPS, throw=False)
        stats = jax.tree.map(np.asarray, solution.stats)
        reported = None
        if "evaluations" in stats:
            reported = int(stats["evaluations"] + stats.get("products", 0))
        said = bool(solution.result == optx.RESULTS.successful)
        return Answer(np.asarray(solution.value), said, reported)

    return run


def _root(method: str, jacobian: bool = False) -> Callable:
    options = {"hybr": {}, "lm": {}, "df-sane": {}}.get(method, {"maxiter": STEPS})

    def run(counted: Counted, start: np.ndarray, args: Any, bracket: Any) -> Answer:
        del bracket
        jac = (lambda z: counted.host_jacobian(z, args)) if jacobian else None
        fun = lambda z: counted.host(z, args)
        found = scipy.optimize.root(
            fun, np.array(start), method=method, jac=jac, tol=TOL, options=options
        )
        return Answer(np.asarray(found.x), bool(found.success))

    return run


def _bracketed(method: str) -> Callable:
    def run(counted: Counted, start: np.ndarray, args: Any, bracket: Any) -> Answer:
        del start
        fun = lambda x: float(counted.host(x, args))
        found = scipy.optimize.root_scalar(
            fun, method=method, bracket=bracket, xtol=TOL, rtol=TOL, maxiter=STEPS
        )
        return Answer(np.asarray(found.root), bool(found.converged))

    return run


def _ours(*names: str) -> dict[str, Callable]:
    """Our solvers of these names."""
    inner = {"Continuation": (optx.Newton(TOL, TOL),)}
    return {
        f"dini {name}": _in_jax(getattr(dini, name)(*inner.get(name, (TOL, TOL)))) for name in names
    }


ROOTS = _ours("PowellHybrid", "NewtonKrylov", "Broyden", "Continuation") | {
    "optx Newton": _in_jax(optx.Newton(TOL, TOL)),
    "optx Newton, GMRES": _in_jax(optx.Newton(TOL, TOL, linear_solver=lx.GMRES(TOL, TOL))),
    "optx Chord": _in_jax(optx.Chord(TOL, TOL)),
    "optx Dogleg": _in_jax(optx.Dogleg(TOL, TOL)),
    "optx LevenbergMarquardt": _in_jax(optx.LevenbergMarquardt(TOL, TOL)),
    "optx BFGS": _in_jax(optx.BFGS(TOL, TOL)),
    "scipy hybr": _root("hybr"),
    "scipy hybr, ∂F": _root("hybr", jacobian=True),
    "scipy lm": _root("lm"),
    "scipy lm, ∂F": _root("lm", jacobian=True),
    "scipy broyden1": _root("broyden1"),
    "scipy anderson": _root("anderson"),
    "scipy krylov": _root("krylov"),
    "scipy df-sane": _root("df-sane"),
}
# The others form the Jacobian, n products a step, or another matrix of n² numbers.
MATRIX_FREE = _ours("NewtonKrylov", "Broyden") | {
    name: ROOTS[name]
    for name in (
        "optx Newton, GMRES",
        "scipy broyden1",
        "scipy anderson",
        "scipy krylov",
        "scipy df-sane",
    )
}
FIXED_POINTS = (
    _ours("Anderson", "Picard")
    | {"optx FixedPointIteration": _in_jax(optx.FixedPointIteration(TOL, TOL))}
    | ROOTS
)
BRACKETS = _ours("Bracketing") | {
    "optx Bisection": _in_jax(optx.Bisection(TOL, TOL)),
    "scipy brentq": _bracketed("brentq"),
    "scipy toms748": _bracketed("toms748"),
}
