"""A function called with symbols in the place of numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.tree_util as jtu
import sympy as sp
from jaxtyping import Array, PyTree

from dini.rules.symbolic._formula import Formula
from dini.rules.symbolic._points import Point
from dini.rules.symbolic._typing import Expr, Symbol


class Trace:
    """What a function returned for symbols, as a function of arrays.

    Attributes:
        expression: that expression, or tree of expressions.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[tuple], Any],
        treedef: Any,
        names: Sequence[str],
        others: Sequence[tuple | None],
        limits: bool | Mapping[str, Sequence[Any]],
    ) -> None:
        """Calls the function, with `others` for the leaves that are no numbers."""
        self._name = name
        symbols = [sp.Symbol(n, real=True) for n in names]
        leaves = [
            s if other is None else other[0] for s, other in zip(symbols, others, strict=True)
        ]
        symbols = [s for s, other in zip(symbols, others, strict=True) if other is None]
        self.expression = call(treedef.unflatten(leaves))
        leaves, self._out = jtu.tree_flatten(self.expression)
        expressions = [self._checked(leaf, symbols) for leaf in leaves]
        self._formula = Formula(name, expressions, symbols, self._points(limits, symbols))

    def __call__(self, numbers: Sequence[Array]) -> PyTree[Array]:
        """The values."""
        return self._out.unflatten(self._formula(*numbers))

    def _checked(self, e: Any, symbols: Sequence[Symbol]) -> Expr:
        e = sp.sympify(e) if isinstance(e, int | float) else e
        if not isinstance(e, sp.Expr):
            raise TypeError(
                f"{self._name} must return a SymPy expression of its arguments, and returned "
                f"{type(e).__name__}."
            )
        if others := e.free_symbols - set(symbols):
            raise TypeError(
                f"{self._name}: its expression holds {', '.join(sorted(map(str, others)))}, not "
                f"among the symbols that it was given: {', '.join(map(str, symbols))}."
            )
        return e

    def _points(
        self, limits: bool | Mapping[str, Sequence[Any]], symbols: Sequence[Symbol]
    ) -> list[Point] | None:
        """The points to look at, None to find them."""
        if isinstance(limits, bool):
            return None if limits else []
        named = {s.name: s for s in symbols}
        if others := limits.keys() - named.keys():
            raise TypeError(
                f"{self._name}: `limits` names {', '.join(sorted(others))}, not among its "
                f"parameters: {', '.join(named)}."
            )
        read: Any = sp.sympify
        value = lambda x: read(x, locals=named)
        return [Point(named[n], value(x)) for n, values in limits.items() for x in values]
