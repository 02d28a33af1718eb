"""How much any number that a model gives depends on each parameter."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from dini.economics._parameters import parameters

Kind = Literal["elasticity", "semi-elasticity", "derivative"]


def sensitivity(
    fn: Callable[[PyTree], Any],
    params: PyTree,
    *,
    names: Sequence[str] | None = None,
    kind: Kind = "elasticity",
) -> dict[str, float]:
    """The derivatives of one number in all parameters, in one reverse pass.

    Args:
        fn: params ↦ a number f: a steady state, a variance, a likelihood.
        params: the parameters θ.
        names: those to look at; None for all.
        kind: "elasticity", (θ/f) ∂f/∂θ: per cent for a per cent; "semi-elasticity", θ ∂f/∂θ: the
            change for 100 %; or "derivative", ∂f/∂θ.

    Returns:
        The numbers by the names of the parameters, `sd[1]` for one in an array.

    Raises:
        ValueError: for another kind, an unknown name, a value that is no single number, and for an
            elasticity where f is 0.
    """
    if kind not in ("elasticity", "semi-elasticity", "derivative"):
        raise ValueError(f"sensitivity: there is no kind {kind!r}.")
    free = parameters(params, names, "sensitivity")

    def of_vector(vector: jax.Array) -> jax.Array:
        y = jnp.asarray(fn(free.replace(vector)))
        if y.shape:
            raise ValueError(f"sensitivity takes a function to one number, not to shape {y.shape}.")
        return y

    value, slope = jax.value_and_grad(of_vector)(free.vector)
    if kind == "elasticity" and value == 0:
        raise ValueError(
            'sensitivity: there is no elasticity where the value is 0; take kind="semi-elasticity".'
        )
    factor = 1 if kind == "derivative" else np.asarray(free.vector)
    scale = value if kind == "elasticity" else 1
    numbers = np.asarray(slope) * factor / np.asarray(scale)
    return dict(zip(free.names, map(float, numbers), strict=True))
