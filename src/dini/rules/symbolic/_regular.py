"""Removable singularities are found, and taken out of expressions."""

from collections.abc import Callable, Iterator
from typing import Any

import sympy as sp

from dini.rules.symbolic._jax import missing
from dini.rules.symbolic._laurent import Laurent, NotAnalyticError
from dini.rules.symbolic._normal import derivative, normal
from dini.rules.symbolic._points import Point, denominators, rooted, zeros
from dini.rules.symbolic._removable import Removable
from dini.rules.symbolic._samples import Samples, symbols
from dini.rules.symbolic._typing import Expr, Symbol

_TERMS = 6  # of a series, when it is compared with its formula,
_NEAR = sp.Rational(1, 10**8)  # at this distance,
_AGREE = sp.Float("1e-16")  # to this accuracy,
_EXACT = sp.Float("1e-30")  # or at any distance, if it is a polynomial


class Regular:
    """Takes the removable singularities out of expressions.

    Attributes:
        samples: the names in all series.
    """

    def __init__(self, points: list[Point] | None) -> None:
        """Looks for singularities at these points, or else where denominators vanish."""
        self.samples = Samples()
        self._given = points
        self._zeros: dict[Expr, list[Point]] = {}
        self._series: dict[Point, Laurent] = {}
        self._functions: dict[Any, type[Removable]] = {}
        self._done: dict[Any, Expr] = {}

    def series(self, point: Point) -> Laurent:
        """The Laurent series about a point."""
        if point not in self._series:
            self._series[point] = Laurent(point, self.samples)
        return self._series[point]

    def __call__(self, e: Expr, but: frozenset[Point] = frozenset()) -> Expr:
        """The expression with a `Removable` for those of its terms or factors that are one.

        Singularities at the points `but` stay.
        """
        if not e.args or isinstance(e, Removable):
            return e
        if (e, but) not in self._done:
            whole = e.func(*(self(a, but) for a in e.args))
            if isinstance(whole, sp.Add):
                whole = self._grouped(whole, but, _poles)
            elif isinstance(whole, sp.Mul):
                whole = self._grouped(whole, but, _poles_and_zeros)
                whole = self._logarithmic(whole, but) if isinstance(whole, sp.Mul) else whole
            elif isinstance(whole, sp.Pow):
                whole = self._power(whole, but)
            elif isinstance(whole, sp.Piecewise):
                whole = self._piecewise(whole)
            self._done[e, but] = whole
        return self._done[e, but]

    def slope(self, f: type[Removable], t: Symbol) -> Expr:
        """The derivative of a removable singularity in one of its parameters."""
        if t == f.point.symbol and f.analytic:
            return self._function(f.formula, f.point, f.but, f.times + 1)
        slope = self(derivative(f.formula, t), f.but)
        for _ in range(f.times):
            slope = self(derivative(slope, f.point.symbol), f.but)
        return slope

    def _function(
        self,
        formula: Expr,
        point: Point,
        but: frozenset[Point],
        times: int = 0,
        analytic: bool = True,
    ) -> Expr:
        key = (formula, point, but, times)
        if key not in self._functions:
            parameters = symbols(formula) | symbols(point.centre)
            facts = {
                "formula": formula,
                "point": point,
                "times": times,
                "analytic": analytic,
                "but": but,
                "parameters": tuple(sorted(parameters, key=lambda s: s.name)),
                "regular": self,
            }
            name = f"removable{len(self._functions)}"
            self._functions[key] = type(name, (Removable,), facts)
        function = self._functions[key]
        return function(*function.parameters)

    def _points(self, e: Expr, bases: set[Expr], but: frozenset[Point]) -> Iterator[Point]:
        """The points to look at in an expression, of which these bases may vanish."""
        found = self._given
        if found is None:
            for base in bases - self._zeros.keys():
                self._zeros[base] = zeros(base)
            ordered = sorted(bases, key=sp.default_sort_key)
            found = [point for base in ordered for point in self._zeros[base]]
        for point in found:
            if point.symbol in symbols(e) and not any(map(point.is_at, but)):
                yield rooted(point, e)

    def _grouped(self, e: Expr, but: frozenset[Point], choose: Callable) -> Expr:
        """A sum or product, with those of its parts together that have a limit together."""
        for point in self._points(e, denominators(e), but):
            orders = {part: self._order(part, point) for part in e.args}
            group = choose({part: order for part, order in orders.items() if order is not None})
            formula = self._bare(e.func(*group), point)
            if group and (limit := self._limit(formula, point, but)) is not None:
                whole = e.func(limit, *(part for part in e.args if part not in group))
                return self._grouped(whole, but, choose) if isinstance(whole, e.func) else whole
        return e

    # h (log h)ⁿ → 0, though there is no series.
    def _logarithmic(self, e: Expr, but: frozenset[Point]) -> Expr:
        """A product that vanishes with the argument of a logarithm in it."""
        for factor in e.args:
            base, exponent = factor.as_base_exp()
            if not isinstance(base, sp.log) or not exponent.is_positive:
                continue
            for point in self._points(e, set(base.args), but):
                others = [f for f in e.args if f != factor and point.symbol in symbols(f)]
                orders = [self._order(f, point) for f in others]
                if None not in orders and sum(filter(None, orders)) >= 1:
                    limit = self._function(sp.Mul(factor, *others), point, but, analytic=False)
                    return sp.Mul(limit, *(f for f in e.args if f not in (factor, *others)))
        return e

    def _order(self, e: Expr, point: Point) -> int | None:
        try:
            return self.series(point).order(self._bare(e, point))
        except NotAnalyticError:
            return None

    def _limit(self, formula: Expr, point: Point, but: frozenset[Point]) -> Expr | None:
        """A function that is the formula, and has a Taylor series, if there is one."""
        order = self._order(formula, point)
        if order is None or order < 0:
            return None
        terms = [self.series(point).coefficient(formula, n) for n in range(_TERMS * point.root)]
        if any(c != 0 for n, c in enumerate(terms) if n % point.root):
            return None
        h = point.symbol - point.centre
        taylor: Expr = sum(c * h**n for n, c in enumerate(terms[:: point.root]))
        known = self.samples.spelt_out(taylor)
        if missing(normal(known.xreplace(dict.fromkeys(known.atoms(Removable), sp.S.One)))):
            return None
        if self._agree(formula, taylor, [{}], _EXACT):
            return known
        near = [{point.symbol: point.centre + h} for h in (_NEAR, -_NEAR)]
        if self._agree(formula, taylor, near, _AGREE):
            return self._function(formula, point, but)
        return None

    def _agree(self, e: Expr, other: Expr, places: list[dict], tolerance: Expr) -> bool:
        """Whether two expressions agree where the first is a real number."""
        seen = []
        for place in places:
            there = [self.samples.replaced(x, place) for x in (e, other)]
            for i in range(self.samples.tries):
                value, right = (self.samples.at(x, i) for x in there)
                if value.is_finite and value.is_real:
                    seen.append(bool(abs(value - right) <= tolerance * (1 + abs(value))))
        return bool(seen) and all(seen)

    def _bare(self, e: Expr, point: Point) -> Expr:
        """The expression with the formulas of what is removable at this very point."""
        here = lambda t: isinstance(t, Removable) and t.point.is_at(point)
        return e.replace(here, lambda t: type(t).direct()) if e.has(Removable) else e

    def _power(self, e: Expr, but: frozenset[Point]) -> Expr:
        """One over a pole, and bᵉ = exp(e log b) if that has a limit where e has none."""
        if e.exp.is_number and e.exp.is_negative:
            for point in self._points(e, denominators(e.base), but):
                order = self._order(e.base, point)
                if order is not None and order < 0:
                    limit = self._limit(self._bare(e, point), point, but)
                    return e if limit is None else limit
        if not denominators(e.exp):
            return e
        exponent = self(sp.expand_mul(e.exp * sp.log(e.base), deep=False), but)
        return sp.exp(exponent) if exponent.has(Removable) and not e.exp.has(Removable) else e

    def _piecewise(self, e: Expr) -> Expr:
        """One branch, where the other is its limit at a single point."""
        if len(e.args) != 2 or not isinstance(e.args[0].cond, sp.Eq | sp.Ne):  # noqa: PLR2004
            return e
        (first, test), (second, _) = e.args
        there, branch = (first, second) if isinstance(test, sp.Eq) else (second, first)
        for symbol, centre in (test.args, test.args[::-1]):
            if symbol.is_Symbol and symbol not in symbols(centre):
                point = Point(symbol, centre)
                formula = self._bare(branch, point)
                order = self._order(formula, point)
                if order is not None and order >= 0:
                    limit = self.series(point).coefficient(formula, 0)
                    same = self.samples.vanishes(limit - there.xreplace({symbol: centre}))
                    return branch if same else e
        return e


def _poles(orders: dict[Expr, int]) -> list[Expr]:
    group = [part for part, order in orders.items() if order < 0]
    return group if len(group) > 1 else []


def _poles_and_zeros(orders: dict[Expr, int]) -> list[Expr]:
    """The poles among factors, and just enough zeros to cancel them, the simplest ones."""
    group = [part for part, order in orders.items() if order < 0]
    left = sum(orders[part] for part in group)
    vanish = [part for part, order in orders.items() if order > 0]
    for part in sorted(vanish, key=lambda p: (len(symbols(p)), p.count_ops())):
        if left < 0:
            group.append(part)
            left += orders[part]
    return group if len(group) > 1 and left >= 0 else []
