"""How a decorated function is called: its arguments, its options, one compilation a shape."""

import functools
import inspect
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optimistix as optx
from jaxtyping import PyTree

from dini._tree import asarrays
from dini.conditions import Condition
from dini.implicit._options import Options
from dini.rules import DecoratedFunction

_JAX_FUNCTIONS = (type(jax.jit(abs)), jax.custom_jvp, jax.custom_vjp)
_FUNCTIONS = (FunctionType, BuiltinFunctionType, np.ufunc, *_JAX_FUNCTIONS)
_IMMUTABLE = (bool, int, float, complex, str, bytes, type, *_FUNCTIONS)


class Compiled:
    """A function of (static configuration, data) compiled once for each set of shapes.

    Floats and arrays in the data are traced, so that a new value compiles nothing. Every other leaf
    is static. One that may change without notice (it cannot be hashed, or is an object that
    compares by identity) makes each call compile anew, which is slow and right.
    """

    def __init__(self, fn: Callable) -> None:
        self.fn = fn

        @eqx.filter_jit
        def compiled(config: PyTree, kinds: tuple[type, ...], data: PyTree) -> Any:
            del kinds
            return fn(config, data)

        self.compiled = compiled

    def __call__(self, config: PyTree, data: PyTree) -> Any:
        data = asarrays(data)
        arrays, static = eqx.partition(data, eqx.is_array)
        leaves = jtu.tree_leaves(static)
        if all(map(_is_stable, leaves)):
            # 1 and True are equal, and are not the same.
            return self.compiled(config, tuple(map(type, leaves)), data)
        return eqx.filter_jit(lambda arrays: self.fn(config, eqx.combine(arrays, static)))(arrays)


def _is_stable(x: Any) -> bool:
    if isinstance(x, MethodType):
        return _is_stable(x.__self__)
    if isinstance(x, functools.partial):
        return all(map(_is_stable, (x.func, *x.args, *x.keywords.values())))
    if isinstance(x, (*_IMMUTABLE, Decorated)):
        return True
    own_hash = type(x).__hash__
    return own_hash is not None and own_hash is not object.__hash__


class Decorated(DecoratedFunction):
    """A function of (z, *args, **kwargs) that stands for a solution; usable as a method.

    Attributes:
        fn: the function that was decorated.
    """

    def __init__(
        self,
        fn: Callable,
        name: str,
        allowed: tuple[str, ...],
        options: dict[str, Any],
        pose: Callable,
    ) -> None:
        """Takes `pose`: (options, name, guess, arguments) ↦ the problem, posed."""
        super().__init__(name, fn)
        self._allowed = allowed
        self._options = Options().replace(allowed, self._name, options)

        def run(config: tuple[Options, str, Callable], data: tuple) -> Any:
            options, name, reading = config
            guess, arguments, *more = data
            return reading(pose(options, name, guess, arguments), *more)

        self._compiled = Compiled(run)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The solution, from a guess and the arguments of the function decorated."""
        return self.read(_value, args, kwargs)

    def solve(self, *args: Any, **kwargs: Any) -> optx.Solution:
        """As the plain call, with the result code, the aux and statistics.

        Returns:
            `optimistix.Solution`. Its `stats` hold "error", the estimated largest error in z. Its
            `state` is None.
        """
        return self.read(_solution, args, kwargs)

    def with_options(self, **options: Any) -> Self:
        """The same function with other options; what is not named stays as it is."""
        changed = self._copy()
        changed._options = self._options.replace(self._allowed, self._name, options)
        return changed

    def read(self, reading: Callable, args: tuple, kwargs: dict[str, Any], *more: PyTree) -> Any:
        """What `reading` makes of the problem that these arguments pose, and of `more`."""
        if not args:
            first = self._first_parameter()
            if first not in kwargs:
                raise TypeError(f"{self._name} is called with a guess first: {first!r} is missing.")
            args, kwargs = (kwargs[first],), {k: v for k, v in kwargs.items() if k != first}
        guess, *rest = args
        data = (guess, (self._bound, tuple(rest), kwargs))
        return self._compiled((self._options, self._name, reading), (*data, *more))

    def _first_parameter(self) -> str:
        parameters = list(inspect.signature(self.fn).parameters)
        return parameters[len(self._bound)] if len(parameters) > len(self._bound) else "init"


def _value(posed: Any) -> Any:
    return posed.value()


def _solution(posed: Any) -> optx.Solution:
    return posed.solution()


def apply_user(fn: Callable, z: PyTree, arguments: PyTree) -> Any:
    """The user's function of z, with the arguments of the call; a method's self stands first."""
    bound, args, kwargs = arguments
    if isinstance(fn, Condition):
        fn, bound = fn.of_method(*bound), ()
    return fn(*bound, z, *args, **kwargs)


def inexact(tree: PyTree) -> PyTree:
    """Numbers as arrays of a definite inexact dtype; an integer becomes the default float."""

    def leaf(x: Any) -> Any:
        if isinstance(x, bool | int | float | complex) or hasattr(x, "dtype"):
            x = jnp.asarray(x)
            whole = jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == bool
            return x.astype(jnp.result_type(float) if whole else x.dtype)
        return x

    return jtu.tree_map(leaf, tree)


def split_aux(out: Any, has_aux: bool, name: str, what: str) -> tuple[PyTree, PyTree]:
    """(value, aux) from what a function returned."""
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):  # noqa: PLR2004
        raise TypeError(
            f"{name}: with has_aux=True {what} must return a pair, and returns {out!r}."
        )
    return out
