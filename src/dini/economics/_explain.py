"""What to say of a steady state that was not found, or is none."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from dini.economics._equations import Equations, precision
from dini.economics._steady_state import Values, first_start, values

NOT_CALIBRATED = (
    "Model.calibrate: no parameters were found for which the steady state has the values wanted. "
    "Start the free parameters elsewhere, or give a guess; see whether the targets depend on them."
)
_ADVICE = (
    "Give a guess that is nearer, in Model(guess=…), or follow the steady state from parameters for "
    "which it is known: steady_state(params, start=(params0, record))."
)


def steady_state(
    equations: Equations,
    guess: Values,
    closed: Values,
    params: PyTree,
    point: Any,
    start: tuple | None,
) -> str:
    """Why there is no steady state; all numbers must be known."""
    names, dtype = equations.variables, precision(params)
    given = values(closed, params, names, "steady_state", dtype)
    whole = len(given) == len(names) and start is None
    begin = first_start(guess, closed, params, names, dtype) if start is None else start[1].vector
    residuals = _at(equations, begin, params)
    where = "the steady state given" if whole else "the guess"
    for name, r in residuals.items():
        if not np.isfinite(r):
            return f"Model: equation {name!r} is {r} at {where}, {_values(equations, name, begin, params)}."
    if whole:
        worst = max(residuals, key=lambda name: abs(residuals[name]))
        if not _is_singular(equations, begin, params):
            return (
                f"Model: the steady state given does not solve the equations. Equation {worst!r} "
                f"leaves {residuals[worst]:.3g}, {_values(equations, worst, begin, params)}."
            )
    if np.all(np.isfinite(point)):
        if _is_singular(equations, jnp.asarray(point), params):
            return (
                "Model: the steady state is not isolated, as the Jacobian of the equations is "
                "singular there: a variable has a unit root, or one equation follows from the others."
            )
        residuals = _at(equations, point, params)
        worst = max(residuals, key=lambda name: abs(residuals[name]))
        return (
            f"Model: no steady state was found. Where the search ended, equation {worst!r} leaves "
            f"{residuals[worst]:.3g}, {_values(equations, worst, point, params)}. {_ADVICE}"
        )
    return f"Model: no steady state was found. {_ADVICE}"


def _at(equations: Equations, x: Any, params: PyTree) -> dict[str, float]:
    still = jnp.zeros(len(equations.shocks))
    out = equations.residuals(x, x, x, still, params)
    return {name: float(r) for name, r in out.items()}


def _values(equations: Equations, name: str, x: Any, params: PyTree) -> str:
    """The variables that an equation reads."""
    read = equations.reads(name, params)
    shown = [
        f"{v} = {float(y):.6g}" for v, y in zip(equations.variables, x, strict=True) if v in read
    ]
    return "where " + ", ".join(shown) if shown else "which reads no variable"


def _is_singular(equations: Equations, x: Any, params: PyTree) -> bool:
    jacobian = np.asarray(jax.jacfwd(equations.at_rest)(x, params))
    rows = np.max(np.abs(jacobian), axis=1, keepdims=True)
    scaled = jacobian / np.where(rows > 0, rows, 1)
    return bool(np.linalg.cond(scaled) > 1 / (64 * np.finfo(scaled.dtype).eps))
