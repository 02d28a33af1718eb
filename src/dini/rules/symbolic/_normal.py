"""SymPy expressions of real numbers in one form, and the derivatives of that form."""

import functools
from typing import Any

import sympy as sp

from dini.rules.symbolic._typing import Expr, Symbol

# Of real numbers, |x| has the derivative sign(x), which is constant but for jumps: derivative 0,
# there too, as in JAX. SymPy's own functions are those of complex numbers, with conjugates in their
# derivatives, and delta functions.


class Steady(sp.Function):
    """A function that is constant but for jumps."""

    _exact: Any  # SymPy's own, for numbers

    @classmethod
    def eval(cls, *args: Expr) -> Expr | None:
        return cls._exact(*args) if all(a.is_number for a in args) else None

    def fdiff(self, argindex: int = 1) -> Expr:
        del argindex
        return sp.S.Zero

    def _eval_is_extended_real(self) -> bool:
        return True


class signum(Steady):
    """−1, 0 or 1."""

    _exact = sp.sign


class side(Steady):
    """The sign of what is not 0, so that its square is 1."""

    _exact = staticmethod(lambda u: sp.sign(u) if u != 0 else sp.nan)

    def _eval_power(self, expt: Expr) -> Expr | None:
        if expt.is_Integer:
            return self if expt % 2 else sp.S.One
        return None


class floor(Steady):
    """The integer at or below."""

    _exact = sp.floor


class ceil(Steady):
    """The integer at or above."""

    _exact = sp.ceiling


class heaviside(Steady):
    """0 below 0, 1 above, and there what it is told."""

    _exact = sp.Heaviside


class absolute(Steady):
    """The absolute value."""

    _exact = sp.Abs

    def fdiff(self, argindex: int = 1) -> Expr:
        del argindex
        return signum(self.args[0])


# I₍n+1₎ = I₍n−1₎ − (2n/u) Iₙ, down to the two that JAX has.
def _bessel(n: Expr, u: Expr) -> Expr:
    if not (n.is_Integer and n > 1):
        return sp.besseli(n, u)
    return _bessel(n - 2, u) - 2 * (n - 1) / u * _bessel(n - 1, u)


_FORMS: dict[Any, Any] = {
    sp.besseli: _bessel,
    sp.Abs: absolute,
    sp.sign: signum,
    sp.floor: floor,
    sp.ceiling: ceil,
    sp.Heaviside: heaviside,
    sp.DiracDelta: lambda *_: sp.S.Zero,
    sp.Mod: lambda a, b: a - b * floor(a / b),
    sp.sinc: lambda u: sp.sin(u) / u,
    sp.cot: lambda u: 1 / sp.tan(u),
    sp.sec: lambda u: 1 / sp.cos(u),
    sp.csc: lambda u: 1 / sp.sin(u),
    sp.coth: lambda u: 1 / sp.tanh(u),
    sp.sech: lambda u: 1 / sp.cosh(u),
    sp.csch: lambda u: 1 / sp.sinh(u),
    sp.acot: lambda u: sp.atan(1 / u),
    sp.asec: lambda u: sp.acos(1 / u),
    sp.acsc: lambda u: sp.asin(1 / u),
    sp.acoth: lambda u: sp.atanh(1 / u),
    sp.asech: lambda u: sp.acosh(1 / u),
    sp.acsch: lambda u: sp.asinh(1 / u),
    sp.erf2: lambda a, b: sp.erf(b) - sp.erf(a),
    sp.factorial: lambda u: sp.gamma(u + 1),
    sp.binomial: lambda n, k: sp.gamma(n + 1) / (sp.gamma(k + 1) * sp.gamma(n - k + 1)),
    sp.RisingFactorial: lambda u, n: sp.gamma(u + n) / sp.gamma(u),
    sp.FallingFactorial: lambda u, n: sp.gamma(u + 1) / sp.gamma(u - n + 1),
    sp.harmonic: lambda u: sp.polygamma(0, u + 1) + sp.EulerGamma,
}


@functools.lru_cache(maxsize=2**13)
def normal(e: Expr) -> Any:
    """The expression in functions whose derivatives are those of functions of real numbers."""
    if e.args:
        args = tuple(map(normal, e.args))
        e = e if args == e.args else e.func(*args)
    if isinstance(e, sp.Mul):
        return _gathered(e)
    return _FORMS[e.func](*e.args) if e.func in _FORMS else e


# x^ρ/x = x^(ρ−1), which is finite at x = 0.
def _gathered(e: Expr) -> Expr:
    """A product with one power of each base."""
    exponents: dict[Expr, Expr] = {}
    for f in e.args:
        base, exponent = f.args if f.is_Pow else (f, sp.S.One)
        exponents[base] = exponents.get(base, sp.S.Zero) + exponent
    return e if len(exponents) == len(e.args) else sp.Mul(*(b**n for b, n in exponents.items()))


def derivative(e: Expr, symbol: Symbol) -> Expr:
    """The normal form of ∂e/∂symbol.

    Raises:
        TypeError: if SymPy knows none.
    """
    slope = normal(e.diff(symbol))
    for unknown in slope.atoms(sp.Derivative, sp.Subs, sp.Integral):
        raise TypeError(f"SymPy has no formula for {unknown}")
    return slope
