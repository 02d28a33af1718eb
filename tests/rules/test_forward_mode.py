"""Reverse mode by forward mode: loops without a transpose, all orders, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close


def by_while(p, *, steps, scale=1.0):
    def step(carry):
        i, z = carry
        return i + 1, jnp.sin(p["a"] * z) + scale * p["b"]

    return jax.lax.while_loop(lambda c: c[0] < steps, step, (0, jnp.ones(2)))[1]


def by_scan(p, *, steps, scale=1.0):
    def step(z, _):
        return jnp.sin(p["a"] * z) + scale * p["b"], None

    return jax.lax.scan(step, jnp.ones(2), length=steps)[0]


V = jnp.array([0.7, 0.1, 0.3])
decorated = dini.forward_mode(by_while)


def objective(f, **options):
    return lambda v: jnp.sum(f({"a": v[0], "b": v[1:]}, steps=20, **options) ** 2)


ORDERS = {
    "grad": jax.grad,
    "hessian": jax.hessian,
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "batch": lambda f: lambda v: jax.vmap(jax.grad(f))(jnp.stack([v, 2 * v])),
}


@pytest.mark.parametrize("order", ORDERS)
def test_loop_without_a_transpose_agrees_with_a_scan(order):
    transform = ORDERS[order]
    actual = jax.jit(transform(objective(decorated)))(V)
    assert_close(actual, jax.jit(transform(objective(by_scan)))(V), 1e-12)


@pytest.mark.slow
def test_third_order_agrees_with_a_scan():
    third = lambda f: jax.jacrev(jax.jacrev(jax.jacrev(f)))
    actual = jax.jit(third(objective(decorated)))(V)
    assert_close(actual, jax.jit(third(objective(by_scan)))(V), 1e-12)


def test_plain_loop_has_no_reverse_mode():
    with pytest.raises(ValueError, match="Reverse-mode"):
        jax.grad(objective(by_while))(V)


def test_keyword_of_floating_point_is_differentiated():
    of_scale = lambda f: jax.grad(lambda s: objective(f, scale=s)(V))(1.3)
    assert_close(of_scale(decorated), of_scale(by_scan), 1e-12)


def test_captured_value_is_differentiated():
    def total(f):
        def of_scale(s):
            inner = f(lambda p: by_scan(p, steps=5, scale=s))
            return jnp.sum(inner({"a": s, "b": V[1:]}))

        return jax.grad(of_scale)(1.3)

    assert_close(total(dini.forward_mode), total(lambda f: f), 1e-12)


def test_memory_does_not_grow_with_the_length_of_a_loop():
    def bytes_of(f, steps):
        g = jax.grad(lambda v: jnp.sum(f({"a": v[0], "b": jnp.full(1000, v[1])}, steps) ** 2))
        return jax.jit(g).lower(V).compile().memory_analysis().temp_size_in_bytes

    def loop(p, steps):
        step = lambda z, _: (jnp.sin(p["a"] * z) + p["b"], None)
        return jax.lax.scan(step, jnp.ones(1000), length=steps)[0]

    def of_two(p, steps):
        inner = dini.forward_mode(lambda a, b: loop({"a": a, "b": b}, steps))
        return inner(p["a"], p["b"][0])

    assert bytes_of(of_two, 2000) <= 1.1 * bytes_of(of_two, 20)
    assert bytes_of(loop, 2000) > 20 * bytes_of(loop, 20)


def test_complex_argument_is_refused():
    with pytest.raises(TypeError, match="`x` is complex"):
        dini.forward_mode(lambda x: x**2)(np.asarray(1j))
