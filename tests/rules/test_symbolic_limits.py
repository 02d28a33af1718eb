"""Removable singularities: values and derivatives at them, near them, and where there is no limit.

The oracle is mpmath: the same formula, differentiated numerically in 150 digits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy

import dini
from tests.support.marks import slow_among

DISTANCES = [0.0, *(s * 10.0**-k for k in (0, 0.5, 1, 1.5, 2, 3, 5, 8, 12, 16) for s in (1, -1))]
RTOL = (2e-13, 2e-13, 1e-12, 5e-12)  # of the value and its derivatives


@dataclasses.dataclass
class Case:
    """A formula in SymPy or mpmath, f(m, x, *at), that has a limit where x = point."""

    f: Callable[..., Any]
    point: float = 0.0
    at: tuple[float, ...] = ()
    only: Callable[[Any], Any] = lambda _: True


CASES = {
    "sin x / x": Case(lambda m, x: m.sin(x) / x),
    "(1 - cos x) / x²": Case(lambda m, x: (1 - m.cos(x)) / x**2),
    "(exp x - 1) / x": Case(lambda m, x: (m.exp(x) - 1) / x),
    "log(1 + x) / x": Case(lambda m, x: m.log(1 + x) / x, only=lambda x: x > -0.9),
    "Bernoulli": Case(lambda m, x: x / (m.exp(x) - 1)),
    "Langevin": Case(lambda m, x: m.coth(x) - 1 / x),
    "∞ - ∞": Case(lambda m, x: 1 / m.log(1 + x) - 1 / x, only=lambda x: x > -0.9),
    "0/0 in 0/0": Case(lambda m, x: m.exp(x) * (m.sin(x) / x - 1) / x**2),
    "1^∞": Case(lambda m, x: (1 + x) ** (1 / x), only=lambda x: x > -0.9),
    "two points": Case(lambda m, x: m.sin(m.pi * x) / (x * (1 - x)), only=lambda x: abs(x) < 0.7),
    "the other point": Case(
        lambda m, x: m.sin(m.pi * x) / (x * (1 - x)), 1.0, only=lambda x: abs(x - 1) < 0.7
    ),
    "erf": Case(lambda m, x: m.erf(x) / x),
    "gamma": Case(lambda m, x: (m.gamma(1 + x) - 1) / x, only=lambda x: x > -0.9),
    "Bessel": Case(lambda m, x: m.besseli(1, x) / x),
    "root": Case(lambda m, x: m.sin(m.sqrt(x)) / m.sqrt(x), only=lambda x: x >= 0),
    "CRRA": Case(lambda m, s, c: (c ** (1 - s) - 1) / (1 - s), 1.0, (2.3,)),
    "CRRA far": Case(lambda m, s, c: (c ** (1 - s) - 1) / (1 - s), 1.0, (140.0,)),
    "divided difference": Case(lambda m, x, y: (m.exp(x) - m.exp(y)) / (x - y), 1.3, (1.3,)),
    "logarithmic mean": Case(lambda m, x, y: (x - y) / (m.log(x) - m.log(y)), 1.3, (1.3,)),
    "CES": Case(lambda m, r, x, y: (0.25 * x**r + 0.75 * y**r) ** (1 / r), 0.0, (2.0, 0.7)),
}
QUICK = {"sin x / x", "Bernoulli", "Langevin", "root", "CRRA", "divided difference"}


def symbolic(f):
    """The SymPy side of a formula of up to three parameters."""
    return {
        1: lambda f: lambda x: f(sympy, x),
        2: lambda f: lambda x, y: f(sympy, x, y),
        3: lambda f: lambda x, y, z: f(sympy, x, y, z),
    }[f.__code__.co_argcount - 1](f)


def exact(case, x, order):
    """The derivative of that order, at or beside the point, as mpmath has it."""
    with mpmath.workdps(150):
        at = [mpmath.mpf(a) for a in case.at]
        beside = mpmath.mpf(x) + (mpmath.mpf(10) ** -60 if x == case.point else 0)
        value = mpmath.diff(lambda x: case.f(mpmath, x, *at), beside, order)
        return np.float64(mpmath.re(value))


def orders(f, x, at, highest):
    """The function and its derivatives at the entries of x."""
    every = []
    for _ in range(highest + 1):
        every.append(f)
        f = jax.grad(f)
    return jax.jit(lambda x: [jax.vmap(lambda x, f=f: f(x, *at))(x) for f in every])(x)


def assert_accurate(actual, expected, x, rtol):
    error = np.abs(actual - expected) / np.maximum(np.abs(expected), 1e-25)
    worst = np.argmax(np.where(np.isnan(error), np.inf, error))
    assert error[worst] <= rtol, f"{error[worst]:.1e} at {x[worst]}: {actual[worst]}"


@pytest.mark.filterwarnings("ignore:.*order 3 take:UserWarning")
@pytest.mark.parametrize("name", slow_among(CASES, *(CASES.keys() - QUICK)))
def test_limit_is_accurate_to_third_order(name):
    case = CASES[name]
    x = np.asarray([case.point + h for h in DISTANCES if case.only(case.point + h)])
    f = dini.symbolic_rule(symbolic(case.f))
    for order, actual in enumerate(orders(f, x, case.at, 3)):
        expected = np.asarray([exact(case, v, order) for v in x])
        assert_accurate(np.asarray(actual), expected, x, RTOL[order])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_limit_is_as_accurate_as_its_precision(dtype):
    case = CASES["sin x / x"]
    f = dini.symbolic_rule(symbolic(case.f))
    x = jnp.asarray(DISTANCES, dtype)
    for order, actual in enumerate(orders(f, x, (), 2)):
        assert actual.dtype == dtype
        expected = np.asarray([exact(case, float(v), order) for v in x])
        assert_accurate(np.asarray(actual, float), expected, x, 300 * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("scale", [1e6, 1e-6, 0.0])
def test_limit_knows_its_scale_at_run_time(scale):
    f = dini.symbolic_rule(lambda x, a: (sympy.exp(a * x) - 1) / x)
    x = np.asarray(DISTANCES[:3] + DISTANCES[9:]) / (scale or 1.0)
    values, slopes = orders(f, x, (scale,), 1)
    u = scale * x
    expected = np.where(u == 0, scale, np.expm1(u) / np.where(x == 0, 1, x))
    assert_accurate(values, expected, x, 1e-13)
    curve = [float(mpmath.diff(lambda v: mpmath.expm1(v) / v, v + (v == 0) * 1e-20)) for v in u]
    assert_accurate(slopes, scale**2 * np.asarray(curve), x, 1e-12)


CES = CASES["CES"].f


def test_limit_has_derivatives_in_all_parameters():
    """CES at ρ = 0, where it is Cobb-Douglas: ∂f/∂ρ = f · ¼ ¾ (log x − log y)² / 2."""
    f = dini.symbolic_rule(lambda x, y, r: CES(sympy, r, x, y))
    x, y = 2.0, 0.7
    value, slopes = jax.jit(jax.value_and_grad(f, (0, 1, 2)))(x, y, 0.0)
    douglas = x**0.25 * y**0.75
    expected = [0.25 * douglas / x, 0.75 * douglas / y, douglas * 0.1875 * np.log(x / y) ** 2 / 2]
    np.testing.assert_allclose([value, *slopes], [douglas, *expected], rtol=1e-14)


def test_limit_at_which_two_parameters_are_equal():
    """f[x, y] is symmetric; f = exp has ∂ⁱ∂ʲ = exp(x) i! j! / (i + j + 1)! at x = y"""
    f = dini.symbolic_rule(lambda x, y: (sympy.exp(x) - sympy.exp(y)) / (x - y))
    slope = lambda x, y: jax.jit(lambda: (jax.grad(f, (0, 1))(x, y), jax.hessian(f, (0, 1))(x, y)))
    first, second = slope(0.4, 0.4)()
    np.testing.assert_allclose(first, np.exp(0.4) / 2, rtol=1e-14)
    np.testing.assert_allclose(second, np.exp(0.4) / np.array([[3, 6], [6, 3]]), rtol=1e-14)
    near, swapped = slope(0.4, 0.4 + 1e-7)(), slope(0.4 + 1e-7, 0.4)()
    np.testing.assert_allclose(near[0], swapped[0][::-1], rtol=1e-14)
    np.testing.assert_allclose(near[1], np.asarray(swapped[1])[::-1, ::-1], rtol=1e-13)


def test_limit_of_two_parameters_at_once():
    f = dini.symbolic_rule(lambda x, y: (sympy.exp(x * y) - 1) / (x * y))
    for x, y in [(0.0, 0.0), (0.0, 3.0), (2.0, 0.0), (1e-9, 1e9), (1e-20, 1e-20), (1e-3, 0.3)]:
        u = x * y
        slope = float(mpmath.diff(lambda v: mpmath.expm1(v) / v, u)) if u > 1e-15 else 0.5
        value, slopes = jax.value_and_grad(f, (0, 1))(x, y)
        np.testing.assert_allclose(value, np.expm1(u) / u if u else 1.0, rtol=1e-14)
        np.testing.assert_allclose(slopes, [slope * y, slope * x], rtol=1e-13)


@pytest.mark.slow
def test_limit_within_a_limit():
    """The second divided difference of exp: exp(ξ)/2 between its points, 1/6 of its slope each."""

    def exp_between(x, y, z):
        between = lambda x, y: (sympy.exp(x) - sympy.exp(y)) / (x - y)
        return (between(x, y) - between(y, z)) / (x - z)

    f = dini.symbolic_rule(exp_between)
    for x, y, z in [(1.0, 1.0, 1.0), (1.0, 1.3, 1.0), (1.0, 1.0, 1.3), (1.0, 1.0 + 1e-6, 1 - 1e-6)]:
        u, v, w = (mpmath.mpf(t) + i * mpmath.mpf(10) ** -8 for i, t in enumerate((x, y, z)))
        with mpmath.workdps(60):
            between = lambda a, b: (mpmath.exp(a) - mpmath.exp(b)) / (a - b)
            expected = (between(u, v) - between(v, w)) / (u - w)
        np.testing.assert_allclose(f(x, y, z), float(expected), rtol=2e-8)
    with pytest.warns(UserWarning, match="order 1"):
        slopes = jax.grad(f, (0, 1, 2))(1.0, 1.0, 1.0)
    np.testing.assert_allclose(slopes, np.e / 6, rtol=1e-13)


@pytest.mark.slow
def test_limits_of_a_mean_that_has_four_of_them():
    """Stolarsky's mean: ((xᵖ − yᵖ)/(p(x − y)))^(1/(p−1))."""
    mean = dini.symbolic_rule(lambda x, y, p: ((x**p - y**p) / (p * (x - y))) ** (1 / (p - 1)))
    with pytest.warns(UserWarning, match="the value takes"):
        np.testing.assert_allclose(mean(2.0, 3.0, 0.0), 1 / np.log(1.5), rtol=1e-14)
    np.testing.assert_allclose(mean(2.0, 3.0, 1.0), 27 / 4 / np.e, rtol=1e-14)
    np.testing.assert_allclose(mean(2.0, 3.0, 2.0), 2.5, rtol=1e-14)
    np.testing.assert_allclose(mean(2.0, 2.0, jnp.array([0.0, 0.5, 1.0, 2.0])), 2.0, rtol=1e-14)


