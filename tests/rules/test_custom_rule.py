"""A rule given once, by tangent, by cotangent or by partials: every mode, order and composition.

The functions are cut off from JAX's own derivative, which is zero, so only the rule can be right.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.compositions import (
    AT,
    BOTH,
    COMPOSITIONS,
    DOT,
    Y_DOT,
    V,
    X,
    Y,
    first_order,
    looked,
    second_order,
)
from tests.support.marks import case

M = jnp.asarray(np.random.default_rng(4).normal(size=(2, 3)))


def curve(x, y):
    """(3,) and () to (2,)."""
    return jnp.tanh(M @ x) * jnp.exp(y * x[0])


def entrywise(x, y):
    """(3,) and () to (3,)."""
    return jnp.sin(x) * jnp.exp(y * x)


def parts(x, y):
    return {"t": jnp.tanh(M @ x), "e": jnp.exp(y * x[0])}


def cut(out):
    return jax.tree.map(jax.lax.stop_gradient, out)


@dini.custom_rule
def by_jvp(x, y):
    return cut(curve(x, y))


@by_jvp.defjvp
def _(primals, tangents):
    (x, y), (v, w) = primals, tangents
    out = by_jvp(x, y)
    slope = (1 - jnp.tanh(M @ x) ** 2) * jnp.exp(y * x[0])
    return out, slope * (M @ v) + out * (y * v[0] + w * x[0])


def pulled(out, x, y, t, e, ct):
    along = jnp.sum(out * ct)
    return (M.T @ ((1 - t**2) * e * ct)).at[0].add(y * along), x[0] * along


@dini.custom_rule
def by_vjp(x, y):
    return cut(curve(x, y))


@by_vjp.defvjp
def _(out, primals, ct):
    return pulled(out, *primals, **parts(*primals), ct=ct)


@dini.custom_rule
def by_partials(x, y):
    return cut(entrywise(x, y))


@by_partials.defpartials
def _(out, x, y):
    return jnp.cos(x) * jnp.exp(y * x) + y * out, x * out


@dini.custom_rule(has_residuals=True)
def by_vjp_with_residuals(x, y):
    return cut(curve(x, y)), parts(x, y)


@by_vjp_with_residuals.defvjp
def _(seen, primals, ct):
    out, residuals = seen
    return pulled(out, *primals, **residuals, ct=ct)


@dini.custom_rule(has_residuals=True)
def by_partials_with_residuals(x, y):
    return cut(entrywise(x, y)), jnp.exp(y * x)


@by_partials_with_residuals.defpartials
def _(seen, x, y):
    out, e = seen
    return jnp.cos(x) * e + y * out, x * out


RULES = {
    "jvp": (by_jvp, curve),
    "vjp": (by_vjp, curve),
    "partials": (by_partials, entrywise),
    "vjp, residuals": (by_vjp_with_residuals, curve),
    "partials, residuals": (by_partials_with_residuals, entrywise),
}


@functools.cache
def expected(plain, composition):
    m = plain(*AT).size
    return jax.jit(lambda: composition(looked(plain, m)))()


def _pairs():
    for kind in RULES:
        for composition in COMPOSITIONS:
            quick = kind != "partials, residuals" or composition is first_order
            yield case(kind, composition, quick=quick, id=f"{kind}-{composition.__name__}")


@pytest.mark.parametrize(("kind", "composition"), list(_pairs()))
def test_custom_rule_composes_with(kind, composition):
    f, plain = RULES[kind]
    m = plain(*AT).size
    actual = jax.jit(lambda: composition(looked(f, m)))()
    for name, right in expected(plain, composition).items():
        try:
            assert_close(actual[name], right, 1e-12)
        except AssertionError as error:
            raise AssertionError(f"{kind}, {name}: {error}") from error


@pytest.mark.slow
@pytest.mark.parametrize("composition", COMPOSITIONS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("kind", RULES)
def test_custom_rule_composes_without_jit_with(kind, composition):
    f, plain = RULES[kind]
    assert_close(composition(looked(f, plain(*AT).size)), expected(plain, composition), 1e-12)


@pytest.mark.parametrize("kind", RULES)
def test_custom_rule_second_order_without_jit(kind):
    f, plain = RULES[kind]
    c, right = looked(f, plain(*AT).size), expected(plain, second_order)
    assert_close(jax.jvp(jax.grad(c.phi, BOTH), AT, DOT), right["hessian vector product"], 1e-12)


@pytest.mark.parametrize("kind", RULES)
def test_custom_rule_exports(kind):
    f, plain = RULES[kind]

    def derivatives(f):
        return lambda x, y: (jax.jvp(f, (x, y), DOT)[1], jax.vjp(f, x, y)[1](f(x, y)))

    exported = jax.export.export(jax.jit(derivatives(f)))(X, jnp.asarray(Y))
    again = jax.export.deserialize(exported.serialize())
    assert_close(again.call(X, jnp.asarray(Y)), jax.jit(derivatives(plain))(*AT), 1e-13)


@pytest.mark.parametrize("kind", RULES)
def test_custom_rule_pushforward_and_pullback_are_adjoint(kind):
    f, _ = RULES[kind]
    out_dot = jax.jvp(f, AT, DOT)[1]
    ct = jnp.cos(jnp.arange(out_dot.size))
    back = jax.vjp(f, *AT)[1](ct)
    np.testing.assert_allclose(ct @ out_dot, back[0] @ V + back[1] * Y_DOT, rtol=1e-13)


def test_custom_rule_is_used_as_it_was_given():
    """Rules that are doubled show in both modes, at each order once."""

    @dini.custom_rule
    def doubled(x):
        return x**3

    doubled.defvjp(lambda out, primals, ct: (2 * 3 * primals[0] ** 2 * ct,))
    assert jax.grad(doubled)(2.0) == 24
    assert jax.jvp(doubled, (2.0,), (1.0,))[1] == 24
    assert jax.grad(jax.grad(doubled))(2.0) == 24


def constant(x):
    del x
    return jnp.array([3.0, 5.0])


CONSTANT = {kind: dini.custom_rule(constant) for kind in ("jvp", "vjp", "partials")}
CONSTANT["jvp"].defjvp(lambda p, t: (CONSTANT["jvp"](p[0]), p[0] * t[0] * jnp.array([1.0, 2.0])))
CONSTANT["vjp"].defvjp(lambda out, p, ct: (p[0] * (ct @ jnp.array([1.0, 2.0])),))
CONSTANT["partials"].defpartials(lambda out, x: (x * jnp.array([1.0, 2.0]),))


@pytest.mark.parametrize(
    "batch",
    [jax.vmap, lambda f: jax.jit(jax.vmap(f)), lambda f: jax.vmap(jax.jit(f))],
    ids=["vmap", "jit of vmap", "vmap of jit"],
)
@pytest.mark.parametrize("kind", CONSTANT)
def test_value_that_is_the_same_in_all_lanes_has_a_tangent_in_each(kind, batch):
    """Plain `jax.custom_jvp` raises under jit of vmap, and under vmap of jit adds lanes up."""
    f, x = batch(CONSTANT[kind]), jnp.array([0.5, 0.7])
    right = jnp.einsum("i,ij,k->ikj", x, jnp.eye(2), jnp.array([1.0, 2.0]))
    assert_close(f(x), jnp.array([[3.0, 5.0]] * 2), 0)
    assert_close(jax.jacfwd(f)(x), right, 1e-15)
    assert_close(jax.jacrev(f)(x), right, 1e-15)
