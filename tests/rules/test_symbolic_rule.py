"""A SymPy expression as a function: every mode and order, arguments, functions, refusals."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
from sympy.codegen import cfunctions

import dini
from tests.rules.test_custom_rule import COMPOSITIONS, entrywise, expected, looked
from tests.support.compare import assert_close


@dini.symbolic_rule
def curve(x, y):
    """`entrywise`, in SymPy."""
    return sympy.sin(x) * sympy.exp(y * x)


@dini.symbolic_rule
def sinc(x):
    return sympy.sin(x) / x


@pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda c: c.__name__)
def test_symbolic_rule_composes_with(composition):
    actual = jax.jit(lambda: composition(looked(curve, 3)))()
    for name, right in expected(entrywise, composition).items():
        try:
            assert_close(actual[name], right, 1e-12)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.slow
@pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda c: c.__name__)
def test_symbolic_rule_composes_without_jit_with(composition):
    assert_close(composition(looked(curve, 3)), expected(entrywise, composition), 1e-12)


def test_symbolic_rule_composes_where_jax_has_nan():
    """Every mode meets the singular point, where JAX's derivative of the formula is NaN."""
    x, ct = jnp.array([0.0, 1.0]), jnp.array([2.0, -0.5])
    first = jnp.array([0.0, jnp.cos(1.0) - jnp.sin(1.0)])
    second = jnp.array([-1 / 3, jnp.sin(1.0) - 2 * jnp.cos(1.0)])
    total = lambda x: jnp.sum(ct * sinc(x))
    scanned = lambda x: jax.lax.scan(lambda s, v: (s + jax.checkpoint(sinc)(v), None), 0.0, x)[0]
    program = jax.jit(
        lambda: {
            "vjp": jax.vjp(sinc, x)[1](ct)[0] / ct,
            "jvp": jax.jvp(sinc, (x,), (ct,))[1] / ct,
            "vmap of grad": jax.vmap(jax.grad(sinc))(x),
            "scan of checkpoint": jax.grad(scanned)(x),
            "forward over reverse": jnp.diag(jax.jacfwd(jax.grad(total))(x)) / ct,
            "reverse over forward": jnp.diag(jax.jacrev(jax.jacfwd(total))(x)) / ct,
            "reverse over reverse": jnp.diag(jax.jacrev(jax.jacrev(total))(x)) / ct,
            "forward over forward": jnp.diag(jax.jacfwd(jax.jacfwd(total))(x)) / ct,
        }
    )
    for name, value in program().items():
        right = second if " over " in name else first
        np.testing.assert_allclose(value, right, rtol=1e-13, atol=1e-15, err_msg=name)
    assert np.isnan(jax.grad(lambda x: jnp.sin(x) / x)(0.0))


def test_symbolic_rule_derivatives_are_those_of_sympy():
    """Not of the program: JAX's own derivative of |x| at 0 is 1 where it is sqrt(x²)."""
    f = dini.symbolic_rule(lambda x: sympy.sqrt(x**2))
    assert jax.grad(f)(0.0) == 0.0
    assert jax.grad(jax.grad(f))(0.0) == 0.0
    power = dini.symbolic_rule(lambda x, n: x**n)
    first, second = jax.grad(power), jax.grad(jax.grad(power))
    assert (first(0.0, 1.0), first(0.0, 2.5), second(0.0, 2.0)) == (1.0, 0.0, 2.0)


def test_branch_not_taken_leaves_no_nan():
    f = dini.symbolic_rule(
        lambda x: sympy.Piecewise((sympy.sqrt(x) * sympy.log(x), x > 0), (x**3, True))
    )
    plain = lambda x: jnp.where(x > 0, jnp.sqrt(x) * jnp.log(x), x**3)
    for k in range(3):
        np.testing.assert_allclose(f(-2.0), [-8.0, 12.0, -12.0][k], rtol=1e-15)
        np.testing.assert_allclose(f(0.3), plain(0.3), rtol=1e-13)
        assert k == 0 or np.isnan(plain(-2.0))
        f, plain = jax.grad(f), jax.grad(plain)


