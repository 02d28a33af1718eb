"""A function near a point: moved leaves in, one vector of numbers out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from dini import _tree

# The tangent of each leaf that moves, by the leaf's number: float64 or complex128 arrays.
Direction = dict[int, np.ndarray]

_TRACED = (
    "{name} calls its function on concrete numbers, many times, and cannot be traced: call it "
    "outside `jax.jit`, `jax.grad` and `jax.vmap`. `jax.jvp` is what works inside."
)


class Sample(NamedTuple):
    """What a function gives at a point, and the point: the leaves that can move."""

    values: np.ndarray
    x: dict[int, np.ndarray]


class Function:
    """f around `primals`, called eagerly; arithmetic between the calls is NumPy's, in double.

    A leaf reaches f in the kind that it came in: JAX array, NumPy array, Python float. Only leaves
    of floating point, real or complex, ever move.

    Attributes:
        out: f(*primals), as f returned it.
        here: its inexact numbers, a float64 or complex128 vector of shape (size,).
        eps: the machine epsilon of each number of `here`, shape (size,).
    """

    def __init__(self, f: Callable, primals: Sequence[PyTree], name: str) -> None:
        if not isinstance(primals, tuple | list):
            raise TypeError(f"{name}: primals must be a tuple, one entry an argument of f")
        self.f, self.name = f, name
        self.leaves, self.treedef = jtu.tree_flatten(tuple(primals))
        self._refuse_tracers(self.leaves)
        self.x = {i: _wide(leaf) for i, leaf in enumerate(self.leaves) if is_inexact(leaf)}
        self.out = f(*primals)
        self.out_leaves, self.out_treedef = jtu.tree_flatten(self.out)
        self._refuse_tracers(self.out_leaves)
        self.here = Sample(self.vector(self.out_leaves), self.x)
        inexact = [y for y in self.out_leaves if is_inexact(y)]
        self.eps = np.concatenate([np.full(np.size(y), _eps(y)) for y in inexact] or [np.zeros(0)])

    def leaf_eps(self, index: int) -> float:
        """The precision that a step in a leaf must fit: the coarsest of the leaf's and f's own."""
        return max(_eps(self.leaves[index]), self.eps.max(initial=0.0))

    def path(self, index: int) -> str:
        """`primals[0]['a']`: a leaf by name."""
        numbered = self.treedef.unflatten(range(len(self.leaves)))
        return "primals" + jtu.keystr(jtu.tree_flatten_with_path(numbered)[0][index][0])

    def direction(self, tangents: Sequence[PyTree]) -> Direction:
        """The tangents of the leaves that can move; checked, and without those that are zero.

        None stands for a zero tangent, of a leaf or of a whole argument.
        """
        trees = self.treedef.unflatten(range(len(self.leaves)))
        if not isinstance(tangents, tuple | list) or len(tangents) != len(trees):
            raise TypeError(f"{self.name}: tangents must be a tuple of {len(trees)}, as primals is")
        direction = {}
        for tree, tangent in zip(trees, tangents, strict=True):
            numbers, treedef = jtu.tree_flatten(tree)
            parts = [None] * len(numbers) if tangent is None else treedef.flatten_up_to(tangent)
            for index, part in zip(numbers, parts, strict=True):
                v = self._tangent(index, part)
                if v is not None and np.any(v):
                    direction[index] = v
        return direction

    def _tangent(self, index: int, tangent: Any) -> np.ndarray | None:
        if tangent is None or getattr(tangent, "dtype", None) == jax.dtypes.float0:
            return None
        self._refuse_tracers([tangent])
        where = f"{self.name}: the tangent of {self.path(index)}"
        if index not in self.x:
            if _is_zero(tangent):
                return None
            raise TypeError(f"{where}, which is no float, must be None, float0 or zero")
        if not (is_inexact(tangent) or _is_zero(tangent) or np.asarray(tangent).dtype.kind in "iu"):
            raise TypeError(f"{where} must be an array of numbers, got {tangent!r}")
        v, x = _wide(tangent), self.x[index]
        if v.shape != x.shape:
            raise ValueError(f"{where} has shape {v.shape}, the leaf has shape {x.shape}")
        if np.iscomplexobj(v) and not np.iscomplexobj(x):
            raise TypeError(f"{where} is complex, the leaf is real")
        if not np.all(np.isfinite(v)):
            raise ValueError(f"{where} must be finite")
        return v

    def at(self, direction: Direction, t: float) -> Sample:
        """The value at x + t v, and the x + t v that the leaves' dtypes could hold."""
        leaves = list(self.leaves)
        x = dict(self.x)
        for i, v in direction.items():
            leaves[i] = like(leaves[i], self.x[i] + t * v)
            x[i] = _wide(leaves[i])
        return Sample(self.vector(self.call(leaves)), x)

    def call(self, leaves: list[Any]) -> list[Any]:
        """The leaves of f's value at other leaves; NumPy says nothing of points outside."""
        with np.errstate(all="ignore"):
            out = self.f(*self.treedef.unflatten(leaves))
        out_leaves, treedef = jtu.tree_flatten(out)
        shapes = [np.shape(y) for y in out_leaves]
        if treedef != self.out_treedef or shapes != [np.shape(y) for y in self.out_leaves]:
            raise ValueError(f"{self.name}: what f returns changes its structure or its shapes")
        self._refuse_tracers(out_leaves)
        return out_leaves

    def vector(self, leaves: list[Any]) -> np.ndarray:
        """The inexact numbers of leaves like those of `out`, as one vector."""
        inexact = [z for y, z in zip(self.out_leaves, leaves, strict=True) if is_inexact(y)]
        return np.concatenate([_wide(z).reshape(-1) for z in inexact] or [np.zeros(0)])

    def unravel(self, vector: np.ndarray, real: bool = False) -> list[Any]:
        """A vector as leaves like those of `out`, their real dtypes with `real`.

        What is no float has the tangent that `jax.jvp` gives it: zeros of dtype float0.
        """
        leaves, start = [], 0
        for y in self.out_leaves:
            if not is_inexact(y):
                leaves.append(np.zeros(np.shape(y), jax.dtypes.float0))
                continue
            stop = start + np.size(y)
            part, start = vector[start:stop].reshape(np.shape(y)), stop
            dtype = jnp.finfo(_dtype(y)).dtype if real else _dtype(y)
            if not np.issubdtype(dtype, np.complexfloating):
                part = np.real(part)
            with np.errstate(over="ignore"):
                part = part.astype(dtype)
            leaves.append(jnp.asarray(part) if isinstance(y, jax.Array) else part)
        return leaves

    def tangent_out(self, vector: np.ndarray) -> PyTree:
        """A vector as a tangent of `out`: NaN where f or the tangent itself is not finite."""
        known = np.isfinite(vector) & np.isfinite(self.here.values)
        return self.out_treedef.unflatten(self.unravel(np.where(known, vector, np.nan)))

    def error_out(self, vector: np.ndarray) -> PyTree:
        """A vector of error bars as a tree like `out`, of real numbers."""
        return self.out_treedef.unflatten(self.unravel(vector, real=True))

    def _refuse_tracers(self, leaves: Iterable[Any]) -> None:
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            raise TypeError(_TRACED.format(name=self.name))


