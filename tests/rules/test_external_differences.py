"""Derivatives of host functions from their values, for those who ask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import dini
from tests.support.compare import all_nan, assert_close
from tests.support.marks import case

X = jnp.array([0.3, -0.7, 1.1])
ERRORS = {
    "forward": 3e-8,
    "central": 2e-10,
    "five_point": 1e-11,
    "ridders": 1e-12,
    "complex_step": 1e-15,
}
COSTS = {"forward": 1, "central": 2, "five_point": 4, "complex_step": 1}


def smooth(x, p, power=2):
    return {
        "y": jnp.exp(-(x**power)) * p["a"] + x[0] * p["b"],
        "s": jnp.sum(jnp.sin(p["b"] * x)) * p["a"],
    }


def by_differences(derivative, calls=None, **options):
    @dini.external(
        out=lambda x, *_: {"y": x, "s": jax.ShapeDtypeStruct((), x.dtype)},
        derivative=derivative,
        **options,
    )
    def f(x, p, power=2):
        calls.append(1) if calls is not None else None
        y = np.exp(-(x**power)) * p["a"] + x[0] * p["b"]
        return {"y": y, "s": np.sum(np.sin(p["b"] * x)) * p["a"]}

    return f


FIRST_ORDER = {
    "jvp": lambda f: lambda x, p: jax.jvp(f, (x, p), (X[::-1], {"a": 0.5, "b": -X})),
    "jacfwd": lambda f: jax.jacfwd(f, (0, 1)),
    "jacrev": lambda f: jax.jacrev(f, (0, 1)),
    "grad": lambda f: jax.value_and_grad(lambda x, p: jnp.sum(f(x, p)["y"] ** 2), (0, 1)),
    "vmap": lambda f: lambda x, p: jax.vmap(jax.jacrev(f), (0, None))(jnp.stack([x, 2 * x]), p),
    "scan": lambda f: jax.grad(
        lambda x, p: jnp.sum(
            jax.lax.scan(jax.checkpoint(lambda x, _: (f(x, p)["y"], None)), x, length=3)[0]
        )
    ),
}


def cases_of_differences():
    for derivative in ERRORS:
        for mode in FIRST_ORDER:
            quick = derivative == "central" or mode == "jvp"
            yield case(derivative, mode, quick=quick)


@pytest.mark.parametrize(("derivative", "mode"), list(cases_of_differences()))
def test_differences_agree_with_jax(derivative, mode):
    p = {"a": 1.3, "b": jnp.array([0.5, -1.0, 2.0])}
    transform = FIRST_ORDER[mode]
    expected = transform(smooth)(X, p)
    for compiler in (lambda f: f, jax.jit):
        actual = compiler(transform(by_differences(derivative)))(X, p)
        assert_close(actual, expected, 30 * ERRORS[derivative])


@pytest.mark.parametrize("derivative", COSTS)
def test_differences_cost_what_they_must(derivative):
    """One call for the value; then for a tangent, and for each number that is differentiated."""
    calls, cost = [], COSTS[derivative]
    f = by_differences(derivative, calls)
    value = lambda x, p: f(x, p)["y"]
    total = lambda p, x: jnp.sum(value(x, p))
    p = {"a": 1.3, "b": jnp.array([0.5, -1.0, 2.0])}
    modes = {
        "value": (value, 1),
        "jvp": (lambda x, p: jax.jvp(lambda x: value(x, p), (x,), (x,)), 1 + cost),
        "jacrev": (jax.jacrev(value), 1 + 3 * cost),
        "grad": (lambda x, p: jax.grad(total)(p, x), 1 + 4 * cost),
    }
    for name, (mode, expected) in modes.items():
        for g in (mode, jax.jit(mode)):
            calls.clear()
            jax.block_until_ready(g(X, p))
            assert len(calls) == expected, name


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_differences_keep_the_precision(dtype):
    f = dini.external(lambda x: 2 * np.sin(x), like="x", derivative="ridders")
    x = X.astype(dtype)
    for jacobian in (jax.jacfwd, jax.jacrev):
        got = jax.jit(jacobian(f))(x)
        assert got.dtype == dtype
        assert_close(got, jnp.diag(2 * jnp.cos(x)), 1e-4 if dtype == jnp.float32 else 1e-12)


def test_differences_of_complex_numbers_follow_the_convention_of_jax():
    """Not holomorphic: both modes see the real and the imaginary part apart."""
    plain = lambda z, a: jnp.stack([a * z * jnp.conj(z) + 1j * z**2, jnp.abs(z) + 0j])
    host = lambda z, a: np.stack([a * z * np.conj(z) + 1j * z**2, np.abs(z) + 0j])
    f = dini.external(host, out=lambda z, a: jax.eval_shape(plain, z, a), derivative="ridders")
    z, v = jnp.array([1.0 + 2j, -0.4j]), jnp.array([0.3j, 1.0 - 1j])
    ct = jnp.array([[0.2 + 1j, 2.0 - 0.5j], [1j, 0.7 + 0j]])

    def both(f):
        return jax.jvp(f, (z, 0.8), (v, -1.0)), jax.vjp(f, z, 0.8)[1](ct)

    assert_close(jax.jit(lambda: both(f))(), both(plain), 1e-11)
    stepped = dini.external(lambda z: 2 * z, like="z", derivative="complex_step")
    with pytest.raises(TypeError, match=r"primals\[0\]\['z'\] is complex; the point must be real"):
        jax.grad(lambda z: stepped(z).real)(1j)


def test_complex_step_sees_through_an_absolute_value():
    f = dini.external(lambda x: 3 * np.abs(x), like="x", derivative="complex_step")
    with pytest.raises(TypeError, match="takes a real part or an absolute value"):
        jax.grad(f)(2.0)
    with pytest.raises(
        (RuntimeError, ValueError), match=r"derivative of dini.external `.*absolute"
    ):
        jax.jit(jax.grad(f))(2.0)


def test_integers_in_the_result_have_no_derivative():
    out = lambda x: {"y": x, "steps": jnp.arange(1)}
    f = dini.external(lambda x: {"y": x**2, "steps": [3]}, out=out, derivative="central")
    (value, tangent) = jax.jvp(f, (3.0,), (1.0,))
    assert (value["y"], value["steps"][0]) == (9.0, 3)
    assert_close(tangent["y"], jnp.asarray(6.0), 1e-9)
    assert tangent["steps"].dtype == jax.dtypes.float0
    assert_close(jax.grad(lambda x: f(x)["y"])(3.0), jnp.asarray(6.0), 1e-9)
    steps = dini.external(lambda x: [1], out=jnp.arange(1), derivative="central")
    assert jax.jvp(steps, (3.0,), (1.0,))[1].dtype == jax.dtypes.float0


@pytest.mark.parametrize(
    "nesting",
    [
        jax.hessian,
        lambda f: jax.jacrev(jax.jacrev(f)),
        lambda f: jax.jit(jax.jacfwd(jax.jacfwd(f))),
    ],
)
def test_differences_of_differences_are_refused(nesting):
    f = dini.external(lambda x: x**3, like="x", derivative="central")
    message = r"derivative of dini.external `.*` is by differences.* Give the function a rule"
    with pytest.raises(TypeError, match=message):
        nesting(f)(2.0)


def test_rule_goes_before_differences():
    f = dini.external(lambda x: x**3, like="x", derivative="central")
    f.defpartials(lambda out, x: (3 * x**2,))
    assert jax.grad(f)(2.0) == 12
    assert_close(jax.hessian(f)(2.0), jnp.asarray(12.0))


def test_failure_between_the_points_is_nan_without_throw():
    def host(x):
        if x > 1:
            raise ArithmeticError("outside")
        return np.sqrt(1 - x)

    quiet = dini.external(host, like="x", derivative="central", throw=False)
    lanes = jax.jit(jax.vmap(jax.value_and_grad(quiet)))(jnp.array([0.0, 2.0, 1.0]))
    assert_close(lanes[1][0], jnp.asarray(-0.5), 1e-9)
    assert all_nan((lanes[0][1], lanes[1][1:]))
    loud = dini.external(host, like="x", derivative="central")
    with pytest.raises(ArithmeticError, match="outside"):
        jax.grad(loud)(1.0)
    with pytest.raises((RuntimeError, ValueError), match=r"ArithmeticError: outside"):
        jax.jit(jax.grad(loud))(1.0)


def test_differential_equation_is_differentiated_by_complex_steps():
    """y' = −k y, y(0) = y0: y(t) = y0 exp(−k t)."""

    @dini.external(like="y0", derivative="complex_step")
    def flow(y0, rate, *, until=2.0):
        span, start = (0.0, float(np.real(until))), np.asarray(y0 + 0 * rate)
        return scipy.integrate.solve_ivp(
            lambda t, y: -rate * y, span, start, rtol=1e-10, atol=1e-12
        ).y[:, -1]

    y0 = jnp.array([1.0, 3.0])
    exact = lambda y0, k: y0 * jnp.exp(-2 * k)
    for mode in (jax.jacfwd, jax.jacrev):
        got = jax.jit(mode(flow, (0, 1)))(y0, 0.7)
        assert_close(got, mode(exact, (0, 1))(y0, 0.7), 1e-8)


@pytest.mark.slow
def test_residual_on_the_host_is_solved_and_differentiated():
    """z² + sin z = a, the left-hand side known by its values only."""
    side = dini.external(lambda z: z**2 + np.sin(z), like="z", derivative="complex_step")
    f = dini.implicit_root(lambda z, a: side(z) - a)
    a = jnp.array([1.0, 4.0])
    z, slope = f(jnp.ones(2), a), jax.jacrev(f, 1)(jnp.ones(2), a)
    assert_close(z**2 + jnp.sin(z), a, 1e-9)
    assert_close(slope, jnp.diag(1 / (2 * z + jnp.cos(z))), 1e-9)
