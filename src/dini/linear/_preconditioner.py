"""An approximate inverse, as users write it, on vectors."""

from collections.abc import Callable

import jax
import lineax as lx
from jaxtyping import PyTree

from dini._tree import RealView


def on_vectors(
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None, view: RealView
) -> lx.AbstractLinearOperator | None:
    """A linear function on trees as an operator on their vectors; an operator is one already."""
    if preconditioner is None or isinstance(preconditioner, lx.AbstractLinearOperator):
        return preconditioner
    struct = jax.ShapeDtypeStruct((view.size,), view.dtype)
    action = lambda v: view.ravel(preconditioner(view.unravel(v)))
    return lx.FunctionLinearOperator(action, struct)