def test_piecewise_takes_every_condition():
    x, y = sympy.symbols("x y")
    both = sympy.And(x > 0, sympy.Or(y > 0, sympy.Ne(x, 2)))
    tests = [both, sympy.Not(sympy.Eq(y, -1)) & (x <= -2), sympy.Eq(y, x)]
    body = sympy.Piecewise(*((i + x * y, test) for i, test in enumerate(tests)))
    f = dini.symbolic_rule(lambda u, v: body.subs({x: u, y: v}, simultaneous=True))
    grid = jnp.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0])
    u, v = jnp.meshgrid(grid, grid)
    conditions = [(u > 0) & ((v > 0) | (u != 2)), (v != -1) & (u <= -2), v == u]
    expected = jnp.select(conditions, [i + u * v for i in range(3)], jnp.nan)
    np.testing.assert_array_equal(f(u, v), expected)


# A function, where it is looked at, and mpmath's name for it if that is another.
FUNCTIONS = {
    "exp": (sympy.exp, 0.3),
    "log": (sympy.log, 0.3),
    "sin": (sympy.sin, 0.3),
    "cos": (sympy.cos, 0.3),
    "tan": (sympy.tan, 0.3),
    "cot": (sympy.cot, 0.3),
    "sec": (sympy.sec, 0.3),
    "csc": (sympy.csc, 0.3),
    "asin": (sympy.asin, 0.3),
    "acos": (sympy.acos, 0.3),
    "atan": (sympy.atan, 0.3),
    "acot": (sympy.acot, 0.3),
    "asec": (sympy.asec, 2.3),
    "acsc": (sympy.acsc, 2.3),
    "sinh": (sympy.sinh, 0.3),
    "cosh": (sympy.cosh, 0.3),
    "tanh": (sympy.tanh, 0.3),
    "coth": (sympy.coth, 0.3),
    "sech": (sympy.sech, 0.3),
    "csch": (sympy.csch, 0.3),
    "asinh": (sympy.asinh, 0.3),
    "acosh": (sympy.acosh, 2.3),
    "atanh": (sympy.atanh, 0.3),
    "acoth": (sympy.acoth, 2.3),
    "asech": (sympy.asech, 0.3),
    "acsch": (sympy.acsch, 2.3),
    "sinc": (sympy.sinc, 0.3),
    "sqrt": (sympy.sqrt, 0.3),
    "cbrt": (sympy.cbrt, 0.3),
    "erf": (sympy.erf, 0.3),
    "erfc": (sympy.erfc, 0.3),
    "erfinv": (sympy.erfinv, 0.3),
    "gamma": (sympy.gamma, 2.3),
    "loggamma": (sympy.loggamma, 2.3),
    "factorial": (sympy.factorial, 1.3),
    "digamma": (sympy.digamma, 2.3),
    "harmonic": (sympy.harmonic, 2.3),
    "Ei": (sympy.Ei, 0.3, mpmath.ei),
    "Si": (sympy.Si, 0.3, mpmath.si),
    "Ci": (sympy.Ci, 0.3, mpmath.ci),
    "fresnels": (sympy.fresnels, 0.3),
    "fresnelc": (sympy.fresnelc, 0.3),
    "abs": (sympy.Abs, -0.3, abs),
    "sign": (sympy.sign, -0.3),
    "floor": (sympy.floor, -0.3),
    "ceiling": (sympy.ceiling, -0.3, mpmath.ceil),
    "expm1": (cfunctions.expm1, 1e-9),
    "log1p": (cfunctions.log1p, 1e-9),
    "log2": (cfunctions.log2, 0.3, lambda x: mpmath.log(x, 2)),
    "log10": (cfunctions.log10, 0.3),
    "exp2": (cfunctions.exp2, 0.3, lambda x: 2**x),
    "erfcinv": (sympy.erfcinv, 1e-9, lambda x: -mpmath.erfinv(x - 1)),
    "power": (lambda x: 3**x * x**2.5, 0.3, lambda x: 3**x * x**2.5),
    "besseli 0": (lambda x: sympy.besseli(0, x), 0.3, lambda x: mpmath.besseli(0, x)),
    "besseli 1": (lambda x: sympy.besseli(1, x), 0.3, lambda x: mpmath.besseli(1, x)),
    "expint": (lambda x: sympy.expint(2, x), 0.3, lambda x: mpmath.expint(2, x)),
    "E1": (sympy.E1, 0.3, mpmath.e1),
    "polygamma": (lambda x: sympy.polygamma(2, x), 2.3, lambda x: mpmath.polygamma(2, x)),
    "zeta": (lambda x: sympy.zeta(3, x), 2.3, lambda x: mpmath.zeta(3, x)),
    "beta": (lambda x: sympy.beta(x, 2.5), 30.0, lambda x: mpmath.beta(x, 2.5)),
    "binomial": (lambda x: sympy.binomial(x, 2.5), 4.3, lambda x: mpmath.binomial(x, 2.5)),
    "rf": (lambda x: sympy.rf(x, 2.5), 1.3, lambda x: mpmath.rf(x, 2.5)),
    "ff": (lambda x: sympy.ff(x, 2.5), 4.3, lambda x: mpmath.ff(x, 2.5)),
    "lowergamma": (
        lambda x: sympy.lowergamma(sympy.Rational(3, 2), x**2),
        0.3,
        lambda x: mpmath.gammainc(1.5, 0, x**2),
    ),
    "uppergamma": (
        lambda x: sympy.uppergamma(sympy.Rational(4, 3), x),
        0.3,
        lambda x: mpmath.gammainc(mpmath.mpf(4) / 3, x),
    ),
    "erf2": (lambda x: sympy.erf2(x, x**2), 0.3, lambda x: mpmath.erf(x**2) - mpmath.erf(x)),
    "atan2": (lambda x: sympy.atan2(x, -2), 0.3, lambda x: mpmath.atan2(x, -2)),
    "Mod": (lambda x: sympy.Mod(x, 0.7) ** 2, 1.6, lambda x: (x - 1.4) ** 2),
    "Max": (lambda x: sympy.Max(x, x**2, 0), 0.3, lambda x: x),
    "Min": (lambda x: sympy.Min(x, x**2, 1), 0.3, lambda x: x**2),
    "Heaviside": (lambda x: x * sympy.Heaviside(x), 0.3, lambda x: x),
    "constants": (
        lambda x: sympy.pi * sympy.E * x + sympy.EulerGamma,
        0.3,
        lambda x: mpmath.pi * mpmath.e * x + mpmath.euler,
    ),
}


@pytest.mark.slow
def test_functions_agree_with_mpmath_to_second_order():
    """In one program, since compiling is most of the work."""
    named = lambda f: lambda x: f(x) * 1  # of one argument, whatever SymPy's takes
    wrapped = {n: dini.symbolic_rule(named(case[0])) for n, case in FUNCTIONS.items()}
    orders = lambda f: (f, jax.grad(f), jax.grad(jax.grad(f)))
    actual = jax.jit(
        lambda: {n: [d(FUNCTIONS[n][1]) for d in orders(f)] for n, f in wrapped.items()}
    )()
    wrong = {}
    for name, (_, x, *other) in FUNCTIONS.items():
        f = other[0] if other else getattr(mpmath, name)
        for k in range(3):
            with mpmath.workdps(40):
                right = float(mpmath.re(mpmath.diff(f, mpmath.mpf(x), k)))
            error = abs(actual[name][k] - right) / max(abs(right), 1e-20)
            if not error <= 1e-12:
                wrong[name, k] = float(error)
    assert not wrong
