"""Removable singularities as programs: a Taylor polynomial near the point, the formula elsewhere.

Let f = Σ cⱼ hʲ, c_v its first coefficient, and let its formula magnify rounding by (R/h)ᵐ near
h = 0, with R the length on which f changes. The polynomial of degree n₀ + N − 1, n₀ = v + 4, takes
the place of the formula where

    Σⱼ≥ₙ₀ w^(j−n₀) |cⱼ hʲ|  ≤  Σⱼ |cⱼ hʲ|,    w = eps^(−1/N),

so that its terms fall like w⁻ʲ at least, and what is left out is about eps of f. By Descartes' rule
of signs this is an interval |h| ≤ r. Beyond it w h is about R or more, and the formula magnifies
rounding by wᵐ or less. N = m log(1/eps) / log A makes that A.
"""

import functools
import math
from typing import Any

import sympy as sp

from dini.rules.symbolic._normal import absolute, normal
from dini.rules.symbolic._regular import Regular
from dini.rules.symbolic._removable import Removable
from dini.rules.symbolic._samples import symbols
from dini.rules.symbolic._typing import Expr, Symbol

_LOSS = 256.0  # A
_HEAD = 4  # n₀ − v
_MANY = 50  # coefficients


# horner(h, c₀, c₁, ...) = Σ cⱼ hʲ;  choose(t, a, b) is a where t ≤ 0, b elsewhere;
# within(t, h, x) is t, but 1 where x is NaN and h is not 0.
horner: Any = sp.Function("horner")
choose: Any = sp.Function("choose")
within: Any = sp.Function("within")
size: Any = absolute


class Lowering:
    """Expressions without `Removable`, for one precision.

    Attributes:
        definitions: what the new symbols stand for.
    """

    def __init__(self, regular: Regular, eps: float) -> None:
        self.definitions: dict[Symbol, Expr] = {}
        self._regular, self._eps = regular, eps
        self._symbols: dict[Expr, Symbol] = {}

    def __call__(self, e: Expr) -> Expr:
        """The expression with a symbol for each `Removable`, and its long coefficients defined."""
        for f in sorted(e.atoms(Removable), key=sp.default_sort_key):
            if f not in self._symbols:
                self._symbols[f] = sp.Dummy("r", real=True)
                self.definitions[self._symbols[f]] = self(self._value(f))
        names = self._regular.samples.definitions
        new = symbols(e) & names.keys() - self.definitions.keys()
        for name in sorted(new, key=sp.default_sort_key):
            self.definitions[name] = self(normal(names[name]))
        return e.xreplace(self._symbols)

    def _value(self, f: Removable) -> Expr:
        kind = type(f)
        h = kind.point.symbol - kind.point.centre
        direct = self._regular(kind.direct(), kind.but | {kind.point})
        near, value = self._taylor(kind, h) if kind.analytic else (size(h), sp.S.Zero)
        if kind.point.root > 1:  # the formula ends at h = 0, on either side
            near = within(near, h, direct)
        return self._regular.samples.replaced(choose(near, value, direct), f.changes())

    def _taylor(self, kind: type[Removable], h: Expr) -> tuple[Expr, Expr]:
        """What is ≤ 0 where the Taylor polynomial holds, and the polynomial."""
        point = kind.point
        loss = self._regular.series(point).loss(kind.formula) / point.root + kind.times
        tail = math.ceil(max(loss, 1) * math.log(1 / self._eps) / math.log(_LOSS))
        c = self._coefficients(kind, tail)
        while not any(c[-(tail // 2) :]):  # too few of them to see how they fall
            if len(c) > _MANY:
                return size(h), c[0]
            tail *= 2
            c = self._coefficients(kind, tail)
        head = len(c) - tail
        weights = [self._eps ** (-j / tail) - 1 for j in range(tail)]
        test = [-size(x) for x in c[:head]]
        test += [w * size(x) for w, x in zip(weights, c[head:], strict=True)]
        if all(x.is_number for x in test):
            near = size(h) - _positive_root([float(x) for x in test])
        else:
            near = horner(size(h), *test)
        return near, horner(h, *c)

    def _coefficients(self, kind: type[Removable], tail: int) -> list[Expr]:
        """Those of the polynomial, `tail` of them after the first few."""
        series, k = self._regular.series(kind.point), kind.times
        c: list[Expr] = []
        end = _HEAD + tail
        while len(c) < end:
            j = len(c)
            c.append(sp.ff(j + k, k) * series.coefficient(kind.formula, kind.point.root * (j + k)))
            if not any(c):
                end += 1 if j < _MANY else 0
        return c


def _positive_root(c: list[float]) -> float:
    """Where Σ cⱼ rʲ turns positive."""
    value = lambda r: functools.reduce(lambda total, x: total * r + x, reversed(c))
    low, high = 0.0, 2.0**-20
    while value(high) <= 0 and high < 2.0**20:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) <= 0 else (low, middle)
    return low