def value_and_slope(body, x, **options):
    f = dini.symbolic_rule(body, **options)
    return np.asarray([f(x), jax.grad(f)(x)])


def test_pole_is_no_limit():
    assert value_and_slope(lambda x: 1 / x, 0.0)[0] == np.inf
    assert value_and_slope(lambda x: sympy.cos(x) / x, 0.0)[0] == np.inf
    assert np.isnan(value_and_slope(lambda x: (sympy.exp(x) - 1) / x**2 - 2 / x, 0.0)).all()
    not_analytic = (
        lambda x: sympy.tanh(1 / x) / x,
        lambda x: sympy.sin(x) / x * sympy.exp(-1 / x) / x,
        lambda x: (sympy.sqrt(x) + x) / sympy.sqrt(x),
        lambda x: (sympy.log(x) + x) / x,
    )
    for body in not_analytic:
        assert not np.isfinite(value_and_slope(body, 0.0)).any()
    never = lambda x, y: (sympy.Max(sympy.log(x), y) - y) / (sympy.exp(x * y) + sympy.log(x) ** 2)
    np.testing.assert_allclose(
        dini.symbolic_rule(never)(2.0, 0.0), np.log(2) / (1 + np.log(2) ** 2)
    )


def test_jump_is_no_limit():
    for body in (lambda x: abs(sympy.sin(x)) / x, lambda x: sympy.Max(sympy.sin(x), 2 * x) / x):
        assert np.isnan(value_and_slope(body, 0.0)).all()
    beside = value_and_slope(lambda x: abs(sympy.sin(x)) / x, -1e-6)
    np.testing.assert_allclose(beside, [-1.0, -1e-6 / 3], rtol=1e-11)


