"""SymPy expressions of real numbers, evaluated by JAX."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import jax.scipy.special as jsp
import sympy as sp
from jaxtyping import Array

from dini.rules.symbolic._typing import Expr, Symbol


def _beta(a: Array, b: Array) -> Array:
    sign = jsp.gammasgn(a) * jsp.gammasgn(b) * jsp.gammasgn(a + b)
    return sign * jnp.exp(jsp.gammaln(a) + jsp.gammaln(b) - jsp.gammaln(a + b))


def _horner(h: Array, *c: Array | float) -> Array | float:
    step = lambda total, x: total * h if isinstance(x, float) and x == 0 else total * h + x
    return functools.reduce(step, reversed(c))


# By SymPy's names.
_FUNCTIONS: dict[str, Callable] = {
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "log10": jnp.log10,
    "logaddexp": jnp.logaddexp,
    "Sqrt": jnp.sqrt,
    "Cbrt": jnp.cbrt,
    "hypot": jnp.hypot,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tan": jnp.tan,
    "asin": jnp.arcsin,
    "acos": jnp.arccos,
    "atan": jnp.arctan,
    "atan2": jnp.arctan2,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "tanh": jnp.tanh,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": jnp.arctanh,
    "Max": lambda *x: functools.reduce(jnp.maximum, x),
    "Min": lambda *x: functools.reduce(jnp.minimum, x),
    "erf": jsp.erf,
    "erfc": jsp.erfc,
    "erfinv": jsp.erfinv,
    "erfcinv": lambda x: -jsp.ndtri(x / 2) / 2**0.5,
    "gamma": jsp.gamma,
    "loggamma": jsp.gammaln,
    "polygamma": lambda n, x: jsp.polygamma(int(n), x),
    "beta": _beta,
    "lowergamma": lambda s, x: jsp.gamma(s) * jsp.gammainc(s, x),
    "uppergamma": lambda s, x: jsp.gamma(s) * jsp.gammaincc(s, x),
    "zeta": lambda s, a=1.0: jsp.zeta(s, a),
    "besseli": lambda n, x: jsp.i1(x) if n else jsp.i0(x),
    "Ei": jsp.expi,
    "expint": lambda n, x: jsp.expn(int(n), x),
    "Si": lambda x: jsp.sici(x)[0],
    "Ci": lambda x: jsp.sici(x)[1],
    "fresnels": lambda x: jsp.fresnel(x)[0],
    "fresnelc": lambda x: jsp.fresnel(x)[1],
}
# By the names that they have here.
_OWN: dict[str, Callable] = {
    "absolute": jnp.abs,
    "signum": jnp.sign,
    "side": lambda x: jnp.where(x == 0, jnp.nan, jnp.sign(x)),
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "heaviside": jnp.heaviside,
    "horner": _horner,
    "choose": lambda t, a, b: jnp.where(t <= 0, a, b),
    "within": lambda t, h, x: jnp.where(jnp.isnan(x) & (h != 0), 1, t),
}
# The first arguments for which JAX has the function.
_ORDERS: dict[str, Callable[[Expr], bool]] = {
    "besseli": lambda n: n in (0, 1),
    "expint": lambda n: n.is_Integer and n >= 0,
    "polygamma": lambda n: n.is_Integer and n >= 0,
}
_RELATIONS: dict[str, Callable] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def missing(e: Expr) -> str | None:
    """What of an expression JAX cannot evaluate, and what it could, for an error."""
    if e.has(sp.I):
        return "it is complex"
    for f in sorted(e.atoms(sp.Function) - e.atoms(sp.Piecewise), key=sp.default_sort_key):
        name, orders = type(f).__name__, _ORDERS.get(type(f).__name__)
        if name not in _FUNCTIONS | _OWN or (orders and not orders(f.args[0])):
            return f"JAX has no {f}. It has {', '.join(sorted(_FUNCTIONS, key=str.lower))}"
    return None


class Evaluation:
    """The values of expressions, each part of them evaluated once."""

    def __init__(self, values: Mapping[Symbol, Array], definitions: Mapping[Symbol, Expr]) -> None:
        """Takes the parameters' values, and what all other symbols stand for."""
        self._values: dict[Expr, Any] = dict(values)
        self._definitions = definitions

    def __call__(self, e: Expr) -> Any:
        """The value of an expression, or whether a condition holds."""
        if e not in self._values:
            self._values[e] = self._find(e)
        return self._values[e]

    def _find(self, e: Expr) -> Any:
        if e.is_Symbol:
            return self(self._definitions[e])
        if isinstance(e, sp.Expr) and e.is_number:
            number = e.evalf(25)
            return float(number) if number.is_extended_real else float("nan")
        for kind, evaluate in _KINDS:
            if isinstance(e, kind):
                return evaluate(self, e)
        return (_FUNCTIONS | _OWN)[type(e).__name__](*map(self, e.args))

    def _piecewise(self, e: Expr) -> Any:
        choose = lambda rest, piece: jnp.where(self(piece.cond), self(piece.expr), rest)
        return functools.reduce(choose, reversed(e.args), float("nan"))

    def _product(self, e: Expr) -> Any:
        above, below = [], []
        for f in e.args if e.is_Mul else [e]:
            base, exponent = f.args if f.is_Pow else (f, sp.S.One)
            if exponent.is_number and exponent.is_negative:
                below.append(self._power(base, -exponent))
            else:
                above.append(self._power(base, exponent))
        top = functools.reduce(operator.mul, above) if above else 1.0
        return top / functools.reduce(operator.mul, below) if below else top

    def _power(self, base: Expr, exponent: Expr) -> Any:
        if exponent.is_Integer:
            return self(base) if exponent == 1 else self(base) ** int(exponent)
        if exponent.is_Rational and exponent.q == 2:  # noqa: PLR2004
            return jnp.sqrt(self(base)) ** int(exponent.p)
        return jnp.power(self(base), self(exponent))


_KINDS: list[tuple[Any, Callable[[Evaluation, Expr], Any]]] = [
    (sp.Add, lambda values, e: functools.reduce(operator.add, map(values, e.args))),
    (sp.Mul | sp.Pow, Evaluation._product),
    (sp.Piecewise, Evaluation._piecewise),
    (sp.Rel, lambda values, e: _RELATIONS[e.rel_op](values(e.lhs), values(e.rhs))),
    (sp.And, lambda values, e: functools.reduce(jnp.logical_and, map(values, e.args))),
    (sp.Or, lambda values, e: functools.reduce(jnp.logical_or, map(values, e.args))),
    (sp.Not, lambda values, e: jnp.logical_not(values(e.args[0]))),
    (type(sp.true) | type(sp.false), lambda _, e: bool(e)),
]
