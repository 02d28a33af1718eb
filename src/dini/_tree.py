"""Pytrees as real vectors of one dtype, and the tolerances that a dtype allows."""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.custom_derivatives import zero_from_primal
from jaxtyping import Array, Bool, Float, PyTree


def is_numeric(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers or keys, or a Python float or complex.

    A Python bool, int or string is configuration: it reaches the user's function unchanged.
    """
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind in "biufcV" and leaf.dtype.names is None
    return isinstance(leaf, float | complex) or eqx.is_array(leaf)


def asarrays(tree: PyTree) -> PyTree:
    """Turns every numeric leaf into a JAX array, a Python float into a weakly typed one."""

    def leaf(x: Any) -> Any:
        # A constant that JAX traced is a Python number with a dtype.
        if isinstance(x, int | float | complex) and (dtype := getattr(x, "dtype", None)):
            return jnp.asarray(x, dtype)
        return jnp.asarray(x) if is_numeric(x) and not eqx.is_array(x) else x

    return jtu.tree_map(leaf, tree)


class Closed(eqx.Module):
    """A function whose captured arrays, traced ones too, are leaves; it returns arrays."""

    fn: Callable

    def __init__(self, fn: Callable, *args: PyTree) -> None:
        """Traces `fn` once, for arguments like these."""
        self.fn = eqx.filter_closure_convert(fn, *args)

    def __call__(self, *args: PyTree) -> PyTree:
        """The value; only the traced program runs, and no more of the user's Python."""
        return asarrays(self.fn(*args))


def stop_gradient(tree: PyTree) -> PyTree:
    """`jax.lax.stop_gradient` on the inexact arrays of a tree, whatever else it holds."""
    return jtu.tree_map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)


def tangent_of(primal: PyTree, tangent: PyTree | None) -> PyTree:
    """The tangent where the primal is inexact, the zeros that JAX expects elsewhere; None is 0."""
    zeros = zero_from_primal(primal, symbolic_zeros=True)
    if tangent is None:
        return zeros
    leaves, treedef = jtu.tree_flatten(zeros)
    return treedef.unflatten(
        t if eqx.is_inexact_array(t) else zero
        for t, zero in zip(treedef.flatten_up_to(tangent), leaves, strict=True)
    )


def batched_with(out: PyTree, inputs: PyTree) -> PyTree:
    """`out`, which `jax.vmap` sees as one result for each input even where it is the same for all.

    JAX takes a result that is not batched for one without a batched tangent, and adds the tangents
    of a batch up, or raises, where it meets the rule of a function of constant value later.
    """
    if not any(isinstance(x, jax.core.Tracer) for x in jtu.tree_leaves(inputs)):
        return out
    numbers = [x for x in jtu.tree_leaves(inputs) if eqx.is_array(x)]
    keys = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    numbers = [jax.random.key_data(x) if keys(x) else x for x in numbers]
    either = functools.reduce(jnp.logical_or, [jnp.any(x == 0) for x in numbers])
    # Both are the same: the compiler drops the choice, and all that leads to it.
    return jtu.tree_map(lambda x: jax.lax.select(either, x, x) if _chosen(x) else x, out)


def split_moving(primals: PyTree, tangents: PyTree) -> tuple[PyTree, PyTree]:
    """The leaves that have a tangent, and those that have None: parts for `eqx.combine`."""
    is_none = lambda t: t is None
    return eqx.partition(primals, jtu.tree_map(lambda t: t is not None, tangents, is_leaf=is_none))


def describe(tree: PyTree) -> str:
    """`float64[3]` or `{a: float64[3], b: int32[]}`: a tree in shapes and dtypes, for errors."""

    def leaf(x: Any) -> str:
        if not hasattr(x, "dtype"):
            return repr(x)
        return f"{x.dtype}[{','.join(map(str, x.shape))}]"

    paths = jtu.tree_flatten_with_path(tree)[0]
    if len(paths) == 1 and not paths[0][0]:
        return leaf(paths[0][1])
    return "{" + ", ".join(f"{jtu.keystr(p)}: {leaf(x)}" for p, x in paths) + "}"


