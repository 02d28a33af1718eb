"""How a symbolic rule is called: arguments, laziness, refusals, and what it warns of."""

import collections
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow
from tests.support.processes import output

_counts = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kwargs: _counts.update([event])
)


@dini.symbolic_rule
def sinc(x):
    """The cardinal sine."""
    return sympy.sin(x) / x


@dini.symbolic_rule
def product(x, y=2.0, *rest, scale=3, **more):
    return x**2 * y * scale + sum(rest) ** 2 + more.get("u", 0) * x


def test_symbolic_rule_takes_arguments_as_the_function_does():
    plain = lambda x, y=2.0, *rest, scale=3, **more: product.fn(x, y, *rest, scale=scale, **more)
    calls = {
        "by position": lambda f: lambda a, b, c: f(a, b) * c,
        "by keyword": lambda f: lambda a, b, c: f(y=b, x=a, scale=c),
        "defaults": lambda f: lambda a, b, c: f(a) * b * c,
        "more positions": lambda f: lambda a, b, c: f(a, b, c, a * c),
        "more keywords": lambda f: lambda a, b, c: f(a, b, u=c),
    }
    derivatives = lambda f: jax.jit(jax.value_and_grad(f, (0, 1, 2)))(0.7, 1.3, -0.4)
    for call in calls.values():
        assert_close(derivatives(call(product)), derivatives(call(plain)), 1e-14)


def test_symbolic_rule_takes_and_returns_trees():
    @dini.symbolic_rule
    def polar(point, unit):
        x, y = point["x"], point["y"]
        turn = 180 / sympy.pi if unit == "degree" else 1
        return {"radius": sympy.sqrt(x**2 + y**2), "angle": (turn * sympy.atan2(y, x), 2)}

    point = {"x": jnp.array([3.0, -1.0]), "y": jnp.array(4.0)}
    radius = np.hypot(point["x"], 4.0)
    angle = np.arctan2(4.0, point["x"])
    out = polar(point, "degree")
    assert_close(out, {"radius": radius, "angle": (np.degrees(angle), np.array([2.0, 2.0]))})
    slope = jax.grad(lambda p: jnp.sum(polar(p, "radian")["radius"]))(point)
    assert_close(slope, {"x": point["x"] / radius, "y": np.sum(4.0 / radius)})


class Curve(eqx.Module):
    scale: jax.Array
    shape: str = eqx.field(static=True)

    @dini.symbolic_rule
    def at(self, x):
        assert self.shape == "sinc"
        return self.scale * sympy.sin(x) / x


def test_symbolic_rule_is_a_method():
    curve = Curve(jnp.array(2.0), "sinc")
    assert curve.at(0.0) == 2.0
    assert jax.grad(lambda c: c.at(1.0))(curve).scale == jnp.sin(1.0)
    assert jax.grad(curve.at)(0.0) == 0.0


def test_symbolic_rule_broadcasts_and_keeps_the_dtype():
    f = dini.symbolic_rule(lambda x, y: x / 3 + y)
    assert f(jnp.ones((3, 1)), jnp.ones(4)).shape == (3, 4)
    assert f(1, 2) == f(jnp.array(1), np.int32(2)) == 7 / 3
    assert f(1, 2).dtype == jnp.float64
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        x = jnp.ones(2, dtype)
        for value in (f(x, 2), f(x, 2.5), f(x, x), jax.jvp(f, (x, x), (x, x))[1]):
            assert value.dtype == dtype
    mixed = jax.grad(lambda x, y: f(x, y).sum(), (0, 1))(jnp.float32(1), jnp.ones(2))
    assert [g.dtype for g in mixed] == [jnp.float32, jnp.float64]
    constant = dini.symbolic_rule(lambda x: 7)
    assert_close(constant(jnp.ones(3)), np.full(3, 7.0))
    assert jax.grad(constant)(2.0) == 0.0


def test_symbolic_rule_tells_its_expression():
    x, y = sympy.symbols("x y", real=True)
    assert sinc.expression == sympy.sin(x) / x
    assert (sinc.__name__, sinc.__doc__) == ("sinc", "The cardinal sine.")
    assert repr(sinc) == "<dini.symbolic_rule `sinc`>"
    tree = dini.symbolic_rule(lambda x, *, y: (x + y, {"a": x * y}))
    assert tree.expression == (x + y, {"a": x * y})
    with pytest.raises(TypeError, match="`product` has an expression for each number"):
        _ = product.expression


def test_symbolic_rule_calls_its_function_once_and_compiles_once():
    calls = []

    @dini.symbolic_rule
    def f(x, y):
        calls.append((x, y))
        return sympy.exp(x * y) * sympy.sin(x)

    uses = [f, jax.grad(f), jax.grad(f, (0, 1)), jax.hessian(f, (0, 1)), jax.jit(jax.jacrev(f))]
    for use in uses:
        use(0.3, 2.0)
    compiled = _counts["/jax/core/compile/backend_compile_duration"]
    assert compiled > 0
    for use in uses:
        use(0.7, -1.0)
    assert _counts["/jax/core/compile/backend_compile_duration"] == compiled
    assert len(calls) == 1


