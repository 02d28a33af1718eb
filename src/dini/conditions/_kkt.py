"""The conditions of Karush, Kuhn and Tucker."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from dini._tree import RealView, describe
from dini.conditions._condition import Condition, Precision, scalar, undifferentiable
from dini.linear import probe

_Vector = Float[Array, " n"]


def kkt(
    f: Callable,
    *,
    equality: Callable | None = None,
    inequality: Callable | None = None,
    one_sided: bool = False,
) -> Condition:
    """The conditions of Karush, Kuhn and Tucker for min f(x) with h(x) = 0 and g(x) ≤ 0.

    F(z, *args, **kwargs) with z = (x, nu, mu) is

        ∇f + (∂h)ᵀ nu + (∂g)ᵀ mu,   h,   min(mu, −g),

    number by number: zero just where x is feasible, mu ≥ 0, and mu g = 0. Without equalities z is
    (x, mu), without inequalities (x, nu). Of the minimum, min(mu, −g) and its derivative, a
    constraint contributes −g where it is active, and mu where it is not.

    Args:
        f: x, *args, **kwargs ↦ one real number; x is any tree.
        equality: h, any tree of numbers; nu is a tree like it. It shares the arguments of f.
        inequality: g, any tree of real numbers; mu is a tree like it. It shares the arguments too.
        one_sided: where a constraint is active with a multiplier of zero, to the precision to which
            z is known (`rtol` and `atol` of the decorator, √eps by default), the solution has only
            one-sided derivatives. False makes that a failure: an error, or NaN with throw=False.
            True gives the derivative on the side where the constraint is active.

    Returns:
        F, which returns a tuple like z; for `custom_root`, `root_jvp` and their kin. Where the
        gradients of active constraints are linearly dependent ∂zF is singular, and they refuse it.

    Raises:
        TypeError: when called, if z has not one multiplier a constraint, f returns anything but one
            real number, or g a complex one.

    References: Fiacco, Introduction to Sensitivity and Stability Analysis in Nonlinear Programming
    (1983); Nocedal and Wright, Numerical Optimization (2006), chapter 12.
    """
    return Condition("kkt", _kkt, (f, equality, inequality), one_sided)


def _kkt(
    name: str,
    precision: Precision,
    one_sided: bool,
    z: PyTree,
    f: Callable,
    equality: Callable | None,
    inequality: Callable | None,
) -> tuple[PyTree, ...]:
    constraints = [c for c in (equality, inequality) if c is not None]
    if not (isinstance(z, tuple) and len(z) == 1 + len(constraints)):
        names = ["x"] + ["nu"] * (equality is not None) + ["mu"] * (inequality is not None)
        raise TypeError(
            f"dini.conditions.kkt: the unknown is a tuple ({', '.join(names)}), and was given as "
            f"{describe(z)}."
        )
    views = [RealView(part) for part in z]
    view, multipliers = views[0], [w.ravel(part) for w, part in zip(views[1:], z[1:], strict=True)]
    objective = scalar(name, f, view)

    def lagrangian(v: _Vector) -> tuple[Array, list[_Vector]]:
        x = view.unravel(v)
        values = [
            _numbers(c(x), part, c is inequality)
            for c, part in zip(constraints, z[1:], strict=True)
        ]
        forces = [jnp.vdot(m, c) for m, c in zip(multipliers, values, strict=True)]
        return sum(forces, objective(v)).astype(view.dtype), values

    v = view.ravel(z[0])
    gradient, rows = jax.grad(lagrangian, has_aux=True)(v)
    if inequality is not None:
        mu, g = multipliers[-1], rows[-1]
        at = lambda v: _numbers(inequality(view.unravel(v)), z[-1], True)
        rows[-1] = _complementarity(precision, one_sided, mu, g, _change(precision, v, at))
    parts = zip(views, [gradient, *rows], strict=True)
    return tuple(w.unravel(row.astype(w.dtype)) for w, row in parts)


# Where min(mu, −g) = 0, one of the two is zero and tells nothing; which one it is, is told by the
# other, in units of what it may be off by. Those are constant and positive, so the zeros remain:
# −g where mu/δmu > −g/δg, else mu. If neither can be told from zero, there is a tie.
def _complementarity(
    precision: Precision, one_sided: bool, mu: _Vector, g: _Vector, g_error: _Vector
) -> _Vector:
    """min(mu, −g), without a derivative at a tie; or with that of −g."""
    mu_error = precision.error(jax.lax.stop_gradient(mu))
    tied = (jnp.abs(mu) <= mu_error) & (jnp.abs(g) <= g_error)
    active = tied | ~(mu * g_error <= -g * mu_error)
    row = jnp.where(active, -g, mu)
    return row if one_sided else undifferentiable(row, tied)


def _change(precision: Precision, v: _Vector, at: Callable[[_Vector], _Vector]) -> _Vector:
    """How much g may be off because x is: by its changes in a few directions."""
    v = jax.lax.stop_gradient(v)
    steps = jnp.stack([probe(v, which) for which in range(3)]) * precision.error(v)
    changes = jax.vmap(lambda step: at(v + step))(steps) - at(v)
    return jax.lax.stop_gradient(jnp.max(jnp.abs(changes), axis=0))


def _numbers(value: PyTree, multiplier: PyTree, is_real: bool) -> _Vector:
    """A constraint's value as a vector, when it fits its multiplier."""
    view = RealView(value)
    if jax.tree.map(jnp.shape, value) != jax.tree.map(jnp.shape, multiplier):
        raise TypeError(
            "dini.conditions.kkt: a constraint has one multiplier a number, in a tree like its "
            f"own. The constraint returns {describe(value)}, and the multiplier is "
            f"{describe(multiplier)}."
        )
    kind = jnp.floating if is_real else jnp.inexact
    if not all(jnp.issubdtype(jnp.result_type(x), kind) for x in jax.tree.leaves(value)):
        raise TypeError(
            "dini.conditions.kkt: a constraint returns floating-point numbers, h(x) or g(x), and "
            f"an inequality returns real numbers; this one returns {describe(value)}."
        )
    return view.ravel(value)
