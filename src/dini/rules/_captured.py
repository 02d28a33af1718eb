"""Traced values that a function closes over, and the function with other values for them.

A rule that captures a tracer cannot be turned into a program once: it may call the function that it
belongs to, at other shapes and at every order. So the Python function itself is copied, with new
contents in the cells of its closure.
"""

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.tree_util as jtu
from jaxtyping import Array, PyTree


def captured(functions: PyTree[Callable]) -> tuple[jax.core.Tracer, ...]:
    """The traced values that the functions of a tree close over, each once."""
    found: dict[int, jax.core.Tracer] = {}

    def note(x: jax.core.Tracer) -> jax.core.Tracer:
        return found.setdefault(id(x), x)

    _Copy(note)(jtu.tree_map(lambda x: None if isinstance(x, jax.core.Tracer) else x, functions))
    return tuple(found.values())


class Lifted(eqx.Module):
    """A function with the traced values that it captures as leaves."""

    values: tuple[Array, ...]
    copies: Callable

    def __init__(self, fn: Callable, values: Sequence[jax.core.Tracer]) -> None:
        """Captures `values`, and perhaps others that stay as they are."""
        self.values = tuple(values)
        places = {id(x): (i, x) for i, x in enumerate(values)}  # which stay alive: ids are theirs

        def copies(new: tuple[Array, ...], args: tuple) -> tuple[Callable, tuple]:
            copy = _Copy(lambda x: new[places[id(x)][0]] if id(x) in places else x)
            return copy(fn), jtu.tree_map(lambda x: x if eqx.is_array(x) else copy(x), args)

        self.copies = copies

    def __call__(self, *args: PyTree) -> PyTree:
        """Calls the function, and hands on functions, with the leaves that it has now."""
        fn, args = self.copies(self.values, args)
        return fn(*args)


class _Copy:
    """Copies functions, and what they capture, with `change` applied to every tracer."""

    def __init__(self, change: Callable[[jax.core.Tracer], Any]) -> None:
        self.change = change
        self.copies: dict[int, Any] = {}

    def __call__(self, tree: PyTree) -> PyTree:
        try:
            return jtu.tree_map(self._leaf, tree)
        except (TypeError, ValueError):  # no pytree: a dictionary whose keys have no order
            return tree

    def _leaf(self, x: Any) -> Any:
        if isinstance(x, jax.core.Tracer):
            return self.change(x)
        if id(x) not in self.copies and (twin := self._other(x)) is not x:
            self.copies[id(x)] = twin
        return self.copies.get(id(x), x)

    def _other(self, x: Any) -> Any:
        if isinstance(x, types.FunctionType):
            return self._function(x)
        if isinstance(x, types.MethodType):
            return types.MethodType(self(x.__func__), self(x.__self__))
        if isinstance(x, functools.partial):
            return functools.partial(self(x.func), *self(x.args), **self(x.keywords))
        if isinstance(x, _JITTED) and captured(x.__wrapped__):
            return self(x.__wrapped__)
        return x.copied_by(self) if hasattr(type(x), "copied_by") else x

    def _function(self, fn: types.FunctionType) -> Callable:
        if not (fn.__closure__ or fn.__defaults__ or fn.__kwdefaults__):
            return fn
        cells = tuple(types.CellType() for _ in fn.__closure__ or ())
        twin = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, None, cells)
        self.copies[id(fn)] = twin  # before its contents, which may hold it
        functools.update_wrapper(twin, fn)
        twin.__defaults__ = self(fn.__defaults__)
        twin.__kwdefaults__ = self(fn.__kwdefaults__)
        for cell, old in zip(cells, fn.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self(old.cell_contents)
            except ValueError:  # a name that has no value yet
                continue
        return twin


_JITTED: Any = type(jax.jit(lambda: None))