def test_symbolic_rule_finds_no_derivative_that_is_not_needed():
    """The derivative of ζ(s, a) in s is not known; that in a is."""
    f = dini.symbolic_rule(lambda s, a: sympy.zeta(s, a) * s)
    for use in (jax.grad(f, 1), jax.jit(jax.grad(jax.grad(f, 1), 1)), jax.hessian(f, 1)):
        assert np.isfinite(use(3.0, 2.0))
    with pytest.raises(TypeError, match=r"no derivative in `s`: SymPy has no formula for .*zeta"):
        jax.grad(f)(3.0, 2.0)


def test_value_and_derivatives_are_one_program():
    """The exponential is found once for the value and all derivatives."""
    f = dini.symbolic_rule(lambda x, y: sympy.exp(sympy.sin(x) * y) * y)
    jaxpr = jax.make_jaxpr(jax.value_and_grad(f, (0, 1)))(0.3, 0.4)
    assert str(jaxpr).count(" exp ") == 1
    assert str(jaxpr).count(" sin ") == 1


BAD = {
    "no expression": (lambda x: "x", (1.0,), "must return a SymPy expression .* returned str"),
    "a truth": (lambda x: x > 0, (1.0,), "returned StrictGreaterThan"),
    "an array": (lambda x: np.array([1.0]), (1.0,), "returned ndarray"),
    "a matrix": (lambda x: sympy.Matrix([x]), (1.0,), "returned MutableDenseMatrix"),
    "a foreign symbol": (
        lambda x: x + sympy.Symbol("z"),
        (1.0,),
        "holds z, not among the symbols that it was given: x",
    ),
    "complex": (lambda x: sympy.I * x, (1.0,), "is complex"),
    "complex argument": (lambda x: x, (1j,), "real numbers: its argument `x` is complex128"),
    "array of truths": (lambda x: x, (np.array([True]),), "real numbers: its argument `x` is bool"),
    "Lambert": (
        lambda x: 2 * sympy.LambertW(x),
        (1.0,),
        r"JAX has no LambertW\(x\). It has acos, ",
    ),
    "Bessel": (lambda x: sympy.besselj(0, x), (1.0,), r"JAX has no besselj\(0, x\)"),
    "order": (lambda n, x: sympy.besseli(n, 2 * x), (0.5, 1.0), r"JAX has no besseli\(n, 2\*x\)"),
    "undefined": (lambda x: sympy.Function("g")(x) * x, (1.0,), r"JAX has no g\(x\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_symbolic_rule_refuses(name):
    body, args, message = BAD[name]
    with pytest.raises(TypeError, match="dini.symbolic_rule `<lambda>`.*" + message):
        dini.symbolic_rule(body)(*args)


def test_symbolic_rule_decorates_functions():
    with pytest.raises(TypeError, match="decorates a function"):
        dini.symbolic_rule(3)


def test_sympy_is_imported_at_the_first_call_and_asked_for_by_name(monkeypatch):
    lazy = """
import sys, dini
assert "sympy" not in sys.modules
f = dini.symbolic_rule(lambda x: x**2)
assert "sympy" not in sys.modules
assert f(3.0) == 9.0
assert "sympy" in sys.modules
"""
    output(lazy)
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(ImportError, match="the extra `symbolic`"):
        dini.symbolic_rule(lambda x: x)


@pytest.mark.parametrize("order", [1, slow(2)])
def test_expression_that_swells_is_warned_of_once_for_each_order(order):
    wide = dini.symbolic_rule(
        lambda x: sum(sympy.sin(i * x) * sympy.cos(x / i) for i in range(1, 150))
    )
    derivative = wide
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(wide, 0.3)
        for _ in range(order):
            derivative = jax.grad(derivative)
            with pytest.warns(UserWarning, match=r"up to order \d take \d{4} operations"):
                jax.eval_shape(derivative, 0.3)
            jax.eval_shape(derivative, 0.3)


@pytest.mark.slow
def test_aggregate_of_many_goods_is_kept_small_by_sharing():
    """CES of 200 goods: its gradient has half a million operations before they are shared."""

    @dini.symbolic_rule
    def ces(rho, weight, *x):
        return sum(weight * (1 + i) * v**rho for i, v in enumerate(x)) ** (1 / rho)

    slope = jax.grad(lambda x: ces(-2 / 3, 0.1, *x))
    x = list(np.linspace(1.0, 2.0, 200))
    powers = str(jax.make_jaxpr(slope)(x)).count(" pow ")
    assert powers < 410  # two for each good
    plain = lambda x: jnp.sum(0.1 * jnp.arange(1, 201) * x ** (-2 / 3)) ** -1.5
    assert_close(jnp.stack(jax.jit(slope)(x)), jax.grad(plain)(jnp.asarray(x)), 1e-12)
