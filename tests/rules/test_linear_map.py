"""A linear map with a transpose of its own: every transformation of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini import linear_map
from tests.support.compare import assert_close

_random = np.random.default_rng(11)
R = {
    "a": jnp.asarray(_random.normal(size=(3, 2))),
    "s": jnp.asarray(_random.normal(size=2)),
}
X = (jnp.asarray(_random.normal(size=2)), jnp.asarray(0.7))


# sin(s) makes the map depend on its residuals other than linearly.
def fun(r, x):
    """(2,) and () to {p: (3,), q: ()}; asymmetric."""
    u, v = x
    return {"p": r["a"] @ (jnp.sin(r["s"]) * u) + v, "q": 3 * v - r["s"] @ u}


def adjoint(r, ct):
    u = jnp.sin(r["s"]) * (r["a"].T @ ct["p"]) - r["s"] * ct["q"]
    return u, jnp.sum(ct["p"]) + 3 * ct["q"]


def wrong_adjoint(r, ct):
    """Doubled, so that what uses it shows."""
    return jax.tree.map(lambda x: 2 * x, adjoint(r, ct))


def apply(r, x):
    return linear_map(fun, adjoint, r, x)


def like(tree, seed):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(random.normal(size=jnp.shape(x))), tree)


R_DOT, X_DOT = like(R, 1), like(X, 2)
CT = like(fun(R, X), 3)


def test_linear_map_applies_the_function():
    assert_close(apply(R, X), fun(R, X), 1e-15)
    assert_close(jax.jit(apply)(R, X), fun(R, X), 1e-14)


def test_linear_map_jvp_in_argument_and_residuals():
    expected = jax.jvp(fun, (R, X), (R_DOT, X_DOT))
    assert_close(jax.jvp(apply, (R, X), (R_DOT, X_DOT)), expected, 1e-14)
    assert_close(jax.jit(lambda: jax.jvp(apply, (R, X), (R_DOT, X_DOT)))(), expected, 1e-14)


def test_linear_map_jvp_in_some_residuals_only():
    def of_s(f, s):
        return f(R | {"s": s}, X)

    actual, expected = (
        jax.jvp(lambda s, f=f: of_s(f, s), (R["s"],), (R_DOT["s"],)) for f in (apply, fun)
    )
    assert_close(actual, expected, 1e-14)


def test_linear_map_vjp_in_argument_and_residuals():
    expected = jax.vjp(fun, R, X)[1](CT)
    assert_close(jax.vjp(apply, R, X)[1](CT), expected, 1e-14)
    assert_close(jax.jit(lambda: jax.vjp(apply, R, X)[1](CT))(), expected, 1e-14)


def test_linear_map_uses_the_transpose_that_it_is_given():
    pullback = jax.vjp(lambda x: linear_map(fun, wrong_adjoint, R, x), X)[1]
    assert_close(pullback(CT)[0], wrong_adjoint(R, CT), 1e-14)


def test_linear_map_transpose_is_without_conjugation():
    a = jnp.asarray(_random.normal(size=(2, 2)) + 1j * _random.normal(size=(2, 2)))
    x, ct = jnp.array([1.0 + 2j, -0.5j]), jnp.array([0.3 - 1j, 2.0 + 0j])

    def of(x):
        return linear_map(lambda a, x: a @ x, lambda a, c: a.T @ c, a, x)

    assert_close(jax.linear_transpose(of, x)(ct)[0], a.T @ ct, 1e-14)
    assert_close(jax.vjp(of, x)[1](ct), jax.vjp(lambda x: a @ x, x)[1](ct), 1e-14)


def test_linear_map_linearize_and_linear_transpose():
    value, pushforward = jax.linearize(lambda x: apply(R, x), X)
    assert_close(value, fun(R, X), 1e-14)
    assert_close(pushforward(X_DOT), fun(R, X_DOT), 1e-14)
    assert_close(jax.linear_transpose(pushforward, X)(CT)[0], adjoint(R, CT), 1e-14)


def test_linear_map_transposed_twice_is_itself():
    once = jax.linear_transpose(lambda x: apply(R, x), X)
    twice = jax.linear_transpose(lambda ct: once(ct)[0], CT)
    assert_close(twice(X_DOT)[0], fun(R, X_DOT), 1e-14)


def test_linear_map_adjoint_identity():
    out, back = apply(R, X_DOT), jax.vjp(lambda x: apply(R, x), X)[1](CT)[0]
    left = sum(jnp.vdot(CT[k], out[k]) for k in CT)
    right = sum(jnp.vdot(b, x) for b, x in zip(back, X_DOT, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-13)


def _scalar(f):
    """A number made of f(r, x), not linearly."""
    return lambda r, x: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(f(r, x)))


@pytest.mark.parametrize(
    "nesting",
    [
        lambda f: jax.jacfwd(jax.jacrev(f, (0, 1)), (0, 1)),
        lambda f: jax.jacrev(jax.jacfwd(f, (0, 1)), (0, 1)),
        lambda f: jax.jacrev(jax.jacrev(f, (0, 1)), (0, 1)),
        lambda f: jax.jacfwd(jax.jacfwd(f, (0, 1)), (0, 1)),
    ],
    ids=["forward-reverse", "reverse-forward", "reverse-reverse", "forward-forward"],
)
def test_linear_map_second_order_in_every_nesting(nesting):
    expected = jax.jit(nesting(_scalar(fun)))(R, X)
    assert_close(jax.jit(nesting(_scalar(apply)))(R, X), expected, 1e-12)


def test_linear_map_third_order():
    def third(f):
        g = _scalar(f)
        return jax.grad(lambda x: jax.jvp(jax.grad(lambda y: g(R, y)), (x,), (X_DOT,))[1][1] ** 2)

    assert_close(jax.jit(third(apply))(X), jax.jit(third(fun))(X), 1e-12)


LANES = 4


def _lanes(tree, seed):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(random.normal(size=(LANES, *jnp.shape(x)))), tree)


AXES = {
    "argument": (None, 0),
    "residuals": (0, None),
    "both": (0, 0),
    "one residual": ({"a": None, "s": 0}, None),
    "part of the argument": (None, (None, 0)),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_linear_map_vmap(axes):
    def pick(axes, tree, lanes):
        if axes is None:
            return tree
        if axes == 0:
            return lanes
        pairs = (tree, lanes)
        keys = axes.keys() if isinstance(axes, dict) else range(len(axes))
        parts = {k: pairs[0 if axes[k] is None else 1][k] for k in keys}
        return parts if isinstance(axes, dict) else tuple(parts.values())

    r, x = pick(axes[0], R, _lanes(R, 5)), pick(axes[1], X, _lanes(X, 6))
    cts = _lanes(CT, 7)

    def everything(f):
        def one(r, x, ct):
            value, pullback = jax.vjp(f, r, x)
            return value, pullback(ct), jax.jvp(f, (r, x), (R_DOT, X_DOT))[1]

        return jax.jit(jax.vmap(one, in_axes=(*axes, 0)))(r, x, cts)

    assert_close(everything(apply), everything(fun), 1e-13)


def test_linear_map_vmap_over_another_axis_and_twice():
    xs = _lanes((X[0],), 8)[0].T  # lanes in axis 1

    def of(r, u):
        return linear_map(fun, adjoint, r, (u, jnp.asarray(0.3)))

    actual = jax.vmap(of, in_axes=(None, 1))(R, xs)
    expected = jax.vmap(lambda r, u: fun(r, (u, 0.3)), in_axes=(None, 1))(R, xs)
    assert_close(actual, expected, 1e-14)
    rs = _lanes(R, 9)
    nested = jax.vmap(jax.vmap(apply, (None, 0)), (0, None))(rs, _lanes(X, 10))
    assert_close(nested, jax.vmap(jax.vmap(fun, (None, 0)), (0, None))(rs, _lanes(X, 10)), 1e-14)


def test_linear_map_in_scan_and_its_gradient():
    a = jnp.asarray(_random.normal(size=(2, 2)))

    def run(f):
        def loss(a, x):
            step = lambda x, _: (jnp.tanh(f(a, x)), f(a, x))
            last, ys = jax.lax.scan(step, x, length=4)
            return jnp.sum(last) + jnp.sum(ys**2)

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(a, X[0])

    ours = run(lambda a, x: linear_map(lambda a, x: a @ x, lambda a, c: a.T @ c, a, x))
    assert_close(ours, run(lambda a, x: a @ x), 1e-13)


def test_linear_map_jvp_three_times():
    def thrice(f):
        g = _scalar(f)
        for seed in (21, 22, 23):
            dots = (like(R, seed), like(X, seed + 10))
            g = lambda r, x, g=g, dots=dots: jax.jvp(g, (r, x), dots)[1]
        return jax.jit(g)(R, X)

    assert_close(thrice(apply), thrice(fun), 1e-12)


def test_linear_map_under_checkpoint_cond_and_vmap_of_scan():
    def run(f):
        def loss(r, x):
            step = jax.checkpoint(lambda u, _: (jnp.tanh(f(r, (u, x[1]))["p"][:2]), None))
            last, _ = jax.lax.scan(step, x[0], length=3)
            return jax.lax.cond(x[1] > 0, lambda: _scalar(f)(r, (last, x[1])), lambda: 0.0)

        grad = jax.grad(loss, (0, 1))
        return jax.jit(
            lambda: {
                "grad": grad(R, X),
                "jvp of grad": jax.jvp(grad, (R, X), (R_DOT, X_DOT)),
                "vmap": jax.vmap(grad, (0, None))(_lanes(R, 12), X),
            }
        )()

    assert_close(run(apply), run(fun), 1e-12)


def test_linear_map_is_exported():
    def derivatives(f):
        return jax.jit(lambda r, x: (jax.jvp(f, (r, x), (R_DOT, X_DOT)), jax.vjp(f, r, x)[1](CT)))

    exported = jax.export.export(derivatives(apply))(R, X)
    again = jax.export.deserialize(exported.serialize())
    assert_close(again.call(R, X), derivatives(fun)(R, X), 1e-13)


def test_linear_map_of_complex_numbers_with_residuals_in_every_mode():
    draw = lambda *shape: jnp.asarray(_random.normal(size=shape) + 1j * _random.normal(size=shape))
    at, dot, ct, many = (draw(3, 2), draw(2)), (draw(3, 2), draw(2)), draw(3), draw(LANES, 3, 2)
    plain = lambda a, x: a @ x

    def of(f):
        loss = lambda a, x: jnp.sum(jnp.sin(f(a, x)).real)
        return jax.jit(
            lambda: {
                "jvp": jax.jvp(f, at, dot),
                "vjp": jax.vjp(f, *at)[1](ct),
                "hvp": jax.jvp(jax.grad(loss, (0, 1)), at, dot),
                "vmap": jax.vmap(jax.grad(loss, (0, 1)), (0, None))(many, at[1]),
            }
        )()

    actual = of(lambda a, x: linear_map(plain, lambda a, c: a.T @ c, a, x))
    for name, expected in of(plain).items():
        assert_close(actual[name], expected, 1e-13)


def test_linear_map_with_residuals_that_are_not_differentiated():
    def pick(r, x):
        return r["scale"] * x[r["order"]] * jax.random.normal(r["key"], (2,))

    def put(r, ct):
        weighted = r["scale"] * ct * jax.random.normal(r["key"], (2,))
        return jnp.zeros(3).at[r["order"]].add(weighted)

    x = jnp.array([1.0, -2.0, 0.5])

    def of(f):
        def loss(scale, x, key):
            return jnp.sum(f({"scale": scale, "order": jnp.array([2, 0]), "key": key}, x) ** 3)

        keys = jax.random.split(jax.random.key(0), LANES)
        return jax.jit(jax.vmap(jax.hessian(loss, (0, 1)), (None, None, 0)))(1.5, x, keys)

    assert_close(of(lambda r, x: linear_map(pick, put, r, x)), of(pick), 1e-13)


def test_linear_map_used_one_way_may_lack_the_other():
    def missing(_, __):
        raise NotImplementedError("this direction")

    np.testing.assert_allclose(linear_map(lambda a, x: a * x, missing, 2.0, 3.0), 6.0)
    struct = jax.ShapeDtypeStruct((), jnp.float64)

    def only_back(x):
        return linear_map(missing, lambda a, c: a * c, jnp.asarray(2.0), x, struct)

    np.testing.assert_allclose(jax.linear_transpose(only_back, 1.0)(4.0)[0], 8.0)
    with pytest.raises(NotImplementedError, match="this direction"):
        only_back(jnp.asarray(1.0))


PROGRAMS = {
    "value": lambda f: f,
    "jvp": lambda f: lambda a, x: jax.jvp(f, (a, x), (a, x)),
    "vjp": lambda f: lambda a, x: jax.vjp(f, a, x)[1](x),
    "vmap": lambda f: lambda a, x: jax.vmap(f, (None, 0))(a, jnp.stack([x, x + 1])),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_linear_map_compiles_to_the_operations_of_the_plain_function(program):
    def plain(a, x):
        return jnp.tanh(a) @ x

    def with_transpose(a, x):
        return linear_map(plain, lambda a, c: c @ jnp.tanh(a), a, x)

    def operations(f):
        compiled = jax.jit(PROGRAMS[program](f)).lower(jnp.eye(50), jnp.ones(50)).compile()
        kinds = re.findall(r"= \S+ ([a-z-]+)\(", compiled.as_text())
        assert "dot" in kinds
        return sorted(kinds)

    assert operations(with_transpose) == operations(plain)
