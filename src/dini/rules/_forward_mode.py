"""Reverse mode by way of forward mode, for few inputs and many intermediates."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from dini.rules._custom_rule import custom_rule
from dini.rules._positions import bind


def forward_mode(fn: Callable) -> Callable:
    """Takes the reverse mode of a function through its forward-mode Jacobian.

    For a function of few numbers with many intermediates: its reverse mode costs one forward
    derivative for each number among its arguments and keeps none of its intermediates, so that
    memory does not grow with the length of a loop, and a `lax.while_loop` is no obstacle. Forward
    mode is JAX's own, and derivatives of every order follow.

    Args:
        fn: any function that JAX can differentiate in forward mode, of real numbers; arguments and
            keywords as for `dini.custom_rule`. What it captures is differentiated as JAX does.

    Returns:
        The same function, differentiable in both modes.

    Raises:
        TypeError: for a complex argument.

    Reference: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> PyTree:
        values, positions = bind(fn, args, kwargs)
        for name, value in zip(positions.names, values, strict=True):
            if any(map(jnp.iscomplexobj, jtu.tree_leaves(eqx.filter(value, eqx.is_array)))):
                raise TypeError(f"dini.forward_mode: the argument `{name}` is complex.")
        by_position = functools.wraps(fn)(lambda *values: positions.call(fn, values))
        del by_position.__wrapped__
        return _forward(by_position)(*values)

    return call


# θ̄ = Jᵀ c with the columns of J from forward mode: no intermediate is kept, and nothing transposed.
def _forward(fn: Callable) -> Callable:
    f = custom_rule(fn)

    def tangent(out: PyTree, primals: tuple, tangents: tuple) -> PyTree:
        del out
        still = eqx.filter(primals, eqx.is_inexact_array, inverse=True)

        def along(moving: tuple, tangents: tuple) -> PyTree:
            def of_moving(moving: tuple) -> PyTree:
                return eqx.filter(fn(*eqx.combine(moving, still)), eqx.is_inexact_array)

            return jax.jvp(of_moving, (moving,), (tangents,))[1]

        # In its turn, so that the derivative of the derivative is taken in the same way.
        return _forward(along)(eqx.filter(primals, eqx.is_inexact_array), tangents)

    def pullback(out: PyTree, primals: tuple, cotangent: PyTree, moving: tuple) -> tuple:
        del moving
        flat, unravel = ravel_pytree(eqx.filter(primals, eqx.is_inexact_array))
        columns = jax.vmap(lambda e: tangent(out, primals, unravel(e)))(
            jnp.eye(flat.size, dtype=flat.dtype)
        )
        products = jtu.tree_map(
            lambda column, c: (column.reshape(flat.size, -1) @ c.reshape(-1)).real,
            columns,
            cotangent,
        )
        return unravel(sum(jtu.tree_leaves(products), jnp.zeros_like(flat)))

    f._defpair(tangent, pullback)
    return f
