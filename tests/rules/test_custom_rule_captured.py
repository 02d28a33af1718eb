"""What a custom rule captures is differentiated as well: `self`, and traced values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close

X = jnp.array([0.3, -0.7, 1.1])


def cut(out):
    return jax.tree.map(jax.lax.stop_gradient, out)


class Growth(eqx.Module):
    rate: jax.Array
    power: int = 2
    label: str = eqx.field(static=True, default="g")

    @dini.custom_rule
    def after(self, x, *, times=1.0):
        return cut(jnp.exp(self.rate * times) * x**self.power)

    @after.defvjp
    @staticmethod
    def _(out, primals, ct):
        self, x, times = primals
        slope = self.power * jnp.exp(self.rate * times) * x ** (self.power - 1)
        back = Growth(jnp.sum(ct * out) * times, None)
        return back, slope * ct, jnp.sum(ct * out) * self.rate

    def plain(self, x, *, times=1.0):
        return jnp.exp(self.rate * times) * x**self.power


def test_custom_rule_on_a_method_differentiates_self():
    growth = Growth(jnp.asarray(0.4))

    def all_of(name):
        f = lambda rate, x, t: getattr(Growth(rate), name)(x, times=t) @ jnp.arange(1.0, 4.0)
        at = (growth.rate, X, 1.5)
        grads = (jax.grad(f, (0, 1, 2))(*at), jax.hessian(f)(*at), jax.jvp(f, at, at))
        return jax.jit(lambda: (*grads, getattr(growth, name)(X)))()

    assert_close(all_of("after"), all_of("plain"), 1e-13)
    grads = eqx.filter_grad(lambda g: jnp.sum(g.after(X)))(growth)
    np.testing.assert_allclose(grads.rate, jnp.sum(growth.plain(X)), rtol=1e-14)
    assert Growth.after.fn is not None
    assert "Growth.after" in repr(growth.after)


def with_captured(kind, through):
    """a ↦ h(3a) with h(x) = sin(ax), where function and rules capture a, and rules call h."""

    def outer(a):
        slope = {
            "itself": lambda x: a * jnp.cos(a * x),
            "a jitted function": jax.jit(lambda x: a * jnp.cos(a * x)),
            "a default": lambda x, a=a: a * jnp.cos(a * x),
        }[through]

        @dini.custom_rule
        def h(x):
            return jnp.sin(a * x)

        if kind == "jvp":
            h.defjvp(lambda p, t: (h(*p), slope(p[0]) * t[0]))
        elif kind == "vjp":
            h.defvjp(lambda out, p, ct: (slope(p[0]) * ct + 0 * h(p[0]),))
        else:
            h.defpartials(lambda out, x: (slope(x) + 0 * h(x),))
        return h(3 * a)

    return outer


@pytest.mark.parametrize("through", ["itself", "a jitted function", "a default"])
@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
def test_custom_rule_that_captures_traced_values(kind, through):
    outer = with_captured(kind, through)

    def all_of(f):
        return f(0.3), jax.grad(f)(0.3), jax.jvp(f, (0.3,), (1.0,)), jax.hessian(f)(0.3)

    expected = all_of(lambda a: jnp.sin(3 * a**2))
    assert_close(jax.jit(lambda: all_of(outer))(), expected, 1e-13)
    assert_close(jax.hessian(outer)(0.3), expected[-1], 1e-13)
    third = jax.grad(jax.grad(jax.grad(lambda a: jnp.sin(3 * a**2))))(0.3)
    assert_close(jax.jit(jax.grad(jax.grad(jax.grad(outer))))(0.3), third, 1e-13)
    lanes = jnp.array([0.1, 0.5])
    assert_close(jax.vmap(jax.grad(outer))(lanes), 6 * lanes * jnp.cos(3 * lanes**2), 1e-13)


@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
def test_custom_rule_derivative_taken_inside_then_by_the_captured_value(kind):
    def outer(a):
        @dini.custom_rule
        def h(x):
            return cut(jnp.sin(a * x))

        if kind == "jvp":
            h.defjvp(lambda p, t: (h(*p), a * jnp.cos(a * p[0]) * t[0]))
        elif kind == "vjp":
            h.defvjp(lambda out, p, ct: (a * jnp.cos(a * p[0]) * ct,))
        else:
            h.defpartials(lambda out, x: (a * jnp.cos(a * x),))
        return jax.grad(h)(2.0)

    expected = np.cos(0.6) - 0.6 * np.sin(0.6)
    np.testing.assert_allclose(jax.grad(outer)(0.3), expected, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.grad(outer))(0.3), expected, rtol=1e-14)


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_custom_rule_with_a_function_argument_that_captures_a_traced_value(kind):
    @dini.custom_rule
    def h(k, x):
        return jnp.sin(k(x))

    @(h.defjvp if kind == "jvp" else h.defvjp)
    def _(first, second, ct=None):
        k, x = first if kind == "jvp" else second
        back = jax.jvp(k, (x,), (second[1] if kind == "jvp" else ct,))[1] * jnp.cos(k(x))
        return (h(k, x), back) if kind == "jvp" else (None, back)

    f = lambda a: h(lambda x: a * x, 3 * a)
    expected = jax.hessian(lambda a: jnp.sin(3 * a**2))(0.3)
    np.testing.assert_allclose(jax.hessian(f)(0.3), expected, rtol=1e-13)
    np.testing.assert_allclose(jax.jit(jax.grad(jax.grad(f)))(0.3), expected, rtol=1e-13)


def test_custom_rule_one_that_captures_another():
    def outer(a):
        inner = dini.custom_rule(lambda x: cut(x * a))
        inner.defvjp(lambda out, p, ct: (a * ct,))
        square = dini.custom_rule(lambda x: inner(x) ** 2)
        square.defvjp(lambda out, p, ct: (2 * a * inner(p[0]) * ct,))
        return jax.grad(square)(5.0)  # 10 a²

    # ∂/∂a of the rule's second factor goes through inner's plain body, which is cut off.
    np.testing.assert_allclose(outer(0.3), 10 * 0.3**2)
    np.testing.assert_allclose(jax.grad(outer)(0.3), 10 * 0.3)
