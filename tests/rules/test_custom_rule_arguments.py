"""What a custom rule sees of a call: positions, and leaves that are not differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close

X = jnp.array([0.3, -0.7, 1.1])


def cut(out):
    return jax.tree.map(jax.lax.stop_gradient, out)


def signature(a, b=2.0, *rest, scale=3.0, **more):
    return a**2 * b + sum((i + 2) * r for i, r in enumerate(rest)) * scale + more.get("u", 0.0) * a


CALLS = {
    "by position": lambda f, a, b, c: f(a, b, c),
    "by keyword": lambda f, a, b, c: f(b=b, a=a, scale=c),
    "defaults": lambda f, a, b, c: f(a) * b * c,
    "more positions": lambda f, a, b, c: f(a, b, c, a * c),
    "more keywords": lambda f, a, b, c: f(a, b, u=c),
    "all": lambda f, a, b, c: f(a, b, c, scale=a, u=b * c),
}


def with_rule(kind, seen):
    """`signature` by a rule of one kind, which notes what it is called with."""
    f = dini.custom_rule(lambda *args, **kwargs: cut(signature(*args, **kwargs)))
    f.fn.__wrapped__ = signature  # so that inspect finds the signature

    def split(primals):
        named = isinstance(primals[-1], dict)
        a, b, *rest = primals[:-1] if named else primals
        more = primals[-1] if named else {}
        return a, b, rest[:-1], rest[-1], more

    def partials(primals):
        seen.append(len(primals))
        a, b, rest, scale, more = split(primals)
        weights = range(2, 2 + len(rest))
        back = [2 * a * b + more.get("u", 0.0), a**2]
        back += [w * scale for w in weights]
        back += [sum((w * r for w, r in zip(weights, rest, strict=True)), 0.0 * a)]
        return (*back, {"u": a}) if more else tuple(back)

    def jvp(primals, tangents):
        total = jax.tree.map(jnp.multiply, partials(primals), tuple(tangents))
        a, b, rest, scale, more = split(primals)
        return f(a, b, *rest, scale=scale, **more), sum(jax.tree.leaves(total))

    if kind == "jvp":
        f.defjvp(jvp)
    elif kind == "vjp":
        f.defvjp(lambda out, primals, ct: jax.tree.map(lambda p: p * ct, partials(primals)))
    else:
        f.defpartials(lambda out, *primals: partials(primals))
    return f


POSITIONS = {"by position": 4, "all": 5, "more positions": 5, "more keywords": 4}


@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
def test_custom_rule_sees_every_argument_by_position(kind):
    seen = {name: [] for name in CALLS}
    at = (0.7, 1.3, -0.4)

    def derivatives(f_of):
        def of(name):
            call = CALLS[name]
            return jax.value_and_grad(lambda a, b, c: call(f_of(name), a, b, c), (0, 1, 2))(*at)

        return jax.jit(lambda: {name: of(name) for name in CALLS})()

    actual = derivatives(lambda name: with_rule(kind, seen[name]))
    assert_close(actual, derivatives(lambda _: signature), 1e-14)
    for name, counts in seen.items():
        assert set(counts) == {POSITIONS.get(name, 3)}, name


def test_custom_rule_refuses_a_call_that_does_not_fit():
    f = with_rule("vjp", [])
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        f(b=1.0)


# --- Leaves that are not differentiated ---

KEY = jax.random.key(4)
LEAVES = {
    "n": 3,
    "flag": True,
    "nothing": None,
    "word": "cube",
    "call": jnp.cos,
    "order": np.array([2, 0, 1]),
    "key": KEY,
    "old": jax.random.PRNGKey(1),
    "x": X,
    "s": 0.5,
}


def plain_of_leaves(p, y):
    assert type(p["n"]) is int
    assert p["flag"] is True
    assert p["word"] == "cube"
    noise = jax.random.normal(p["key"], (3,)) + jax.random.normal(p["old"], (3,))
    return {"out": p["call"](p["x"] * y)[p["order"]] * p["s"] * noise, "count": p["order"] + p["n"]}


def of_leaves(kind, quiet=None):
    """The same by a rule made with JAX's derivative of the plain function."""
    f = dini.custom_rule(lambda p, y: cut(plain_of_leaves(p, y)))

    def moving(p):
        """The plain function of what moves alone."""
        return lambda q, y: plain_of_leaves(p | q, y)["out"]

    def check(p, tree):
        for name in p.keys() - {"x", "s"}:
            assert tree[name] is None, name

    def jvp(primals, tangents):
        (p, y), (p_dot, y_dot) = primals, tangents
        check(p, p_dot)
        q, q_dot = ({k: d[k] for k in ("x", "s")} for d in (p, p_dot))
        dot = jax.jvp(moving(p), (q, y), (q_dot, y_dot))[1]
        return f(p, y), {"out": dot, "count": None}

    def vjp(_, primals, ct):
        p, y = primals
        assert ct["count"] is None
        q, y_bar = jax.vjp(moving(p), {k: p[k] for k in ("x", "s")}, y)[1](ct["out"])
        return dict.fromkeys(p, quiet) | {"nothing": None} | q, y_bar

    f.defjvp(jvp) if kind == "jvp" else f.defvjp(vjp)
    return f


