"""A call of the user's function as a map of its numbers, and what they are called."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PyTree

from dini._tree import asarrays, is_inexact
from dini.testing._map import Arrays, Map, Programs


class Call:
    """f at a point.

    Attributes:
        name: what f is called.
        moving: the floating-point and complex leaves of the arguments, as JAX arrays.
        discrete: the arrays of integers and booleans among the leaves.
    """

    def __init__(self, f: Callable, args: tuple, kwargs: Mapping[str, PyTree]) -> None:
        self.f = f
        self.name = getattr(f, "__name__", None) or type(f).__name__
        paths, self._treedef = jtu.tree_flatten_with_path((args, dict(kwargs)))
        self._leaves = asarrays([leaf for _, leaf in paths])
        names = _names(f, args)
        self._moving = [i for i, x in enumerate(self._leaves) if is_inexact(x)]
        self._discrete = [i for i, x in enumerate(self._leaves) if _is_discrete(x)]
        self._paths = {i: _path(names, paths[i][0]) for i in self._moving}
        self.moving: Arrays = tuple(self._leaves[i] for i in self._moving)
        self.discrete: list[Array] = [self._leaves[i] for i in self._discrete]

    def map(self, compiled: bool) -> Map:
        """The floating-point leaves of the arguments to those of the result."""
        leaves = jtu.tree_flatten_with_path(self.f_of(self._moving)(*self.moving))[0]
        found = [("out" + jtu.keystr(path), y) for path, y in leaves if is_inexact(y)]

        def fun(constants: tuple, xs: Arrays) -> Arrays:
            del constants
            out = jtu.tree_leaves(self.f_of(self._moving)(*xs))
            return tuple(y for y in out if is_inexact(y))

        return Map(
            Programs(fun, compiled),
            (),
            self.moving,
            tuple(self._paths.values()),
            tuple(name for name, _ in found),
            tuple(jax.ShapeDtypeStruct(y.shape, y.dtype) for _, y in found),
        )

    def of_arrays(self, *arrays: Array) -> PyTree:
        """The result as a function of all leaves that are arrays: the moving, then the discrete."""
        return self.f_of([*self._moving, *self._discrete])(*arrays)

    def f_of(self, which: Sequence[int]) -> Callable[..., PyTree]:
        """The result as a function of some of the leaves."""

        def of_leaves(*values: Array) -> PyTree:
            leaves = list(self._leaves)
            for i, x in zip(which, values, strict=True):
                leaves[i] = x
            args, kwargs = self._treedef.unflatten(leaves)
            return asarrays(self.f(*args, **kwargs))

        return of_leaves


def _is_discrete(leaf: Any) -> bool:
    is_array = isinstance(leaf, jax.Array | np.ndarray | np.generic)
    return is_array and leaf.dtype.kind in "biu" and not jnp.issubdtype(leaf.dtype, jnp.floating)


def _names(f: Callable, args: tuple) -> list[str]:
    """What the positional arguments are called: by the signature, or by their number."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # written in C, or no function
        return [f"args[{i}]" for i in range(len(args))]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    return [*names, *(f"{rest}[{i}]" for i in range(len(args)))][: len(args)]


def _path(names: list[str], path: tuple) -> str:
    part, which, *inside = path
    name = names[which.idx] if part.idx == 0 else which.key
    return name + jtu.keystr(tuple(inside))