def test_kink_in_the_formula_is_none_in_the_function():
    f = dini.symbolic_rule(lambda x: sympy.sin(abs(x)) / abs(x))
    np.testing.assert_allclose(orders(f, jnp.array([0.0]), (), 2), [[1], [0], [-1 / 3]], rtol=1e-14)
    branches = lambda x: sympy.Piecewise((sympy.sin(x), x > 0), (2 * x, True)) / x
    np.testing.assert_allclose(value_and_slope(branches, 1e-7), [1.0, -1e-7 / 3], rtol=1e-12)
    np.testing.assert_allclose(value_and_slope(branches, -1e-7), [2.0, 0.0], rtol=1e-12)
    steps = value_and_slope(lambda x: sympy.floor(x + 3.5) * sympy.sin(x) / x, 1e-7)
    np.testing.assert_allclose(steps, [3.0, -1e-7], rtol=1e-12)


def test_entropy_vanishes_at_both_ends():
    entropy = lambda p: -p * sympy.log(p) - (1 - p) * sympy.log(1 - p)
    np.testing.assert_array_equal(value_and_slope(entropy, 0.0), [0.0, np.inf])
    np.testing.assert_array_equal(value_and_slope(entropy, 1.0), [0.0, -np.inf])
    relative = dini.symbolic_rule(lambda p, q: p * sympy.log(p / q))
    assert relative(0.0, 0.3) == 0.0
    assert jax.grad(relative, 1)(0.0, 0.3) == 0.0