class RealView(eqx.Module):
    """The inexact leaves of a tree seen as real numbers of one dtype.

    A complex leaf counts as its real and its imaginary part, so that a residual need not be
    holomorphic; leaves of different precision are promoted to the widest, which is at least
    the default float dtype. Both directions are linear over the reals. Leaves that are not
    inexact are constants.

    `tree` and `untree` keep the tree's structure (what a solver works on: a uniform real tree
    is left as it is); `ravel` and `unravel` go to a vector of shape (size,) (what a linear solve
    works on).
    """

    structs: tuple[jax.ShapeDtypeStruct, ...] = eqx.field(static=True)
    treedef: Any = eqx.field(static=True)
    constants: tuple[Any, ...]
    dtype: Any = eqx.field(static=True)

    def __init__(self, tree: PyTree) -> None:
        leaves, self.treedef = jtu.tree_flatten(tree)
        inexact = [is_inexact(x) for x in leaves]
        self.constants = tuple(None if i else x for i, x in zip(inexact, leaves, strict=True))
        self.structs = tuple(
            jax.ShapeDtypeStruct(x.shape, x.dtype)
            for i, x in zip(inexact, leaves, strict=True)
            if i
        )
        reals = [jnp.finfo(x.dtype).dtype for x in self.structs]
        self.dtype = jnp.result_type(jnp.result_type(float), *reals)

    @property
    def size(self) -> int:
        """How many real numbers the tree holds."""
        return sum(math.prod(s.shape) * (2 if _is_complex(s) else 1) for s in self.structs)

    @property
    def eps(self) -> float:
        """Machine epsilon of the least precise leaf."""
        return max((float(jnp.finfo(s.dtype).eps) for s in self.structs), default=0.0)

    def _inexact(self, tree: PyTree) -> list[Array]:
        leaves = self.treedef.flatten_up_to(tree)
        return [x for x, c in zip(leaves, self.constants, strict=True) if c is None]

    def _rebuild(self, leaves: list[Array]) -> PyTree:
        remaining = iter(leaves)
        return self.treedef.unflatten([next(remaining) if c is None else c for c in self.constants])

    def tree(self, tree: PyTree) -> PyTree[Float[Array, "..."]]:
        """The same tree with real leaves of one dtype; a complex leaf becomes a pair."""

        def real(x: Array) -> PyTree:
            if jnp.iscomplexobj(x):
                return x.real.astype(self.dtype), x.imag.astype(self.dtype)
            return x.astype(self.dtype)

        remaining = iter([real(x) for x in self._inexact(tree)])
        leaves = [next(remaining) if c is None else None for c in self.constants]
        return self.treedef.unflatten(leaves)

    def untree(self, real: PyTree[Float[Array, "..."]]) -> PyTree:
        """The inverse of `tree`."""
        parts = iter(jtu.tree_leaves(real))
        return self._rebuild([self._join(s, lambda: next(parts)) for s in self.structs])

    def ravel(self, tree: PyTree) -> Float[Array, " size"]:
        """The tree as a vector of shape (size,)."""
        leaves = jtu.tree_leaves(self.tree(tree))
        return jnp.concatenate([x.reshape(-1) for x in leaves] or [jnp.zeros(0, self.dtype)])

    def unravel(self, vector: Float[Array, " size"]) -> PyTree:
        """The inverse of `ravel`."""
        start = 0

        def take(shape: tuple[int, ...]) -> Array:
            nonlocal start
            stop = start + math.prod(shape)
            part, start = vector[start:stop].reshape(shape), stop
            return part

        leaves = []
        for s in self.structs:
            leaves.append(self._join(s, lambda shape=s.shape: take(shape)))
        return self._rebuild(leaves)

    @staticmethod
    def _join(struct: jax.ShapeDtypeStruct, take: Callable[[], Array]) -> Array:
        if not _is_complex(struct):
            return take().astype(struct.dtype)
        part = jnp.finfo(struct.dtype).dtype
        real = take().astype(part)
        return jax.lax.complex(real, take().astype(part))


def _chosen(x: Any) -> bool:
    return eqx.is_array(x) and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def is_inexact(x: Any) -> bool:
    """Whether x is an array, or stands for one, of floating-point or complex numbers."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def _is_complex(struct: jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(struct.dtype, jnp.complexfloating)


def max_abs(vector: Float[Array, " size"]) -> Float[Array, ""]:
    """The largest magnitude in a vector, 0 for an empty one."""
    return jnp.max(jnp.abs(vector), initial=0)


def allowed_error(z: Array, rtol: Any, atol: Any, eps: float) -> Array:
    """What each number of z may be off by: atol + rtol |z|, and never less than rounding."""
    return jnp.maximum(atol + rtol * jnp.abs(z), 64 * eps * (max_abs(z) + atol))


def all_finite(vector: Float[Array, " size"]) -> Bool[Array, ""]:
    """Whether a vector has neither NaN nor infinity."""
    return jnp.all(jnp.isfinite(vector))
