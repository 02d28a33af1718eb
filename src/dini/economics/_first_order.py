"""From linearised equations to the law of motion."""

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Bool, PyTree

from dini._matrices import marked, product
from dini._tree import stop_gradient
from dini.economics._equations import Equations, Linearised
from dini.economics._law import FirstOrderLaw
from dini.economics._record import Record
from dini.economics._steady_state import Found
from dini.economics._verdict import Verdict, verdict
from dini.linalg import solve_quadratic
from dini.linear import guarded


def first_order(equations: Equations, found: Found, params: PyTree, throw: bool) -> FirstOrderLaw:
    """The law of motion around a steady state, NaN where it is not the one stable law.

    A root at which the Jacobian is singular, a unit root for instance, has a verdict too.

    Args:
        equations: the model.
        found: the steady state.
        params: the parameters.
        throw: whether anything but one stable law raises.
    """
    # Where the root is not isolated λ = 1 is an eigenvalue: there is a verdict, and never a law.
    x = jnp.where(found.isolated, found.x, jax.lax.stop_gradient(found.point))
    linearised = equations.linearise(x, params)
    # Where the root was checked, so that the compiler finds the residuals there already.
    point = jax.lax.stop_gradient(found.point)
    at_rest = equations.at_rest(point, stop_gradient(params))
    solved = found.isolated | _vanishes(at_rest, linearised, point)
    linearised = jtu.tree_map(lambda m: marked(m, solved), linearised)
    solvent, impact, result = _solve(linearised)
    astray = (result == Verdict.determinate) & ~found.isolated
    result = Verdict.where(astray, Verdict.failed, result)
    good = result == Verdict.determinate
    law = marked(solvent, good), marked(impact, good)
    if throw:
        for which, text in explanations():
            law = guarded(law, result == which, text, throw)
    steady_state = Record.of(equations.variables, found.x)
    return FirstOrderLaw(
        transition=law[0],
        impact=law[1],
        steady_state=steady_state,
        result=result,
        linearised=linearised,
        solvent=solvent,
        shocks=equations.shocks,
    )


# Rounding in x explains a residual as large as |∂F| |x| ε.
def _vanishes(f: Array, linearised: Linearised, x: Array) -> Bool[Array, ""]:
    tol = float(jnp.finfo(x.dtype).eps) ** 0.5
    jacobian = jnp.abs(linearised.lead + linearised.now + linearised.lag)
    return jnp.all(jnp.abs(f) <= tol * product(jacobian, jnp.abs(x) + tol))


# A w₊ + B w + C w₋ + D ε = 0 with w = X w₋ + R ε and E ε₊ = 0, for all w₋ and ε:
# (A X² + B X + C) w₋ + ((A X + B) R + D) ε = 0. So X is a solvent, and R = −(A X + B)⁻¹ D.
def _solve(linearised: Linearised) -> tuple[Array, Array, Verdict]:
    """X and R of the minimal solvent, and the verdict on it."""
    # Equations of one size: what is left of single precision depends on it.
    whole = jnp.concatenate([linearised.lead, linearised.now, linearised.lag], axis=1)
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(whole), axis=1, keepdims=True))
    size = jnp.where(size > 0, size, 1)
    a, b, c, d = (
        m / size for m in (linearised.lead, linearised.now, linearised.lag, linearised.shock)
    )
    leads, _, lags, _ = (np.array(part, int) for part in linearised.occurrences)
    # X = −(A X + B)⁻¹ C has columns for the lags alone, and S = (A X + B)⁻¹ A for the leads.
    x = solve_quadratic(a, b, c)
    x = jnp.zeros_like(x).at[:, lags].set(x[:, lags])
    g = product(a, x) + b
    solved = jnp.linalg.solve(g, jnp.concatenate([a[:, leads], d], axis=1))
    s, impact = solved[leads, : leads.size], -solved[:, leads.size :]
    result = verdict(x[np.ix_(lags, lags)], s, (a, b, c))
    return x, impact, result


def explanations() -> list[tuple[Verdict, str]]:
    """Each verdict that is no law, and what to say of it."""
    return [(getattr(Verdict, name), f"Model: {text}") for name, text in _REASONS.items()]


def explain(law: FirstOrderLaw) -> str:
    """Why there is no law, with the numbers, which must be known."""
    text = next(text for verdict, text in explanations() if bool(law.result == verdict))
    of_x, of_s = (float(radius) for radius in law.radii)
    return f"{text} The spectral radii of X and of (A X + B)⁻¹ A are {of_x:.7g} and {of_s:.7g}."


_REASONS = {
    "indeterminate": (
        "indeterminate: the equations have more than one stable law of motion. Too few of them "
        "tie expectations down: a policy rule may be too weak, or a variable that is given at the "
        "start of the period may stand without its lag."
    ),
    "explosive": (
        "explosive: the equations have no stable law of motion. A variable grows, or keeps its "
        "shocks for ever (a unit root), or one that is free to jump stands with a lag."
    ),
    "failed": (
        "no law of motion was found: the Jacobians at the steady state are not finite, or the "
        "equations do not determine the variables (one may follow from the others)."
    ),
}
