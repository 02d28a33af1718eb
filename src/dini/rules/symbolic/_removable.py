"""Removable singularities as functions of their own."""

from typing import Any

import sympy as sp

from dini.rules.symbolic._normal import derivative
from dini.rules.symbolic._points import Point
from dini.rules.symbolic._typing import Expr, Symbol


class Removable(sp.Function):
    """A function of parameters whose formula is 0/0, ∞ − ∞ or 0 · ∞ at a point.

    It is the `times`-th derivative of `formula` in the symbol of the point. If it is not `analytic`
    there, it is 0. At the points `but` another function takes its place. Each is a subclass, made
    by `Regular` and applied to its parameters.
    """

    formula: Expr
    point: Point
    times: int
    analytic: bool
    but: frozenset[Point]
    parameters: tuple[Symbol, ...]
    regular: Any  # the `Regular` that made it

    @classmethod
    def eval(cls, *args: Expr) -> Expr | None:
        if all(a.is_number for a in args):
            return cls.direct().xreplace(dict(zip(cls.parameters, args, strict=True)))
        return None

    @classmethod
    def direct(cls) -> Expr:
        """What holds elsewhere."""
        e = cls.formula
        for _ in range(cls.times):
            e = derivative(e, cls.point.symbol)
        return e

    def fdiff(self, argindex: int = 1) -> Expr:
        cls = type(self)
        slope = cls.regular.slope(cls, cls.parameters[argindex - 1])
        return slope.xreplace(self.changes())

    def changes(self) -> dict[Symbol, Expr]:
        """What stands in the place of the parameters, where that is not they."""
        pairs = zip(type(self).parameters, self.args, strict=True)
        return {parameter: value for parameter, value in pairs if parameter != value}

    def _eval_is_extended_real(self) -> bool:
        return True
