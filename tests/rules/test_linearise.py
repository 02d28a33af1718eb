"""The derivative of a function in whichever directions it has one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.rules import differentiable, linearise
from tests.support.compare import assert_close

A = jnp.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]])
X = jnp.array([0.3, -0.7, 1.1])
X_DOT = jnp.array([1.0, -2.0, 0.5])
CT = jnp.array([0.4, -1.5])


@jax.custom_vjp
def reverse_only(x):
    """sin with a rule for reverse mode alone."""
    return jnp.sin(x)


reverse_only.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))


@jax.custom_vjp
def on_the_host(x):
    """sin with a reverse rule that JAX cannot transpose: it leaves for the host."""
    return jnp.sin(x)


def _host_cosine(x, ct):
    call = lambda x, ct: np.asarray(ct) * np.cos(np.asarray(x))
    struct = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return (jax.pure_callback(call, struct, x, ct, vmap_method="sequential"),)


on_the_host.defvjp(lambda x: (jnp.sin(x), x), _host_cosine)


def looped(x):
    """sin in a `while_loop`, which has no reverse mode."""
    return jax.lax.while_loop(lambda c: c[1] < 1, lambda c: (jnp.sin(c[0]), c[1] + 1), (x, 0))[0]


def with_(sine):
    return lambda x: A @ sine(x) * x[0]


JACOBIAN = jax.jacfwd(with_(jnp.sin))(X)


@pytest.mark.parametrize("sine", [jnp.sin, reverse_only, on_the_host], ids=["plain", "vjp", "host"])
def test_linearise_gives_both_directions(sine):
    value, pushforward, plain, reverse = linearise(with_(sine), X, "f")
    assert plain == (sine is jnp.sin)
    assert reverse
    assert_close(value, A @ jnp.sin(X) * X[0], 1e-15)
    assert_close(pushforward(X_DOT), JACOBIAN @ X_DOT, 1e-14)
    assert_close(jax.linear_transpose(pushforward, X)(CT)[0], JACOBIAN.T @ CT, 1e-14)


def test_linearise_of_a_while_loop_has_forward_mode_alone():
    value, pushforward, plain, reverse = linearise(with_(looped), X, "my residual")
    assert not plain
    assert not reverse
    assert_close(value, A @ jnp.sin(X) * X[0], 1e-15)
    assert_close(pushforward(X_DOT), JACOBIAN @ X_DOT, 1e-14)
    with pytest.raises(TypeError, match="my residual has no reverse mode"):
        jax.linear_transpose(pushforward, X)(CT)


def test_linearise_that_has_neither_direction_raises_at_once():
    with pytest.raises(TypeError, match="neither mode"):
        linearise(lambda x: with_(looped)(x) + with_(on_the_host)(x), X, "my residual")


@pytest.mark.parametrize("sine", [reverse_only, on_the_host], ids=["vjp", "host"])
def test_differentiable_gives_forward_mode_to_a_rule_for_reverse_mode(sine):
    fun = differentiable(with_(sine), "f")
    assert_close(jax.jit(jax.jacfwd(fun))(X), JACOBIAN, 1e-14)
    assert_close(jax.jit(jax.jacrev(fun))(X), JACOBIAN, 1e-14)


@pytest.mark.parametrize("sine", [jnp.sin, reverse_only, looped], ids=["plain", "vjp", "loop"])
def test_linearise_under_jit_and_vmap(sine):
    def push(x, v):
        return linearise(with_(sine), x, "f").pushforward(v)

    xs = jnp.stack([X, 2 * X])
    expected = jax.vmap(lambda x: jax.jacfwd(with_(jnp.sin))(x) @ X_DOT)(xs)
    assert_close(jax.jit(jax.vmap(push, (0, None)))(xs, X_DOT), expected, 1e-14)


def test_linearise_is_differentiated_in_the_point_and_in_the_direction():
    def loss(sine):
        return lambda x, v: jnp.sum(jnp.cos(linearise(with_(sine), x, "f").pushforward(v)))

    def oracle(x, v):
        return jnp.sum(jnp.cos(jax.jvp(with_(jnp.sin), (x,), (v,))[1]))

    expected = jax.jit(jax.grad(oracle, (0, 1)))(X, X_DOT)
    assert_close(jax.jit(jax.grad(loss(jnp.sin), (0, 1)))(X, X_DOT), expected, 1e-13)


def test_linearise_traces_its_function_once():
    traces = []

    def counted(x):
        traces.append(1)
        return with_(jnp.sin)(x)

    pushforward = linearise(counted, X, "f").pushforward
    transpose = jax.linear_transpose(pushforward, X)
    for _ in range(3):
        pushforward(X_DOT)
        transpose(CT)
    assert len(traces) == 1


def test_linearise_of_trees():
    def fun(x):
        return {"p": x["u"] * x["v"], "q": (jnp.sum(x["u"]),)}

    x = {"u": X, "v": jnp.asarray(2.0)}
    dot = {"u": X_DOT, "v": jnp.asarray(-1.0)}
    value, pushforward, *_ = linearise(fun, x, "f")
    assert_close((value, pushforward(dot)), jax.jvp(fun, (x,), (dot,)), 1e-14)
    ct = {"p": X_DOT, "q": (jnp.asarray(0.5),)}
    assert_close(jax.linear_transpose(pushforward, x)(ct), jax.vjp(fun, x)[1](ct), 1e-14)
