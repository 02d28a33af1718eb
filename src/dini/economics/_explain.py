"""What to say of a steady state that was not found, or is none."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from dini.economics._equations import Equations, precision
from dini.economics._steady_state import Values, close, first_start, values

NOT_CALIBRATED = (
    "Model.calibrate: no parameters were found for which the steady state has the values wanted. "
    "Start the free parameters elsewhere, or give a guess; see whether the targets depend on them."
)
_ADVICE = (
    "Give a guess that is nearer, in Model(guess=…), or follow the steady state from parameters "
    "for which it is known: steady_state(params, start=(params0, record))."
)


def steady_state(
    equations: Equations,
    guess: Values,
    closed: Values,
    params: PyTree,
    reached: Any,
    start: tuple | None,
) -> str:
    """Why there is no steady state.

    Args:
        equations: the model.
        guess: where the search started.
        closed: the steady state given.
        params: the parameters, known numbers all of them.
        reached: where the search ended.
        start: (params₀, x₀), if the search followed the solution from there.
    """
    names, dtype = equations.variables, precision(params)
    given = values(closed, params, names, "steady_state", dtype)
    whole = len(given) == len(names) and start is None
    begin = first_start(guess, closed, params, names, dtype) if start is None else start[1].vector
    at_begin, reached = _Point(equations, begin, params), begin if whole else reached
    for name, r in at_begin.residuals.items():
        if not np.isfinite(r):
            where = "the steady state given" if whole else "the guess"
            return f"Model: at {where} equation {name!r} is {r}, {at_begin.of(name)}."
    if not np.all(np.isfinite(reached)):
        return f"Model: no steady state was found. {_ADVICE}"
    at = at_begin if whole else _Point(equations, reached, params)
    correction = at.correction()
    if correction is None:
        return (
            "Model: the steady state is not isolated, as the Jacobian of the equations is singular "
            f"{at.of(None)}: a variable has a unit root, or one equation follows from the others."
        )
    if whole:
        return f"Model: the steady state given does not solve the equations: {at.worst()}."
    off = [name for name, x in given.items() if not close(reached[names.index(name)], x)]
    if off and close(reached - correction, reached):
        return (
            "Model: the steady state found from the values of steady_state= has others: "
            + ", ".join(f"{n} = {reached[names.index(n)]:.6g}, not {given[n]:.6g}" for n in off)
            + ". What only is near the steady state belongs into guess=."
        )
    return f"Model: no steady state was found: where the search ended, {at.worst()}. {_ADVICE}"


class _Point:
    """The equations at values of the variables, the same at all dates."""

    def __init__(self, equations: Equations, x: Any, params: PyTree) -> None:
        self.equations, self.x, self.params = equations, np.asarray(x), params
        still = np.zeros(len(equations.shocks))
        out = equations.residuals(self.x, self.x, self.x, still, params)
        self.residuals = {name: float(r) for name, r in out.items()}

    def of(self, name: str | None) -> str:
        """The values of the variables that an equation reads; of all variables for None."""
        read = self.equations.variables
        if name is not None:
            read = self.equations.reads(name, self.params)
        pairs = zip(self.equations.variables, self.x, strict=True)
        return "where " + ", ".join(f"{v} = {x:.6g}" for v, x in pairs if v in read)

    def worst(self) -> str:
        """The equation with the largest residual."""
        name = max(self.residuals, key=lambda name: abs(self.residuals[name]))
        return f"equation {name!r} leaves {self.residuals[name]:.3g}, {self.of(name)}"

    def correction(self) -> np.ndarray | None:
        """Newton's correction, None where the Jacobian is singular."""
        jacobian = np.asarray(jax.jacfwd(self.equations.at_rest)(self.x, self.params))
        rows = np.max(np.abs(jacobian), axis=1, keepdims=True)
        rows = np.where(rows > 0, rows, 1)
        if not np.all(np.isfinite(rows)):
            return np.full_like(self.x, np.nan)
        if np.linalg.cond(jacobian / rows) * 64 * np.finfo(rows.dtype).eps > 1:
            return None
        f = np.array(list(self.residuals.values()))
        return np.linalg.solve(jacobian / rows, f / rows[:, 0])
