"""The decorator: a SymPy expression as a function of arrays."""

import functools
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PyTree

from dini.rules._decorated import DecoratedFunction
from dini.rules._positions import bind


class SymbolicRule(DecoratedFunction):
    """A function given by a SymPy expression; usable as a method.

    Attributes:
        fn: the function that was decorated.
    """

    def __init__(self, fn: Callable, limits: bool | Mapping[str, Sequence[Any]]) -> None:
        super().__init__("symbolic_rule", fn)
        if importlib.util.find_spec("sympy") is None:
            raise ImportError(
                "dini.symbolic_rule needs SymPy, the extra `symbolic`: "
                'python -m pip install "dini[symbolic]".'
            )
        self._limits = limits
        self._traces: dict[Any, Any] = {}

    @property
    def expression(self) -> Any:
        """What the function returns for symbols named like its parameters; not for `*args`."""
        parameters = list(inspect.signature(self.fn).parameters.values())[len(self._bound) :]
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(f"{self._name} has an expression for each number of its arguments.")
        named = [p for p in parameters if p.default is p.empty]
        trace, _ = self._trace(
            tuple(0.0 for p in named if p.kind is not p.KEYWORD_ONLY),
            {p.name: 0.0 for p in named if p.kind is p.KEYWORD_ONLY},
        )
        return trace.expression

    def __call__(self, *args: Any, **kwargs: Any) -> PyTree[Array]:
        """The value, differentiable by SymPy's derivatives."""
        trace, numbers = self._trace(args, kwargs)
        return trace(numbers)

    def _trace(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, list[Array]]:
        """The function of arrays for arguments of this structure, and the arrays."""
        values, positions = bind(self.fn, (*self._bound, *args), kwargs)
        paths, treedef = jtu.tree_flatten_with_path(values)
        names = [positions.names[path[0].idx] + jtu.keystr(path[1:]) for path, _ in paths]
        leaves = [self._number(n, x) for n, (_, x) in zip(names, paths, strict=True)]
        numbers = [x for x in leaves if eqx.is_array(x)]
        others = tuple(None if eqx.is_array(x) else (x,) for x in leaves)
        key = treedef, positions.names, positions.keywords, others
        if key not in self._traces:
            from dini.rules.symbolic._trace import Trace  # noqa: PLC0415  # which imports SymPy

            call = functools.partial(positions.call, self.fn)
            self._traces[key] = Trace(self._name, call, treedef, names, others, self._limits)
        return self._traces[key], numbers

    def _number(self, name: str, x: Any) -> Any:
        """A number as an array; all else as it is."""
        number = isinstance(x, int | float | complex | np.ndarray | np.generic) or eqx.is_array(x)
        if isinstance(x, bool) or not number:
            return x
        x = jnp.asarray(x)
        if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
            raise TypeError(f"{self._name} takes real numbers: its argument `{name}` is {x.dtype}.")
        return x


def symbolic_rule(
    fn: Callable | None = None, *, limits: bool | Mapping[str, Sequence[Any]] = True
) -> Any:
    """Makes a SymPy expression a function of arrays, with SymPy's derivatives of every order.

    `fn` is called with real symbols, named like its parameters, in the place of numbers, and
    returns an expression of them. The function then takes arrays that broadcast against each other,
    and acts entry by entry, in both modes and under every transformation. Derivatives are found
    when they are first asked for; those that are needed together share their common
    subexpressions.

    Where a denominator vanishes and the expression has a limit, the function has that limit, and so
    have its derivatives: sin(x)/x is 1 at 0, and (c^(1−s) − 1)/(1 − s) is log c at s = 1. Near such
    a point a Taylor polynomial takes the place of the formula, which loses digits there. The points
    looked at are those where a denominator with linear or quadratic factors vanishes, or another
    one because a parameter is 0, 1 or −1 or equals another. Elsewhere the function is infinite or
    NaN where the formula is. Of |x|, sign, floor and the like the derivatives are JAX's: 0 at
    jumps.

    Args:
        fn: the function. Every int, float and array among its arguments is a number, in trees too;
            all else, such as a string or a bool, reaches it unchanged. It is called once for each
            structure of the arguments. It may return a tree of expressions.
        limits: whether to look for such points; or the points, as values for each parameter's name:
            numbers, expressions, or names of other parameters.

    Returns:
        The function, with `fn`, and `expression`, what it returns for symbols. Its results have the
        common shape and floating-point dtype of the arguments.

    Raises:
        ImportError: without SymPy, the extra `symbolic`.
        TypeError: for an argument that is complex, a result that is no real expression of the
            arguments, a function that JAX does not have, or a derivative that SymPy does not know.

    Warns:
        UserWarning: once for each order, if the derivatives take more than 2000 operations.

    References: Griewank and Walther, Evaluating Derivatives (2008), chapter 13, on Taylor series.
    """
    if fn is None:
        return functools.partial(symbolic_rule, limits=limits)
    return SymbolicRule(fn, limits)
