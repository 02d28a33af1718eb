"""Laurent series of an expression in one of its parameters."""

from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

from dini.rules.symbolic._normal import Steady, absolute, side, signum
from dini.rules.symbolic._points import Point, denominators
from dini.rules.symbolic._removable import Removable
from dini.rules.symbolic._samples import DIGITS, Samples, symbols
from dini.rules.symbolic._typing import Expr

_DEEP = 16  # how many leading coefficients may vanish
_INFINITE = (sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I, sp.AccumBounds)


class NotAnalyticError(Exception):
    """The expression has no Laurent series about the point."""


# A function of u:   d/dh F(u) = F′(u) du/dh   ⇒   n Fₙ = Σ k uₖ [F′(u)]ₙ₋ₖ,   k = 1, ..., n.
# It serves exp, sin, erf, gamma and all others alike: F′(u) is another expression, of which only
# coefficients before the n-th are needed.
# A power of u = hᵛ (u₀ + u₁ h + ...):   p = uᵉ   ⇒   u p′ = e u′ p   ⇒
#     n u₀ pₙ = Σ (k e − (n − k)) uₖ pₙ₋ₖ,   k = 1, ..., n,   times h^(v e).
# A logarithm:   u (log u)′ = u′   ⇒   n u₀ lₙ = n uₙ − Σ k lₖ uₙ₋ₖ,   k = 1, ..., n − 1.
class Laurent:
    """The coefficients of hⁿ in expressions of symbol = centre + h^root, each found when asked for.

    Where an expression has branches, its coefficient is that of the branch taken, and depends on
    the symbol in steps.

    Reference: Knuth, The Art of Computer Programming, volume 2, section 4.7.
    """

    def __init__(self, point: Point, samples: Samples) -> None:
        """Long coefficients become names in `samples`."""
        self.point, self.samples = point, samples
        self._coefficients: dict[tuple[Expr, int], Expr] = {}
        self._orders: dict[Expr, int] = {}

    def order(self, e: Expr) -> int:
        """The power of the first term; negative at a pole.

        Raises:
            NotAnalyticError: if there is no series, or its first terms all vanish.
        """
        if e not in self._orders:
            low = self._bound(e)
            for n in range(low, low + _DEEP):
                if not self.samples.vanishes(self.coefficient(e, n)):
                    self._orders[e] = n
                    break
            else:
                raise NotAnalyticError(e)
        return self._orders[e]

    def coefficient(self, e: Expr, n: int) -> Expr:
        """The coefficient of hⁿ.

        Raises:
            NotAnalyticError: if there is no series.
        """
        if not self._moves(e):
            return e if n == 0 else sp.S.Zero
        if n < self._orders.get(e, n):
            return sp.S.Zero
        if (e, n) not in self._coefficients:
            self._coefficients[e, n] = self.samples.short(self._find(e, n))
        return self._coefficients[e, n]

    def loss(self, e: Expr) -> int:
        """The power of 1/h by which the formula magnifies rounding.

        That is the order of its poles, and one more where a denominator is rounded itself, which
        x − y is not where x is near y.
        """
        if isinstance(e, sp.Add):
            return max(map(self.loss, e.args))
        if isinstance(e, sp.Mul):
            return sum(map(self.loss, e.args))
        if not isinstance(e, sp.Pow) or not self._moves(e) or self._moves(e.exp):
            return 0
        if _is_product(e):
            return int(e.exp) * self.loss(e.base)
        exact = any(not self._moves(e.base + sign * self.point.symbol) for sign in (1, -1))
        return max(0, -self._first(e) + (0 if exact else self.point.root))

    def _moves(self, e: Expr) -> bool:
        return self.point.symbol in symbols(e)

    def _bound(self, e: Expr) -> int:
        """The order, or something lower, that the form of the expression tells."""
        if e in self._orders:
            return self._orders[e]
        if isinstance(e, sp.Mul):
            return sum(map(self._bound, e.args))
        if e.is_Piecewise:
            return min(self._bound(value) for value, _ in e.args)
        if isinstance(e, sp.Add | sp.Max | sp.Min | absolute):
            return min(map(self._bound, e.args))
        if isinstance(e, sp.Pow) and self._moves(e) and not self._moves(e.exp):
            return int(e.exp) * self._bound(e.base) if _is_product(e) else self._first(e)
        return 0

    def _first(self, p: Expr) -> int:
        """The order of a power that is no product."""
        first = p.exp * self.order(p.base)
        if not first.is_Integer:
            raise NotAnalyticError(p)
        return int(first)

    def _find(self, e: Expr, n: int) -> Expr:
        for kind, find in _KINDS:
            if isinstance(e, kind):
                return find(self, e, n)
        raise NotAnalyticError(e)

    def _symbol(self, _: Expr, n: int) -> Expr:
        return {0: self.point.centre, self.point.root: sp.S.One}.get(n, sp.S.Zero)

    def _sum(self, e: Expr, n: int) -> Expr:
        return _total(self.coefficient(a, n) for a in e.args)

    def _product(self, e: Expr, n: int) -> Expr:
        return self._convolution(e.args[0], e.func(*e.args[1:]), n)

    def _convolution(self, a: Expr, b: Expr, n: int) -> Expr:
        if not self._moves(a):
            return a * self.coefficient(b, n)
        powers = range(self._bound(a), n - self._bound(b) + 1)
        return _total(self.coefficient(a, k) * self.coefficient(b, n - k) for k in powers)

    def _power(self, p: Expr, n: int) -> Expr:
        u, e = p.args
        if self._moves(e):
            return self.coefficient(sp.exp(e * sp.log(u), evaluate=False), n)
        if _is_product(p):
            return self._convolution(u ** (e // 2), u ** (e - e // 2), n)
        start, first = self.order(u), self._first(p)
        n, u0 = n - first, self.coefficient(u, start)
        if n <= 0:
            return u0**e if n == 0 else sp.S.Zero
        terms = (
            (k * e - (n - k)) * self.coefficient(u, start + k) * self.coefficient(p, first + n - k)
            for k in range(1, n + 1)
        )
        return _total(terms) / (n * u0)

    def _logarithm(self, e: Expr, n: int) -> Expr:
        (u,) = e.args
        if self.order(u) != 0:
            raise NotAnalyticError(e)
        u0 = self.coefficient(u, 0)
        if n <= 0:
            return sp.log(u0) if n == 0 else sp.S.Zero
        terms = [-k * self.coefficient(e, k) * self.coefficient(u, n - k) for k in range(1, n)]
        return _total([n * self.coefficient(u, n), *terms]) / (n * u0)

    def _absolute(self, e: Expr, n: int) -> Expr:
        return side(*e.args) * self.coefficient(e.args[0], n)

    def _steady(self, e: Expr, n: int) -> Expr:
        steady = side(*e.args) if isinstance(e, signum) else e
        return steady if n == 0 else sp.S.Zero

    def _piecewise(self, e: Expr, n: int) -> Expr:
        return sp.Piecewise(*((self.coefficient(value, n), test) for value, test in e.args))

    def _extreme(self, e: Expr, n: int) -> Expr:
        a, b = e.args[0], e.func(*e.args[1:])
        values = self.coefficient(a, n), self.coefficient(b, n)
        above, below = values if isinstance(e, sp.Max) else values[::-1]
        return above if above == below else sp.Piecewise((above, a > b), (below, a < b))

    def _removable(self, e: Expr, n: int) -> Expr:
        """As a function; by its formula, where that is singular in the symbol at hand as well."""
        direct = type(e).direct().xreplace(e.changes())
        other = type(e).point.symbol != self.point.symbol
        if other and any(self.order(base) > 0 for base in denominators(direct)):
            return self.coefficient(direct, n)
        return self._function(e, n)

    def _function(self, e: Expr, n: int) -> Expr:
        moving = [(i, u) for i, u in enumerate(e.args, 1) if self._moves(u)]
        if any(self._bound(u) < 0 and self.order(u) < 0 for _, u in moving):
            raise NotAnalyticError(e)
        if n <= 0:
            value = e.func(*(self.coefficient(u, 0) for u in e.args)) if n == 0 else sp.S.Zero
            if value.has(*_INFINITE):
                raise NotAnalyticError(e)
            return value
        try:
            slopes = [(u, e.fdiff(i)) for i, u in moving]
        except ArgumentIndexError as error:
            raise NotAnalyticError(e) from error
        terms = (
            k * self.coefficient(u, k) * self.coefficient(slope, n - k)
            for u, slope in slopes
            for k in range(1, n + 1)
        )
        return _total(terms) / n


_KINDS: list[tuple[Any, Callable[[Laurent, Expr, int], Expr]]] = [
    (sp.Symbol, Laurent._symbol),
    (sp.Add, Laurent._sum),
    (sp.Mul, Laurent._product),
    (sp.Pow, Laurent._power),
    (sp.log, Laurent._logarithm),
    (absolute, Laurent._absolute),
    (Steady, Laurent._steady),
    (sp.Piecewise, Laurent._piecewise),
    (sp.Max | sp.Min, Laurent._extreme),
    (Removable, Laurent._removable),
    (sp.Function, Laurent._function),
]


def _is_product(p: Expr) -> bool:
    return bool(p.exp.is_Integer and p.exp > 0)


def _total(terms: Iterable[Expr]) -> Expr:
    """The sum; of numbers, 0 where all digits but a few cancel."""
    terms = list(terms)
    total = sp.Add(*terms)
    if not total.is_Float:
        return total
    noise = max(abs(t) for t in terms) * sp.Float(10) ** (10 - DIGITS)
    return total if abs(total) > noise else sp.S.Zero
