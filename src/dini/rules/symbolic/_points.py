"""Where denominators vanish."""

import math
from typing import NamedTuple

import sympy as sp

from dini.rules.symbolic._typing import Expr, Symbol

_GUESSES = (sp.S.Zero, sp.S.One, sp.S.NegativeOne)
_MANY = 4  # parameters: polynomials of more are not factored, nor more tried as each other's values


class Point(NamedTuple):
    """Where symbol = centre, a value in terms of other symbols.

    About it, expressions are series in h = symbol − centre, or in its `root`-th root.
    """

    symbol: Symbol
    centre: Expr
    root: int = 1

    def is_at(self, other: "Point") -> bool:
        """Whether two points are one place."""
        return self[:2] == other[:2]


def denominators(e: Expr) -> set[Expr]:
    """The bases of the negative powers in a rational expression of functions."""
    if isinstance(e, sp.Pow):
        below = denominators(e.base)
        return below | {e.base} if e.exp.is_number and e.exp.is_negative else below
    if isinstance(e, sp.Add | sp.Mul):
        return set().union(*map(denominators, e.args))
    return set()


def zeros(e: Expr) -> list[Point]:
    """Points where the expression vanishes.

    All of a polynomial whose factors are linear or quadratic in some symbol; of other expressions
    those where a symbol is 0, 1 or −1, or equals another.
    """
    symbols = sorted(e.free_symbols, key=lambda s: s.name)
    if len(symbols) <= _MANY and e.is_polynomial(*symbols):
        return [point for factor, _ in sp.factor_list(e)[1] for point in _roots(factor)]
    if roots := _roots(e):
        return roots
    found: list[Point] = []
    for s in symbols:
        others = [t for t in symbols if t != s] if len(symbols) <= _MANY else []
        for value in (*_GUESSES, *others):
            if Point(value, s) not in found and _is_zero(e, s, value):
                found.append(Point(s, value))
    return found


def _roots(e: Expr) -> list[Point]:
    """The zeros of an expression that is linear or quadratic in a symbol."""
    quadratic: list[Point] = []
    for s in sorted(e.free_symbols, key=lambda s: s.name):
        if not e.is_polynomial(s):
            continue
        slope = sp.expand(e).diff(s)
        c, b, a = e.subs(s, 0), slope.subs(s, 0), slope.diff(s) / 2
        if a == 0:
            return [Point(s, -c / b)]
        if not quadratic and not a.has(s):
            root = sp.sqrt(b**2 - 4 * a * c)
            quadratic = [Point(s, (-b + sign * root) / (2 * a)) for sign in (1, -1)]
    return [point for point in dict.fromkeys(quadratic) if point.centre.is_real is not False]


def _is_zero(e: Expr, symbol: Symbol, value: Expr) -> bool:
    try:
        return bool(e.subs(symbol, value).is_zero)
    except (TypeError, ValueError):  # complex numbers are compared
        return False


def rooted(point: Point, e: Expr) -> Point:
    """The point with the root of h that the powers in the expression need."""
    fractions = [
        p.exp.q
        for p in e.atoms(sp.Pow)
        if p.exp.is_Rational and p.exp.q > 1 and _is_zero(p.base, *point[:2])
    ]
    return point._replace(root=math.lcm(*fractions))
