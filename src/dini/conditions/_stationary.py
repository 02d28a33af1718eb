"""The condition of a stationary point."""

from collections.abc import Callable

import jax
from jaxtyping import PyTree

from dini._tree import RealView
from dini.conditions._condition import Condition, Precision, scalar


def stationary(f: Callable) -> Condition:
    """F(z, *args, **kwargs) = ∇f(z, *args, **kwargs), zero at a stationary point of f.

    A saddle is one too: `custom_minimum(f)` asks for a minimum.

    Args:
        f: z, *args, **kwargs ↦ one real number; z is any tree. Twice differentiable at the
            solution.

    Returns:
        F, which returns a tree like z; for `custom_root`, `root_jvp` and their kin.

    Raises:
        TypeError: when called, if f returns anything but one real number.
    """
    return Condition("stationary", _stationary, (f,))


def _stationary(name: str, _: Precision, __: bool, z: PyTree, f: Callable) -> PyTree:
    view = RealView(z)
    return view.unravel(jax.grad(scalar(name, f, view))(view.ravel(z)))
