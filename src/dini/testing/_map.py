"""A function as one of arrays to arrays, at a point, with its derivatives as compiled programs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Arrays = tuple[Array, ...]
Numbers = list[np.ndarray]

# Numbers of one leaf that differ by more than this are of different kinds, and moved apart.
_BAND = 20

# How many rounding errors a direction moves by at most.
_FEW = 16


class Programs:
    """Value, jvp and vjp of `fun(constants, xs)`, each compiled once, and the same of those two.

    Random directions and weights are arguments of the programs, so that another draw compiles
    nothing.
    """

    def __init__(
        self, fun: Callable[[Any, Arrays], Arrays], compiled: bool, value: Callable | None = None
    ) -> None:
        compile_ = jax.jit if compiled else (lambda program: program)
        self.fun = fun
        self.compiled = compiled
        self.value = value or compile_(fun)
        self.jvp = compile_(functools.partial(_jvp, fun))
        self.vjp = compile_(functools.partial(_vjp, fun))

    @functools.cached_property
    def forward(self) -> "Programs":
        """Of (constants, v), xs ↦ J(xs) v."""
        return self._derived(_jvp, self.jvp)

    @functools.cached_property
    def reverse(self) -> "Programs":
        """Of (constants, w), xs ↦ J(xs)ᵀ w."""
        return self._derived(_vjp, self.vjp)

    def _derived(self, mode: Callable, program: Callable) -> "Programs":
        fun = lambda c, xs: mode(self.fun, c[0], xs, c[1])[1]
        return Programs(fun, self.compiled, lambda c, xs: program(c[0], xs, c[1])[1])


def _jvp(fun: Callable, constants: Any, xs: Arrays, vs: Arrays) -> tuple[Arrays, Arrays]:
    return jax.jvp(lambda xs: fun(constants, xs), (xs,), (vs,))


def _vjp(fun: Callable, constants: Any, xs: Arrays, ws: Arrays) -> tuple[Arrays, Arrays]:
    ys, pullback = jax.vjp(lambda xs: fun(constants, xs), xs)
    return ys, pullback(ws)[0]


class Map(NamedTuple):
    """xs ↦ ys near a point.

    Attributes:
        programs: the function and its derivatives.
        constants: their first argument.
        xs: the point, inexact arrays.
        inputs, outputs: what the leaves are called.
        like: the shapes and dtypes of ys.
    """

    programs: Programs
    constants: Any
    xs: Arrays
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    like: tuple[jax.ShapeDtypeStruct, ...]

    def value(self, xs: Arrays) -> Arrays:
        """Ys."""
        return self.programs.value(self.constants, xs)

    def jvp(self, vs: Arrays) -> Numbers:
        """J v, in double precision."""
        return [wide(t) for t in self.programs.jvp(self.constants, self.xs, vs)[1]]

    def vjp(self, ws: Arrays) -> Numbers:
        """Jᵀ w, in double precision."""
        return [wide(t) for t in self.programs.vjp(self.constants, self.xs, ws)[1]]

    @property
    def eps(self) -> float:
        """The machine epsilon of the least precise leaf."""
        return max(map(_eps, (*self.xs, *self.like)), default=0.0)

    def nearby(self, random: np.random.Generator, distance: float = 0.0) -> "Map":
        """The same function where every number has moved by a share of itself.

        By default that is as far as rounding may have moved it.
        """
        share = lambda x: max(distance, _eps(x)) * random.choice((-1.0, -0.5, 0.5, 1.0), x.shape)
        xs = tuple(_moved(x, share(x)) for x in self.xs)
        return self._replace(xs=xs)

    def forward(self, vs: Arrays) -> "Map":
        """The map to J v."""
        return self._replace(programs=self.programs.forward, constants=(self.constants, vs))

    def reverse(self, ws: Arrays) -> "Map":
        """The map to Jᵀ w."""
        like = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in self.xs)
        return self._replace(
            programs=self.programs.reverse,
            constants=(self.constants, ws),
            outputs=self.inputs,
            like=like,
        )


def turned(vs: Arrays, random: np.random.Generator) -> Arrays:
    """A direction whose numbers have moved by a few rounding errors: what cancels shows its own."""
    return tuple(_moved(v, _FEW * _eps(v) * random.uniform(-1, 1, v.shape)) for v in vs)


def _moved(x: Array, shares: np.ndarray) -> Array:
    return narrow(wide(x) * (1 + shares), x)


def _eps(x: Array | jax.ShapeDtypeStruct) -> float:
    return float(jnp.finfo(x.dtype).eps)


class Block(NamedTuple):
    """Numbers of one leaf that are of one size, and move together.

    Attributes:
        leaf: which leaf.
        indices: their places in the leaf when it is flat, shape (n,).
        size: the largest of them, 1 where all are zero.
    """

    leaf: int
    indices: np.ndarray
    size: float

    def part(self, indices: np.ndarray) -> "Block":
        """Some of these numbers."""
        return self._replace(indices=indices)

    def tangents(self, xs: Arrays, values: np.ndarray) -> Arrays:
        """Tangents with these values, times the block's size, here, and zeros elsewhere."""
        vs = [jnp.zeros(x.shape, x.dtype) for x in xs]
        v = np.zeros(xs[self.leaf].size, values.dtype)
        v[self.indices] = self.size * values
        vs[self.leaf] = narrow(v.reshape(xs[self.leaf].shape), vs[self.leaf])
        return tuple(vs)