def test_quotient_that_is_a_polynomial_is_found_out():
    f = dini.symbolic_rule(lambda x, y: (x**2 - y**2) / (x - y))
    assert (f(1.0, 1.0), f(3.0, 1.0)) == (2.0, 4.0)
    assert jax.hessian(f, (0, 1))(1.0, 1.0) == ((0.0, 0.0), (0.0, 0.0))


@pytest.mark.parametrize("power", [21, 201])
def test_series_with_gaps_is_not_taken_for_a_polynomial(power):
    body = lambda x: (x + sympy.sin(x) ** power) / x
    np.testing.assert_allclose(value_and_slope(body, 0.0), [1.0, 0.0])
    expected = 1 + np.sin(1.5) ** power / 1.5
    np.testing.assert_allclose(value_and_slope(body, 1.5)[0], expected, rtol=1e-13)


def test_limit_written_as_a_branch_is_recognised():
    x = jnp.array([0.0, 1e-5, 1.0])
    by_hand = lambda x: sympy.Piecewise((1, sympy.Eq(x, 0)), (sympy.sin(x) / x, True))
    f, plain = dini.symbolic_rule(by_hand), dini.symbolic_rule(lambda x: sympy.sin(x) / x)
    np.testing.assert_array_equal(orders(f, x, (), 2), orders(plain, x, (), 2))
    other = dini.symbolic_rule(lambda x: sympy.Piecewise((2, x == 0), (sympy.sin(x) / x, True)))
    np.testing.assert_allclose(other(x), plain(x))
    other = lambda x: sympy.Piecewise((2, sympy.Eq(x, 0)), (sympy.sin(x) / x, True))
    assert dini.symbolic_rule(other)(0.0) == 2.0