def travelled(direction: Direction, a: Sample, b: Sample) -> float:
    """The t of the way from b to a, as it was after rounding.

    The points are x + t v rounded to the leaves' dtypes. Of all t, the one nearest to what was
    travelled, ⟨v, x_a − x_b⟩ / ⟨v, v⟩ with every leaf in units of its own tangent, makes the
    quotient exact in the step where one number moves. NaN from a point that is not finite.
    """
    way = square = 0.0
    with np.errstate(invalid="ignore"):
        for i, v in direction.items():
            moves = v != 0  # what stands still may be infinite
            size = np.max(np.abs(v))
            unit = v[moves] / size
            way += np.sum(np.real(np.conj(unit) * ((a.x[i] - b.x[i])[moves] / size)))
            square += np.sum(np.abs(unit) ** 2)
    return float(way / square)


def slope(direction: Direction, a: Sample, b: Sample) -> np.ndarray:
    """The difference quotient (f_a − f_b) / t, t being what was travelled."""
    with np.errstate(all="ignore"):
        return (a.values - b.values) / travelled(direction, a, b)


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is a float, real or complex: a Python number, a scalar or an array."""
    return _tree.is_inexact(leaf) or isinstance(leaf, float | complex)


def like(leaf: Any, x: np.ndarray, dtype: Any = None) -> Any:
    """Numbers in the kind and the weak type of a leaf, and in its precision or another dtype."""
    dtype = _dtype(leaf) if dtype is None else dtype
    if isinstance(leaf, jax.Array):
        weak = leaf.weak_type and leaf.ndim == 0
        return jnp.asarray(x.item()) if weak else jnp.asarray(x.astype(dtype))
    if isinstance(leaf, np.generic):
        return x.astype(dtype)[()]
    return x.astype(dtype) if isinstance(leaf, np.ndarray) else x.astype(dtype).item()


def _dtype(leaf: Any) -> np.dtype:
    return leaf.dtype if hasattr(leaf, "dtype") else np.dtype(type(leaf))


def _eps(leaf: Any) -> float:
    return float(jnp.finfo(_dtype(leaf)).eps)


def _wide(leaf: Any) -> np.ndarray:
    x = np.asarray(leaf)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def _is_zero(tangent: Any) -> bool:
    x = np.asarray(tangent)
    return x.dtype.kind in "biufc" and not np.any(x)
