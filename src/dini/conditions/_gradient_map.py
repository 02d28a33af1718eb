"""Conditions by a step of gradient descent that leaves the solution where it is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, PyTree

from dini._tree import RealView, describe, max_abs
from dini.conditions._condition import Condition, Precision, scalar, undifferentiable
from dini.conditions._kink import has_kink

_Vector = Float[Array, " n"]

# A point this many tolerances from the solution is none, and what is near it does not matter.
_FAR = 1e3


def projected_gradient(f: Callable, projection: Callable, *, one_sided: bool = False) -> Condition:
    """F = P(x − ∇f(x)) − x, zero where x minimises f over a convex set, P the projection onto it.

    For an x of the set, −∇f(x) in its normal cone ⇔ x = P(x − ∇f(x)). The step is one; a different
    one gives the same solution and derivatives.

    Args:
        f: x, *args, **kwargs ↦ one real number; x is any tree.
        projection: y, *args, **kwargs ↦ P(y), a tree like x. It shares the arguments of f.
        one_sided: where x − ∇f(x) is at a kink of P, to the precision to which x is known (`rtol`
            and `atol` of the decorator, √eps by default), the solution has only one-sided
            derivatives. False makes that a failure: an error, or NaN with throw=False. True gives
            the derivative that JAX has for P there.

    Returns:
        F(x, *args, **kwargs), a tree like x; for `custom_root`, `root_jvp` and their kin.

    Raises:
        TypeError: when called, if f returns anything but one real number, or P no tree like x.

    References: Rockafellar and Wets, Variational Analysis (1998), example 6.16;
    Blondel et al., Efficient and modular implicit differentiation (2022).
    """
    return Condition("projected_gradient", _displacement, (f, projection), one_sided)


def proximal_gradient(f: Callable, prox: Callable, *, one_sided: bool = False) -> Condition:
    """F = prox_r(x − ∇f(x)) − x, zero where x minimises f + r, with r convex.

    prox_r(y) = argminₓ r(x) + ½ |x − y|². −∇f(x) ∈ ∂r(x) ⇔ x = prox_r(x − ∇f(x)).

    Args:
        f: x, *args, **kwargs ↦ one real number; x is any tree.
        prox: y, *args, **kwargs ↦ prox_r(y), a tree like x. It shares the arguments of f.
        one_sided: as for `projected_gradient`.

    Returns:
        F(x, *args, **kwargs), a tree like x; for `custom_root`, `root_jvp` and their kin.

    Raises:
        TypeError: as `projected_gradient`.

    References: Parikh and Boyd, Proximal algorithms (2014), section 4.2;
    Bertrand et al., Implicit differentiation for fast hyperparameter selection (2022).
    """
    return Condition("proximal_gradient", _displacement, (f, prox), one_sided)


def mirror_descent(
    f: Callable, projection: Callable, generator: Callable, *, one_sided: bool = False
) -> Condition:
    """F = P(∇φ(x) − ∇f(x)) − x, zero where x minimises f over a convex set.

    P takes a dual point to the set, P(y) = argminₓ φ(x) − ⟨x, y⟩ over it: for φ = Σ x log x − x and
    the simplex P is softmax. 0 ∈ ∇φ(x) − y + N(x) with y = ∇φ(x) − ∇f(x) ⇔ −∇f(x) ∈ N(x).

    Args:
        f: x, *args, **kwargs ↦ one real number; x is any tree.
        projection: y, *args, **kwargs ↦ P(y), both trees like x. It shares the arguments of f.
        generator: x, *args, **kwargs ↦ φ(x), one real number, differentiable at the solution. It
            shares the arguments too.
        one_sided: as for `projected_gradient`.

    Returns:
        F(x, *args, **kwargs), a tree like x; for `custom_root`, `root_jvp` and their kin.

    Raises:
        TypeError: as `projected_gradient`.

    Reference: Beck and Teboulle, Mirror descent and nonlinear projected subgradient methods for
    convex optimization (2003).
    """
    return Condition("mirror_descent", _displacement, (f, projection, generator), one_sided)


def _displacement(
    name: str,
    precision: Precision,
    one_sided: bool,
    x: PyTree,
    f: Callable,
    projection: Callable,
    generator: Callable | None = None,
) -> PyTree:
    """P(∇φ(x) − ∇f(x)) − x, φ = ½ |x|² where it is None; no derivative at a kink of P."""
    view = RealView(x)

    def project(y: _Vector) -> _Vector:
        out = projection(view.unravel(y))
        if _shapes(out) != _shapes(x):
            raise TypeError(
                f"dini.conditions.{name}: the projection or prox must return a tree like the "
                f"unknown, {describe(x)}, and returns {describe(out)}."
            )
        return view.ravel(out)

    v = view.ravel(x)
    dual = v if generator is None else jax.grad(scalar(name, generator, view))(v)
    y = dual - jax.grad(scalar(name, f, view))(v)
    f_value = project(y) - v
    if not one_sided:
        known = (v if generator is None else y, y, f_value)
        known = jax.lax.stop_gradient(known)
        kink = has_kink(project, known[1], _radius(precision, *known), view.eps, name)
        f_value = undifferentiable(f_value, kink)
    return view.unravel(f_value)


# A number of x that moves freely is that of P at its distance from a kink; so to tell the side, y
# need be known as well as x is. To that come the rounding of y, a sum of larger terms, and what F
# is short of zero, which is how far y is off where f is steep. A dual point has its own scale.
def _radius(precision: Precision, known: _Vector, y: _Vector, f_value: _Vector) -> _Vector:
    """How far y may be off, number by number."""
    error, rounding = precision.error(known), precision.eps ** (3 / 4) * max_abs(y)
    return error + rounding + jnp.minimum(4 * max_abs(f_value), _FAR * error)


def _shapes(tree: PyTree) -> PyTree:
    """What two trees share whose real numbers correspond."""
    return jtu.tree_map(lambda x: (jnp.shape(x), jnp.iscomplexobj(x)), tree)
