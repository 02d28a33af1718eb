"""Derivatives of several numbers of which some have none."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from dini.rules import linear_map


def defined_where(
    fun: Callable[[PyTree, PyTree], PyTree],
    defined: Callable[[PyTree], PyTree],
    residuals: PyTree[Array],
    x: PyTree[Array],
    still: Callable[[PyTree, PyTree], PyTree] = lambda residuals, _: residuals,
) -> PyTree[Array]:
    """A tangent, linear in x, of which only a part exists: the rest is NaN.

    In reverse mode a number that no derivative exists of must have the cotangent 0; any other
    makes the whole result NaN.

    Args:
        fun: `fun(residuals, x)`, linear in x, and finite where the derivative does not exist too.
        defined: `defined(residuals)`, a tree like the result of fun, of truth values that broadcast
            against its leaves: where there is a derivative.
        residuals: arrays that both read.
        x: the argument.
        still: `still(residuals, cotangent)`, the residuals with those held still that no cotangent
            other than 0 is of: they may have no derivative.
    """
    like = jtu.tree_map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), x)

    def forward(residuals: PyTree, x: PyTree) -> PyTree:
        nan_elsewhere = lambda ok, y: jnp.where(ok, y, jnp.nan)
        return jtu.tree_map(nan_elsewhere, defined(residuals), fun(residuals, x))

    def reverse(residuals: PyTree, ct: PyTree) -> PyTree:
        ok, held = defined(residuals), still(residuals, ct)
        pulled = jax.linear_transpose(lambda x: fun(held, x), like)
        (out,) = pulled(jtu.tree_map(lambda ok, c: jnp.where(ok, c, jnp.zeros_like(c)), ok, ct))
        used = jtu.tree_map(lambda ok, c: jnp.any(~ok & (c != 0)), ok, ct)
        loud = functools.reduce(jnp.logical_or, jtu.tree_leaves(used))
        return jtu.tree_map(lambda x: jnp.where(loud, jnp.nan, x), out)

    return linear_map(forward, reverse, residuals, x)