def test_points_are_those_given():
    sinc, kernel = lambda x: sympy.sin(x) / x, lambda x: sympy.sin(5 * x) / sympy.sin(x)
    assert np.isnan(value_and_slope(sinc, 0.0, limits=False)).all()
    assert np.isnan(value_and_slope(sinc, 0.0, limits={"x": [1]})).all()
    given = value_and_slope(kernel, np.pi, limits={"x": [0, sympy.pi]})
    np.testing.assert_allclose(given, [5.0, 0.0], atol=1e-13)
    difference = dini.symbolic_rule(limits={"x": ["y"]})(lambda x, y: (x**3 - y**3) / (x - y))
    assert difference(2.0, 2.0) == 12.0
    with pytest.raises(TypeError, match="`limits` names z, not among its parameters: x"):
        dini.symbolic_rule(sinc, limits={"z": [0]})(1.0)


def test_formula_that_ends_at_its_limit_is_nan_beyond():
    """The square root of a negative number, on either side, however close."""
    body = lambda x: sympy.sinh(sympy.sqrt(x**2 + 2 * x)) / sympy.sqrt(x**2 + 2 * x)
    x = jnp.array([-2.0, -2 - 1e-6, 0.0, 1e-6, -1e-6, -2 + 1e-6, -1.0])
    value, slope = orders(dini.symbolic_rule(body), x, (), 1)
    np.testing.assert_allclose(value[:4], [1, 1 + 1e-6 / 3, 1, 1 + 1e-6 / 3], rtol=1e-12)
    np.testing.assert_allclose(slope[:4] * 3, [-1, -1 - 1.2e-6, 1, 1 + 1.2e-6], rtol=1e-11)
    assert np.isnan(value[4:]).all()
    assert np.isnan(slope[4:]).all()


def test_one_over_poles_is_their_limit():
    """Resistances in parallel: xy/(x + y)."""
    f = dini.symbolic_rule(lambda x, y: 1 / (1 / x + 1 / y))
    slopes, curves = jax.jit(lambda: (jax.grad(f, (0, 1))(0.0, 2.0), jax.hessian(f)(0.0, 2.0)))()
    assert f(0.0, 2.0) == 0.0
    assert (*slopes, curves) == (1.0, 0.0, -1.0)


def test_formula_that_is_complex_elsewhere_is_looked_at():
    body = lambda x: sympy.Max(sympy.log(x), -2) * sympy.sin(x - 1) / (x - 1)
    np.testing.assert_allclose(value_and_slope(body, 1.0), [0.0, 1.0], atol=1e-15)
    heaviside = lambda x: sympy.Heaviside(sympy.log(x)) / sympy.log(x + 1)
    np.testing.assert_allclose(value_and_slope(heaviside, 2.0)[0], 1 / np.log(3.0), rtol=1e-15)
    cube = value_and_slope(lambda x: x + sympy.Rational(-1) ** sympy.Rational(1, 3), 2.0)
    assert np.isnan(cube[0])


def test_condition_is_one_at_its_limit():
    f = lambda x: sympy.Piecewise((x, sympy.sin(x) / x > 0.5), (-1, True))
    np.testing.assert_allclose(value_and_slope(f, 0.0), [0.0, 1.0])
    np.testing.assert_allclose(value_and_slope(f, 3.0), [-1.0, 0.0])
