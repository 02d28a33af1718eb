"""Long expressions under short names, and whether an expression vanishes identically."""

import functools
import random

import sympy as sp

from dini.rules.symbolic._typing import Expr, Symbol

DIGITS = 60
_RANGES = ((0.2, 0.9), (1.2, 5.0), (-0.9, -0.2))
_SHORT = 6  # operations


@functools.lru_cache(maxsize=2**13)
def symbols(e: Expr) -> frozenset[Symbol]:
    """The symbols in an expression, found once for each of its parts."""
    return frozenset([e]) if e.is_Symbol else frozenset().union(*map(symbols, e.args))


class Samples:
    """Names for expressions, and random numbers for the parameters that they hold.

    An expression vanishes identically if it does so, to half of 60 digits, at random points: a
    function that is analytic and not zero is zero on a set of measure zero only.

    Attributes:
        definitions: what each name stands for, in parameters and earlier names.
        tries: how many points there are.
    """

    tries = len(_RANGES)

    def __init__(self) -> None:
        self.definitions: dict[Symbol, Expr] = {}
        self._values: dict[tuple[Symbol, int], Expr] = {}

    def short(self, e: Expr) -> Expr:
        """An expression of a few operations: itself, its number, or a name for it."""
        if e.is_Rational:
            return e
        if not symbols(e):
            return e.evalf(DIGITS)
        if e.count_ops() <= _SHORT:
            return e
        name = sp.Dummy("c", real=True)
        self.definitions[name] = e
        return name

    def replaced(self, e: Expr, changes: dict[Symbol, Expr]) -> Expr:
        """The expression with other parameters, inside of the names too."""
        if not changes:
            return e
        changes = dict(changes)

        def new(e: Expr) -> Expr:
            for name in symbols(e) & self.definitions.keys():
                if name not in changes:
                    old = self.definitions[name]
                    changed = new(old)
                    changes[name] = name if changed == old else self.short(changed)
            return e.xreplace(changes)

        return new(e)

    def spelt_out(self, e: Expr) -> Expr:
        """The expression without names."""
        while symbols(e) & self.definitions.keys():
            e = e.xreplace(self.definitions)
        return e

    def at(self, e: Expr, i: int) -> Expr:
        """The value of an expression at the i-th point; may be complex, or no number."""
        try:
            return e.xreplace({s: self._value(s, i) for s in symbols(e)}).evalf(DIGITS)
        except (TypeError, ValueError):  # complex numbers are compared
            return sp.nan

    def vanishes(self, e: Expr) -> bool:
        """Whether an expression is zero wherever it is finite."""
        if e.is_Rational:
            return bool(e == 0)
        sizes = [abs(v) for i in range(self.tries) if (v := self.at(e, i)).is_finite]
        return bool(sizes) and all(size < sp.Float(10) ** -(DIGITS // 2) for size in sizes)

    def _value(self, symbol: Symbol, i: int) -> Expr:
        if (symbol, i) not in self._values:
            if symbol in self.definitions:
                number = self.at(self.definitions[symbol], i)
            else:
                drawn = random.Random(f"{symbol.name} {i}").uniform(*_RANGES[i])
                number = sp.Float(sp.Rational(round(drawn * 10**9), 10**9), DIGITS)
            self._values[symbol, i] = number
        return self._values[symbol, i]
