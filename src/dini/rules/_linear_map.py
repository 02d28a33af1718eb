"""A linear map with its transpose, as a JAX primitive."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.extend as jex
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, PyTree

from dini._tree import asarrays


def linear_map(
    fun: Callable[[PyTree, PyTree], PyTree],
    transpose: Callable[[PyTree, PyTree], PyTree],
    residuals: PyTree[Array],
    x: PyTree[Array],
    out: PyTree[jax.ShapeDtypeStruct] | None = None,
) -> PyTree[Array]:
    """Applies a linear map whose transpose is given.

    Args:
        fun: `fun(residuals, x)`, linear in `x`.
        transpose: `transpose(residuals, ct)`, its transpose (without conjugation): for every
            `x` and `ct`, sum(ct * fun(r, x)) = sum(transpose(r, ct) * x).
        residuals: arrays that both functions may read; their tangents are taken through `fun`.
        x: the argument, a pytree of inexact arrays.
        out: shapes and dtypes of the result; found by tracing `fun` where it is not given.

    `fun` and `transpose` are traced only when they are needed: a map that is used in one
    direction alone may lack the other. They must capture no tracer, and be hashable.

    Returns:
        `fun(residuals, x)`.
    """
    x = jtu.tree_map(jnp.asarray, x)
    if out is None:
        out = jax.eval_shape(fun, residuals, x)
    flat_r, tree_r = jtu.tree_flatten(residuals)
    flat_x, tree_x = jtu.tree_flatten(x)
    flat_out, tree_out = jtu.tree_flatten(out)
    flat = linear_map_p.bind(
        *flat_r,
        *flat_x,
        fun=_Flat(fun, tree_r, tree_x),
        transpose=_Flat(transpose, tree_r, tree_out),
        residuals=len(flat_r),
        shapes_in=tuple((v.shape, v.dtype) for v in flat_x),
        shapes_out=tuple((v.shape, v.dtype) for v in flat_out),
    )
    return jtu.tree_unflatten(tree_out, flat)


class _Flat(NamedTuple):
    """A function of two trees as a function of their leaves; equal when its parts are."""

    fun: Callable[[PyTree, PyTree], PyTree]
    tree_r: Any
    tree_x: Any

    def __call__(self, flat_r: Sequence[Array], flat_x: Sequence[Array]) -> list[Array]:
        # JAX hands constants on as Python numbers with a dtype.
        r = self.tree_r.unflatten(asarrays(list(flat_r)))
        x = self.tree_x.unflatten(asarrays(list(flat_x)))
        return jtu.tree_leaves(self.fun(r, x))


class _Batched(NamedTuple):
    """`_Flat` over a leading axis of the argument, and of those residuals that have one."""

    fun: Callable
    axes: tuple[int | None, ...]

    def __call__(self, flat_r: Sequence[Array], flat_x: Sequence[Array]) -> list[Array]:
        axes_x = [0] * len(flat_x)
        return jax.vmap(self.fun, in_axes=(list(self.axes), axes_x))(list(flat_r), list(flat_x))


linear_map_p = jex.core.Primitive("linear_map")
linear_map_p.multiple_results = True


def _apply(*args: Array, fun: Callable, residuals: int, **_: Any) -> list[Array]:
    return fun(args[:residuals], args[residuals:])


def _abstract(*_: Any, shapes_out: tuple, **__: Any) -> list[Any]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in shapes_out]


# d/dt A(r) x = A(r) ẋ + (∂r A(r) ṙ) x: the same map on ẋ, plus fun's own tangent in r.
def _jvp(primals: Sequence[Array], tangents: Sequence[Any], **params: Any) -> tuple[list, list]:
    n = params["residuals"]
    r, x = primals[:n], primals[n:]
    r_dot, x_dot = tangents[:n], tangents[n:]
    out = linear_map_p.bind(*r, *x, **params)
    out_dot = [ad.Zero(jax.typeof(o).to_tangent_aval()) for o in out]
    if any(type(t) is not ad.Zero for t in x_dot):
        out_dot = linear_map_p.bind(*r, *map(ad.instantiate_zeros, x_dot), **params)
    moving = [i for i, t in enumerate(r_dot) if type(t) is not ad.Zero]
    if moving:

        def of_moving(*values: Array) -> list[Array]:
            full = list(r)
            for i, v in zip(moving, values, strict=True):
                full[i] = v
            return params["fun"](full, x)

        _, more = jax.jvp(of_moving, [r[i] for i in moving], [r_dot[i] for i in moving])
        out_dot = list(map(ad.add_tangents, out_dot, more))
    return out, out_dot


# ⟨c, A x⟩ = ⟨Aᵀ c, x⟩: the same primitive with the two functions exchanged.
def _transpose(cts: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    n = params["residuals"]
    out = linear_map_p.bind(
        *args[:n],
        *map(ad.instantiate_zeros, cts),
        fun=params["transpose"],
        transpose=params["fun"],
        residuals=n,
        shapes_in=params["shapes_out"],
        shapes_out=params["shapes_in"],
    )
    return [None] * n + list(out)


def _batch(args: Sequence[Array], dims: Sequence[Any], **params: Any) -> tuple[list, list]:
    n = params["residuals"]
    (size,) = {a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None}
    fronts = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True)]
    axes = tuple(None if d is None else 0 for d in dims[:n])
    x = [
        jnp.broadcast_to(a, (size, *a.shape)) if d is None else a
        for a, d in zip(fronts[n:], dims[n:], strict=True)
    ]
    out = linear_map_p.bind(
        *fronts[:n],
        *x,
        fun=_Batched(params["fun"], axes),
        transpose=_Batched(params["transpose"], axes),
        residuals=n,
        shapes_in=tuple(((size, *shape), dtype) for shape, dtype in params["shapes_in"]),
        shapes_out=tuple(((size, *shape), dtype) for shape, dtype in params["shapes_out"]),
    )
    return out, [0] * len(out)


linear_map_p.def_impl(_apply)
linear_map_p.def_abstract_eval(_abstract)
ad.primitive_jvps[linear_map_p] = _jvp
ad.primitive_transposes[linear_map_p] = _transpose
batching.primitive_batchers[linear_map_p] = _batch
mlir.register_lowering(linear_map_p, mlir.lower_fun(_apply, multiple_results=True))