def blocks(xs: Sequence[Array]) -> list[Block]:
    """The leaves, split where their numbers differ in size by many orders of magnitude."""
    found = []
    for leaf, x in enumerate(xs):
        if not x.size:
            continue
        size = np.abs(wide(x)).reshape(-1)
        size = np.where(np.isfinite(size), size, 0)
        largest = np.max(size)
        with np.errstate(divide="ignore", invalid="ignore"):
            band = np.where(size > 0, np.log2(largest / size) // _BAND, 0)
        for b in np.unique(band):
            indices = np.flatnonzero(band == b)
            found.append(Block(leaf, indices, float(np.max(size[indices])) or 1.0))
    return found


def draw(random: np.random.Generator, shape: Sequence[int], is_complex: bool) -> np.ndarray:
    """Random numbers of size 1/2 to 1 and of either sign: none so small that it hides a mistake."""
    real = random.uniform(0.5, 1, shape) * random.choice((-1.0, 1.0), shape)
    return real + 1j * draw(random, shape, False) if is_complex else real


def direction(xs: Arrays, random: np.random.Generator) -> Arrays:
    """A random tangent, each number of it of the size of its block."""
    total = [np.zeros(x.shape, wide(x).dtype) for x in xs]
    for b in blocks(xs):
        values = draw(random, b.indices.shape, is_complex(xs[b.leaf]))
        total[b.leaf].reshape(-1)[b.indices] = b.size * values
    return tuple(jnp.asarray(t.astype(x.dtype)) for t, x in zip(total, xs, strict=True))


def weights(random: np.random.Generator, like: Sequence[Any]) -> Arrays:
    """A random cotangent."""
    return tuple(narrow(draw(random, s.shape, is_complex(s)), s) for s in like)


def only(arrays: Arrays, k: int) -> Arrays:
    """The arrays with zeros in the place of all but one."""
    return tuple(x if j == k else jnp.zeros_like(x) for j, x in enumerate(arrays))


def wide(x: Any) -> np.ndarray:
    """The numbers of an array in double precision, on the host."""
    x = np.asarray(x)
    return x.astype(np.complex128 if jnp.iscomplexobj(x) else np.float64)


def narrow(x: np.ndarray, like: Any) -> Array:
    """Numbers as a JAX array of the dtype and weak type of another."""
    if getattr(like, "weak_type", False) and not x.shape:
        return jnp.asarray(x.item())
    return jnp.asarray(x.astype(like.dtype))


def kind(x: Any) -> str:
    """The dtype and shape of an array, for errors: `float64[2, 3]`."""
    return f"{x.dtype}{list(x.shape)}"


def is_complex(x: Array | jax.ShapeDtypeStruct) -> bool:
    """Whether a leaf holds complex numbers."""
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


def number(path: str, index: int, like: Array | jax.ShapeDtypeStruct) -> str:
    """A number of a leaf by name: `theta['a'][1, 2]`."""
    if not like.shape:
        return path
    return f"{path}[{', '.join(str(int(i)) for i in np.unravel_index(index, like.shape))}]"
