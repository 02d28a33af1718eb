"""Calls of host functions: failures, batches, how often, and arrays of any size."""

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import dini
from tests.support.compare import all_nan, assert_close
from tests.support.processes import output

X = jnp.array([0.3, -0.7])
COMPILED = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])


def run(f, compiled):
    return jax.jit(f) if compiled else f


# --- Failures ---


@dini.external(like="a")
def cube_root(a):
    """Raises outside 1/8 and 27."""
    return scipy.optimize.brentq(lambda z: z**3 - a, 0.5, 3.0, xtol=1e-15, rtol=1e-15)


@cube_root.defpartials
def _(out, _):
    return (1 / (3 * out**2),)


FAILING = {
    "value": lambda f: f,
    "grad": jax.grad,
    "vmap": lambda f: lambda a: jax.vmap(f)(jnp.stack([a, jnp.ones_like(a)])),
    "scan": lambda f: lambda a: jax.lax.scan(lambda c, a: (c + f(a), None), 0.0, a[None])[0],
}


@pytest.mark.parametrize("mode", FAILING)
@pytest.mark.parametrize("compiler", ["eager", "jit", "filter_jit"])
def test_failure_carries_its_message_and_spoils_no_later_call(mode, compiler):
    f = FAILING[mode](cube_root)
    f = {"eager": lambda f: f, "jit": jax.jit, "filter_jit": eqx.filter_jit}[compiler](f)
    good = f(jnp.asarray(8.0))
    direct = compiler == "eager" and mode != "scan"
    for _ in range(2):
        # JAX raises a ValueError of its own from a program that has run before.
        kind = ValueError if direct else (RuntimeError, ValueError)
        with pytest.raises(kind, match=r"must have different signs") as caught:
            jax.block_until_ready(f(jnp.asarray(-8.0)))
        if direct:
            assert str(caught.value) == "f(a) and f(b) must have different signs"
            assert "host function of dini.external `cube_root`" in caught.value.__notes__[0]
        else:
            text = str(caught.value)
            head = "dini.external `cube_root`: ValueError: f(a) and f(b) must have different signs"
            assert head in text
            host_code = text.index("in cube_root", text.index(head))
            assert "_host.py" not in text[text.index(head) : host_code]
        assert_close(f(jnp.asarray(8.0)), good)


def test_failure_under_custom_root_is_that_of_the_solver():
    f = dini.custom_root(lambda z, a: z**3 - a)(lambda z, a: cube_root(a))
    assert_close(jax.grad(f, 1)(1.0, 8.0), jnp.asarray(1 / 12), 1e-9)
    with pytest.raises(RuntimeError, match=r"`cube_root`: ValueError: f\(a\) and f\(b\)"):
        jax.block_until_ready(jax.grad(f, 1)(1.0, -8.0))
    assert_close(jax.grad(f, 1)(1.0, 8.0), jnp.asarray(1 / 12), 1e-9)


@COMPILED
def test_without_throw_a_failing_lane_is_nan(compiled):
    quiet = dini.external(cube_root.host, like="a", throw=False)
    quiet.defpartials(lambda out, a: (1 / (3 * out**2),))
    a = jnp.array([1.0, -8.0, 8.0])
    value, slope = run(jax.vmap(jax.value_and_grad(quiet)), compiled)(a)
    assert_close(value[::2], jnp.array([1.0, 2.0]), 1e-14)
    assert_close(slope[::2], jnp.array([1 / 3, 1 / 12]), 1e-14)
    assert all_nan((value[1], slope[1]))
    outer = dini.custom_root(lambda z, a: z**3 - a, throw=False)(lambda z, a: quiet(a))
    value, slope = run(jax.vmap(jax.value_and_grad(lambda a: outer(1.0, a))), compiled)(a)
    assert_close(slope[::2], jnp.array([1 / 3, 1 / 12]), 1e-9)
    assert all_nan((value[1], slope[1]))
    counted = dini.external(lambda x: 1 / 0, out=(X, jnp.arange(2)), throw=False)
    nan, zero = run(counted, compiled)(1.0)
    assert all_nan(nan)
    assert not np.any(zero)


def test_old_messages_are_forgotten():
    f = eqx.filter_jit(cube_root)
    with pytest.raises(RuntimeError, match="`cube_root`: ValueError"):
        f(jnp.asarray(-8.0))
    for _ in range(120):
        with pytest.raises(RuntimeError):
            f(jnp.asarray(-8.0))
    assert len(cube_root._host.failures) <= 100


# --- Batches ---


@COMPILED
@pytest.mark.parametrize("method", ["expand_dims", "broadcast_all"])
def test_function_that_takes_batches_is_called_once(method, compiled):
    shapes = []

    @dini.external(like="x", vmap_method=method)
    def f(x, y):
        shapes.append((x.shape, y.shape))
        return x * y[..., None]

    xs, ys = jnp.arange(12.0).reshape(3, 2, 2), jnp.arange(1.0, 4.0)
    over_rows = jax.vmap(jax.vmap(f, (0, None)))
    assert_close(run(over_rows, compiled)(xs, ys), xs * ys[:, None, None])
    wide = 1 if method == "expand_dims" else 2
    assert shapes == [((3, 2, 2), (3, wide))]
    shapes.clear()
    assert_close(run(f, compiled)(xs[0, 0], ys[0]), xs[0, 0])
    assert shapes == [((2,), ())]


