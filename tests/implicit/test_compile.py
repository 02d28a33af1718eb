"""How often things happen: compilations, traces, factorisations, calls of the solver."""

import collections
import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.marks import slow

_counts = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kwargs: _counts.update([event])
)


def compilations():
    return _counts["/jax/core/compile/backend_compile_duration"]


def square(z, a):
    return z**2 - a


root = dini.implicit_root(square)
foreign = dini.custom_root(square)(lambda z, a: jax.lax.stop_gradient(jnp.sqrt(a)) + 0 * z)
ONES, TWOS = jnp.ones(2), 2 * jnp.ones(2)


class Curve(eqx.Module):
    scale: jax.Array
    shift: float
    power: int = 2

    @dini.implicit_root
    def root(self, z, a):
        return self.scale * z**self.power - a - self.shift


def half_square(x, a):
    return 0.5 * (x - a) ** 2


def positive(y, _):
    return jnp.maximum(y, 0.0)


def response(a):
    """At a known solution, by a condition that is made anew and is the same."""
    F = dini.conditions.projected_gradient(half_square, positive)
    return dini.root_jvp(F, a, (a,), (1.0,))


def known_inputs(f):
    """Calls with one argument each, first and second."""
    return f, (2.0,), (3.0,)


AGAIN = {
    "value": known_inputs(functools.partial(root, 1.0)),
    "gradient": known_inputs(jax.grad(functools.partial(root, 1.0))),
    "jvp": known_inputs(lambda a: jax.jvp(functools.partial(root, 1.0), (a,), (1.0,))),
    "hessian": known_inputs(jax.hessian(functools.partial(root, 1.0))),
    "vmap": (jax.vmap(root, (None, 0)), (1.0, ONES), (1.0, TWOS)),
    "solve": known_inputs(lambda a: root.solve(1.0, a).value),
    "condition": known_inputs(response),
    "foreign value": known_inputs(functools.partial(foreign, 1.0)),
    "foreign gradient": known_inputs(jax.grad(functools.partial(foreign, 1.0))),
    "foreign hessian": known_inputs(jax.hessian(functools.partial(foreign, 1.0))),
    "options made anew": known_inputs(
        lambda a: jax.grad(
            root.with_options(
                solver=optx.Newton(1e-8, 1e-8), linear_solver=lx.QR(), max_steps=99, throw=False
            ),
            1,
        )(1.0, a)
    ),
    "brackets": known_inputs(
        lambda upper: root.with_options(
            solver=optx.Bisection(1e-8, 1e-8), options={"lower": 0.0, "upper": upper}
        )(1.0, 2.0)
    ),
    "preconditioner": (
        lambda p: jax.grad(
            foreign.with_options(
                linear_solver=lx.GMRES(1e-8, 1e-8), preconditioner=lx.DiagonalLinearOperator(p)
            ),
            1,
        )(1.0, 2.0),
        (jnp.ones(1),),
        (2 * jnp.ones(1),),
    ),
    "method": (
        lambda scale, shift: Curve(scale, shift).root(ONES, 2.0),
        (ONES, 0.1),
        (TWOS, 0.2),
    ),
    "known root": known_inputs(lambda a: dini.root_vjp(square, a**0.5, (a,), 1.0)),
}


@pytest.mark.parametrize("name", AGAIN)
def test_second_call_compiles_nothing(name):
    f, first, second = AGAIN[name]
    f(*first)
    before = compilations()
    jax.block_until_ready(f(*first))
    jax.block_until_ready(f(*second))
    assert compilations() == before


def test_compilations_are_counted():
    """That the tests above see one."""
    before = compilations()
    dini.custom_root(lambda z, a: z - a)(lambda z, a: a + 0 * z)(1.0, 2.0)
    assert compilations() > before


@pytest.mark.parametrize("decorator", [dini.implicit_root, slow(dini.implicit_fixed_point)])
def test_residual_is_traced_a_few_times_and_never_again(decorator):
    calls = collections.Counter()

    def residual(z, a):
        calls["F"] += 1
        return 0.3 * jnp.sin(z) + a - 0.5 * z

    f = functools.partial(decorator(residual), 1.0)
    f(0.2)
    assert calls["F"] <= 3
    traced = calls["F"]
    for transform in (jax.grad, jax.jacfwd, jax.hessian):
        transform(f)(0.2)
    # What was traced for the value serves for the derivatives; no step of a loop traces anew.
    assert calls["F"] <= traced + 3


N = 5
_random = np.random.default_rng(0)
MATRIX = jnp.asarray(_random.normal(size=(N, N)) / 5)


def contraction(z, b):
    return jnp.tanh(MATRIX @ z) + b


TRANSFORMS = {
    "value": lambda f: f,
    "jacrev": jax.jacrev,
    "jacfwd": jax.jacfwd,
    "hessian": jax.hessian,
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_one_factorisation_serves_every_column_and_order(transform):
    def residual(z, b):
        return z - contraction(z, b)

    f = dini.custom_root(residual, throw=False)(lambda z, b: jax.lax.stop_gradient(z))
    g = TRANSFORMS[transform](lambda b: f(jnp.ones(N), b))
    text = jax.jit(g).lower(jnp.ones(N)).compile().as_text()
    assert len(re.findall(r'custom_call_target="lapack_dgetrf\w*"', text)) == 1


ORDERS = {
    "value": lambda f: f,
    "jvp": lambda f: lambda b: jax.jvp(f, (b,), (b,)),
    "vjp": lambda f: lambda b: jax.vjp(f, b)[1](b),
    "jacfwd": jax.jacfwd,
    "hessian": lambda f: jax.hessian(lambda b: f(b).sum()),
}


@pytest.mark.slow
@pytest.mark.parametrize("throw", [True, False])
def test_solver_runs_once_an_evaluation(throw):
    calls = collections.Counter()

    def host(z, b):
        calls["solver"] += 1
        z, b = np.zeros_like(np.asarray(z)), np.asarray(b)
        for _ in range(300):
            z = np.tanh(np.asarray(MATRIX) @ z) + b
        return np.round(z, 14)

    @dini.custom_fixed_point(contraction, throw=throw)
    def f(z, b):
        struct = jax.ShapeDtypeStruct(z.shape, z.dtype)
        return jax.pure_callback(host, struct, z, b, vmap_method="sequential")

    b = jnp.ones(N)
    for name, order in ORDERS.items():
        g = order(lambda b: f(jnp.zeros(N), b))
        for call in (g, jax.jit(g)):
            calls.clear()
            jax.block_until_ready(call(b))
            assert calls["solver"] == 1, name
