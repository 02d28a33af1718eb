"""Derivatives at a solution that is already known."""

import functools
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from dini._tree import asarrays
from dini.conditions import Condition
from dini.implicit._call import Decorated
from dini.implicit._options import SolverOptions
from dini.implicit._solver import custom_root


def root_jvp(
    residual: Callable,
    z: PyTree,
    args: Sequence[PyTree],
    tangents: Sequence[PyTree],
    **options: Unpack[SolverOptions],
) -> PyTree:
    """ż = −(∂zF)⁻¹ ∂θF θ̇ at a known root z of F(z, *args).

    Args:
        residual: F.
        z: the root; it is checked.
        args: the further arguments of F, a tuple.
        tangents: one for each argument, a tree like it; None for no tangent.
        **options: those of `custom_root`, but for has_aux.

    Returns:
        The tangent of z, a tree like z.

    Raises:
        TypeError, RuntimeError: as `custom_root`; ValueError for a wrong number of tangents.
    """
    args = tuple(asarrays(a) for a in args)
    if len(tangents) != len(args):
        raise ValueError(
            f"root_jvp: {len(args)} arguments were given, and {len(tangents)} tangents."
        )
    moving = [i for i, t in enumerate(tangents) if t is not None]
    at = _at_root(residual, options)

    def of_moving(*values: PyTree) -> PyTree:
        full = list(args)
        for i, v in zip(moving, values, strict=True):
            full[i] = v
        return at(z, *full)

    if not moving:
        return jtu.tree_map(jnp.zeros_like, eqx.filter(at(z, *args), eqx.is_inexact_array))
    primals = [args[i] for i in moving]
    dots = [jtu.tree_map(_like, tangents[i], args[i]) for i in moving]
    _, z_dot = eqx.filter_jvp(of_moving, primals, dots)
    return z_dot


def root_vjp(
    residual: Callable,
    z: PyTree,
    args: Sequence[PyTree],
    cotangent: PyTree,
    **options: Unpack[SolverOptions],
) -> tuple[PyTree, ...]:
    """θ̄ = −(∂θF)ᵀ (∂zF)⁻ᵀ z̄ at a known root z of F(z, *args).

    Args:
        residual: F.
        z: the root; it is checked.
        args: the further arguments of F, a tuple.
        cotangent: a tree like z.
        **options: those of `custom_root`, but for has_aux.

    Returns:
        One cotangent for each argument, a tree like it, with None for what is not differentiated.

    Raises:
        TypeError, RuntimeError: as `custom_root`.
    """
    at = _at_root(residual, options)
    args = tuple(asarrays(a) for a in args)
    _, pullback = eqx.filter_vjp(lambda args: at(z, *args), args)
    (cotangents,) = pullback(jtu.tree_map(_like, cotangent, asarrays(z)))
    return cotangents


def root_jacobian(
    residual: Callable,
    z: PyTree,
    args: Sequence[PyTree],
    argnums: int | Sequence[int] = 0,
    **options: Unpack[SolverOptions],
) -> PyTree:
    """∂z/∂θ = −(∂zF)⁻¹ ∂θF at a known root z of F(z, *args), from one factorisation of ∂zF.

    Args:
        residual: F.
        z: the root; it is checked.
        args: the further arguments of F, a tuple.
        argnums: which of `args`, counted from 0; a sequence gives a tuple of Jacobians.
        **options: those of `custom_root`, but for has_aux.

    Returns:
        As `jax.jacfwd` and `jax.jacrev` (the cheaper of which is taken) give it: for each leaf of z
        a tree like the argument, of shapes z.shape + argument.shape.

    Raises:
        TypeError, RuntimeError: as `custom_root`; IndexError for an argnum out of range.
    """
    at = _at_root(residual, options)
    args = tuple(asarrays(a) for a in args)
    given = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    numbers = [range(len(args))[i] for i in given]
    inputs = sum(x.size for i in numbers for x in jtu.tree_leaves(args[i]) if eqx.is_array(x))
    outputs = sum(jnp.size(x) for x in jtu.tree_leaves(z))
    is_complex = any(map(jnp.iscomplexobj, jtu.tree_leaves(z)))
    jacobian = jax.jacfwd if is_complex or inputs <= outputs else jax.jacrev
    shifted = numbers[0] + 1 if isinstance(argnums, int) else tuple(i + 1 for i in numbers)
    return jacobian(at, argnums=shifted)(z, *args)


def _at_root(residual: Callable, options: SolverOptions) -> Decorated:
    """The root as a function of the arguments; the same object again for the same function."""
    if options.get("has_aux"):
        raise TypeError("a residual at a known root returns no aux.")
    known = (_remembered if _captures_nothing(residual) else _known)(residual)
    return known.with_options(**options) if options else known


def _captures_nothing(fn: Callable | None) -> bool:
    if isinstance(fn, Condition):
        return all(map(_captures_nothing, fn.functions))
    return fn is None or (isinstance(fn, FunctionType) and fn.__closure__ is None)


def _known(residual: Callable) -> Decorated:
    def known_root(z: PyTree, *args: Any) -> PyTree:
        del args
        return z

    names = (getattr(residual, name, None) for name in ("__qualname__", "name"))
    inner = next((n for n in names if n), type(residual).__name__)
    known_root.__qualname__ = f"(known root of {inner})"
    return custom_root(residual)(known_root)


def _like(x: Any, primal: Any) -> Any:
    """A Python number as an array of the dtype of what it belongs to."""
    return jnp.asarray(x, primal.dtype) if isinstance(x, int | float | complex) else asarrays(x)


# A function that captures nothing can be kept, so that a second call compiles nothing.
_remembered = functools.lru_cache(maxsize=256)(_known)