@COMPILED
def test_batch_of_another_shape_is_refused(compiled):
    f = dini.external(lambda x: x[0], like="x", vmap_method="expand_dims")
    with pytest.raises((RuntimeError, ValueError) if compiled else TypeError, match=r"\[3\].*\[\]"):
        run(jax.vmap(f), compiled)(jnp.ones(3))


# --- Calls ---


def counted(kind, calls):
    """x³ on the host, with one of the three rules."""

    @dini.external(like="x")
    def f(x):
        calls.append(1)
        return x**3

    if kind == "jvp":
        f.defjvp(lambda p, t: (f(*p), 3 * p[0] ** 2 * t[0]))
    elif kind == "vjp":
        f.defvjp(lambda out, p, ct: (3 * p[0] ** 2 * ct,))
    elif kind == "partials":
        f.defpartials(lambda out, x: (3 * x**2,))
    return f


MODES = {
    "value": (lambda f: f, 1),
    "jvp": (lambda f: lambda x: jax.jvp(f, (x,), (x,)), 1),
    "grad": (lambda f: jax.grad(lambda x: jnp.sum(f(x))), 1),
    "value and grad": (lambda f: jax.value_and_grad(lambda x: jnp.sum(f(x))), 1),
    "jacfwd": (jax.jacfwd, 1),
    "jacrev": (jax.jacrev, 1),
    "hessian": (lambda f: jax.hessian(lambda x: jnp.sum(f(x) ** 2)), 1),
    "reverse over reverse": (lambda f: jax.jacrev(jax.jacrev(f)), 1),
    "reverse over forward": (lambda f: jax.jacrev(jax.jacfwd(f)), 1),
    "forward over forward": (lambda f: jax.jacfwd(jax.jacfwd(f)), 1),
    "batch": (lambda f: lambda x: jax.vmap(jax.grad(lambda x: jnp.sum(f(x))))(x[:, None]), 2),
}


def check_counts(f, calls, modes, compiled):
    for name, (mode, lanes) in modes.items():
        calls.clear()
        g = run(mode(f), compiled)
        jax.eval_shape(g, X)
        jax.make_jaxpr(g)(X)
        if compiled:
            g.lower(X).compile()
        assert not calls, f"{name} calls the host while tracing"
        jax.block_until_ready(g(X))
        # A compiled program leaves out a value that nothing uses.
        unused = compiled and name not in ("value", "jvp", "value and grad", "hessian")
        assert len(calls) in {lanes, 0 if unused else lanes}, name


@COMPILED
@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
def test_host_is_called_no_more_often_than_its_value_needs(kind, compiled):
    calls = []
    check_counts(counted(kind, calls), calls, MODES, compiled)


@pytest.mark.slow
@COMPILED
def test_host_under_custom_root_is_called_no_more_often_than_its_value_needs(compiled):
    calls = []

    @dini.custom_root(lambda z, x: z - x**3)
    @dini.external(like="x")
    def f(_, x):
        calls.append(1)
        return x**3

    check_counts(lambda x: f(jnp.zeros_like(x), x), calls, MODES, compiled)


@COMPILED
def test_host_is_called_once_a_step(compiled):
    calls = []
    f = counted("vjp", calls)
    loop = lambda x: jnp.sum(jax.lax.scan(lambda x, _: (0.5 * f(x), None), x, length=4)[0])
    run(jax.value_and_grad(loop), compiled)(X)[1].block_until_ready()
    assert len(calls) == 4
    calls.clear()
    run(jax.grad(lambda x: jnp.sum(jax.checkpoint(f)(x) ** 2)), compiled)(X).block_until_ready()
    assert len(calls) <= 2


# --- Large arrays ---


def big(n):
    f = dini.external(lambda x: x.T + 1, like="x")
    x = jnp.ones((n, n))
    value = jax.jit(lambda x: f(x @ x))(x)
    assert_close(value[:2, :2], n + 1.0 + jnp.zeros((2, 2)))
    lanes = jax.jit(jax.vmap(f))(jnp.stack([x, 2 * x]))
    assert_close(lanes[:, 0, 0], jnp.array([2.0, 3.0]))
    steps = jax.jit(lambda x: jax.lax.scan(lambda x, _: (f(0.5 * x), None), x, length=4)[0])(x)
    assert_close(steps[0, 0], jnp.asarray(1.9375))
    total = jax.jit(lambda x: jnp.sum(f(x)))
    several = [total(i * (x @ x)) for i in range(8)]
    assert_close(several[-1] / n**2, jnp.asarray(7.0 * n + 1))


def test_large_arrays_go_through():
    big(600)


@pytest.mark.slow
def test_larger_arrays_go_through():
    big(2000)


ONE_WORKER = """
import os, sys
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
import jax
jax.config.update("jax_enable_x64", True)
from tests.rules.test_external_calls import big
big(400)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to take one processor")
def test_large_arrays_go_through_with_a_single_worker():
    """Where `jax.pure_callback` of JAX 0.10 waits for ever."""
    output(ONE_WORKER, timeout=120)