FLOAT0 = np.zeros((), jax.dtypes.float0)


@pytest.mark.parametrize(
    ("kind", "quiet"), [("jvp", None), ("vjp", None), ("vjp", FLOAT0)], ids=["jvp", "vjp", "float0"]
)
def test_custom_rule_hands_on_leaves_that_are_not_differentiated(kind, quiet):
    def all_of(f):
        def loss(x, s, y, key=KEY):
            return jnp.sum(f(LEAVES | {"x": x, "s": s, "key": key}, y)["out"] ** 2)

        keys = jax.random.split(KEY, 2)
        return jax.jit(
            lambda x, s, y: {
                "out": f(LEAVES, y),
                "grad": jax.grad(loss, (0, 1, 2))(x, s, y),
                "jvp": jax.jvp(loss, (x, s, y), (x, 1.0, 2.0)),
                "hessian": jax.hessian(loss, 2)(x, s, y),
                "vmap": jax.vmap(jax.grad(loss), (None, None, None, 0))(x, s, y, keys),
            }
        )(X, 0.5, 1.2)

    assert_close(all_of(of_leaves(kind, quiet)), all_of(plain_of_leaves), 1e-13)


def test_custom_rule_partials_of_leaves_that_are_not_differentiated_are_none():
    @dini.custom_rule
    def power(x, n, name, order):
        return cut(x[order] ** (n if name == "cube" else 0))

    @power.defpartials
    def _(out, x, *still):
        n, name, _ = still
        assert (out.shape, n, name) == ((3,), 3, "cube")
        return n * x ** (n - 1), None, None, None

    still = np.arange(3)
    assert_close(jax.jacfwd(power)(X, 3, "cube", still), jnp.diag(3 * X**2), 1e-15)
    assert_close(jax.jacrev(power)(X, 3, "cube", still), jnp.diag(3 * X**2), 1e-15)


def test_custom_rule_argument_that_stands_still_has_a_zero_tangent():
    @dini.custom_rule
    def product(x, y):
        return cut(x * y)

    @product.defjvp
    def _(primals, tangents):
        (x, y), (v, w) = primals, tangents
        assert v.shape == w.shape == (3,)
        return product(x, y), v * y + x * w

    assert_close(jax.jacfwd(lambda x: product(x, 2 * X))(X), jnp.diag(2 * X), 1e-15)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_custom_rule_tangent_that_stands_still_is_none_if_so_asked(compiled):
    seen = []
    f = dini.custom_rule(lambda a, b: cut(a**2 * b))

    def rule(primals, tangents):
        (a, b), (u, v) = primals, tangents
        seen.append((u is None, v is None))
        out_dot = 0.0 * a
        out_dot = out_dot if u is None else out_dot + 2 * a * b * u
        return f(a, b), out_dot if v is None else out_dot + a**2 * v

    f.defjvp(rule, symbolic_zeros=True)
    program = jax.jit if compiled else lambda g: g
    assert_close(program(jax.grad(f))(3.0, 2.0), jnp.asarray(12.0))
    assert set(seen) == {(False, True)}
    seen.clear()
    assert_close(program(jax.jacfwd(f, 1))(3.0, 2.0), jnp.asarray(9.0))
    assert set(seen) == {(True, False)}
    assert_close(program(jax.grad(jax.grad(f), 1))(3.0, 2.0), jnp.asarray(6.0))


def test_custom_rule_does_not_hide_the_function():
    def named(x):
        """Twice."""
        return 2 * x

    f = dini.custom_rule(named)
    assert (f.__name__, f.__doc__, f.fn) == ("named", "Twice.", named)
    assert f(2.0) == 4.0
    assert dini.custom_rule(max)(1.0, 2.0) == 2.0  # no signature to be found
    with pytest.raises(TypeError, match="decorates a function"):
        dini.custom_rule(3)
