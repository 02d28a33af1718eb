"""Host functions: what reaches them, and what may come back."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close

X = jnp.array([0.3, -0.7])
COMPILED = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])


def run(f, compiled):
    return jax.jit(f) if compiled else f


# --- Arguments ---


def spy(seen, **options):
    """A function of anything, that notes what it got."""

    @dini.external(out=jax.ShapeDtypeStruct((), float), **options)
    def f(*args, flag="default", **more):
        seen.append((*args, flag, more))
        return 1.0

    return f


@COMPILED
def test_arrays_and_floats_are_numpy_arrays(compiled):
    seen = []
    f = spy(seen)
    given = {
        "f32": jnp.ones(2, jnp.float32),
        "numpy": np.ones((2, 2)),
        "float": 0.5,
        "complex": 1j,
        "int": jnp.arange(3),
        "bool": jnp.array([True]),
        "none": jnp.zeros((0, 3)),
    }
    run(lambda d: f(d, x=d["float"]), compiled)(given).block_until_ready()
    (got, flag, more) = seen[0]
    assert flag == "default"
    for name, value in given.items():
        assert type(got[name]) is np.ndarray
        assert got[name].dtype == jnp.asarray(value).dtype
        assert got[name].flags.writeable
        assert got[name].flags.owndata
        np.testing.assert_array_equal(got[name], value)
    assert type(more["x"]) is np.ndarray


@COMPILED
def test_arguments_belong_to_the_host(compiled):
    kept = []

    @dini.external(like="x")
    def f(x):
        kept.append(x)
        x += 1
        return x

    def loop(x):
        return jax.lax.scan(lambda x, _: (2 * f(x), None), x, length=5)[0]

    x = jnp.arange(500.0)
    assert_close(run(loop, compiled)(x), 32 * x + 62)
    assert_close(jnp.arange(500.0), x)
    for i, y in enumerate(kept):
        assert_close(y, 2.0**i * x + 2.0 ** (i + 1) - 1)


@COMPILED
def test_what_is_no_array_arrives_unchanged(compiled):
    seen, marker = [], object()
    statics = (3, True, "text", None, np.sin, marker, {"k": (1, "a")}, {1, 2})
    f = spy(seen)
    run(lambda x: f(x, *statics, flag=b"bytes"), compiled)(1.0).block_until_ready()
    (_, *got, flag, more) = seen[0]
    assert (tuple(got), flag, more) == (statics, b"bytes", {})
    assert got[5] is marker
    assert [type(s) for s in got[:2]] == [int, bool]


class Curve(eqx.Module):
    scale: jax.Array
    power: int = eqx.field(static=True, default=2)

    @dini.external(like="x")
    def at(self, x, shift=0.5):
        assert type(self.scale) is np.ndarray
        return self.scale * x**self.power + shift

    @at.defvjp
    def _(out, primals, ct):
        self, x, _ = primals
        slope = self.power * self.scale * x ** (self.power - 1)
        return Curve(jnp.sum(x**self.power * ct)), slope * ct, jnp.sum(ct)


@COMPILED
def test_method_sees_its_module_in_numpy(compiled):
    gradient = run(jax.grad(lambda c, x: jnp.sum(c.at(x)), argnums=(0, 1)), compiled)
    curve = Curve(jnp.asarray(3.0))
    assert_close(curve.at(X), 3 * X**2 + 0.5)
    of_curve, of_x = gradient(curve, X)
    assert_close((of_curve.scale, of_x), (jnp.sum(X**2), 6 * X), 1e-14)


def test_captured_numpy_values_and_functions_without_a_signature_work():
    weights = np.array([2.0, 5.0])
    f = dini.external(like="x")(lambda x: weights * x)
    assert_close(jax.jit(f)(X), weights * X)
    g = dini.external(out=lambda a, b: a)(math.hypot)
    assert_close(jax.jit(g)(3.0, 4.0), jnp.asarray(5.0))
    with pytest.raises(TypeError, match="like='x' is none of its parameters"):
        dini.external(math.hypot, like="x")


@COMPILED
@pytest.mark.parametrize("how", ["closure", "default", "partial", "argument", "module"])
def test_captured_tracer_is_refused_with_the_remedy(how, compiled):
    class Times(eqx.Module):
        a: jax.Array

        def __call__(self, x):
            return self.a * x

    def loss(a):
        ways = {
            "closure": (lambda x, fn: a * x, None),
            "default": (lambda x, fn, a=(a,): a[0] * x, None),
            "partial": (lambda x, fn: fn(x), jax.tree_util.Partial(lambda a, x: a * x, a)),
            "argument": (lambda x, fn: fn(x), lambda x: a * x),
            "module": (Times(a), None),
        }
        host, fn = ways[how]
        f = dini.external(out=lambda x, *_: x)(host)
        return f(2.0) if how == "module" else f(2.0, fn)

    if how == "partial":  # a pytree, whose leaf is an argument like any other
        assert run(loss, compiled)(3.0) == 6.0
        return
    with pytest.raises(TypeError, match=r"captures a traced value, float64\[\].* as an argument"):
        run(jax.grad(loss), compiled)(3.0)


def test_prng_key_is_refused():
    with pytest.raises(TypeError, match=r"`args\[0\]\['k'\]` is a PRNG key.*key_data"):
        spy([])({"k": jax.random.key(0)})
    spy([])(jax.random.key_data(jax.random.key(0)))


# --- Results ---


def returning(value, **options):
    return dini.external(lambda x, n=None: value, **options)


GOOD = {
    "list of Python numbers": ([1.0, 2], "x", jnp.ones(2)),
    "integers for floats": (np.array([1, 2]), "x", jnp.ones(2)),
    "bools for floats": (np.array([True, False]), "x", jnp.ones(2)),
    "float64 for float32": (np.array([1 / 3, 1e300]), "x", jnp.ones(2, jnp.float32)),
    "float32 for float64": (np.ones(2, np.float32), "x", jnp.ones(2)),
    "real for complex": (np.array([1.0, 2.0]), "x", jnp.ones(2, complex)),
    "Python int for int32": (7, "x", jnp.asarray(1, jnp.int32)),
    "NaN": ([np.nan, np.inf], "x", jnp.ones(2)),
    "tree": ({"u": 1.5, "n": (2, None)}, "x", {"u": 0.5, "n": (jnp.asarray(1), None)}),
}


@COMPILED
@pytest.mark.parametrize("case", GOOD)
def test_result_is_cast_to_what_it_is_like(case, compiled):
    value, like, x = GOOD[case]
    got = run(returning(value, like=like), compiled)(x)
    same = lambda g, v, x: (
        np.testing.assert_array_equal(g, np.float64(v).astype(g.dtype) if g.dtype == "f4" else v),
        g.dtype == jnp.asarray(x).dtype,
    )[1]
    with np.errstate(over="ignore"):
        if isinstance(x, dict):
            assert all(jax.tree.leaves(jax.tree.map(same, got, value, x)))
        else:
            assert same(got, value, x)


TWO = jnp.ones(2)
BAD = {
    "shape": (np.ones(3), TWO, r"its result must be float64\[2\] like `x`, and is float64\[3\]"),
    "column": (np.ones((2, 1)), TWO, r"and is float64\[2,1\]"),
    "scalar": (1.0, TWO, r"and is float64\[\]"),
    "complex": (1j * np.ones(2), TWO, r"and is complex128\[2\]"),
    "None": (None, TWO, "of type NoneType"),
    "tree for an array": ({"u": 1.0}, TWO, "of type dict"),
    "ragged": ([[1.0], [1.0, 2.0]], TWO, "of type list"),
    "string": ("text", TWO, r"<U4\[\]"),
    "float for integer": (1.5, jnp.asarray(1), r"must be int64\[\] like `x`, and is float64\[\]"),
    "integer for bool": (1, jnp.asarray(True), r"must be bool\[\]"),
    "large integer": (300, jnp.asarray(1, jnp.int8), r"must be int8\[\]"),
    "leaf": (
        {"u": 1.0, "v": np.ones(3)},
        {"u": 0.0, "v": TWO},
        r"its result\['v'\] must be float64\[2\]",
    ),
    "structure": ({"w": 1.0}, {"u": 0.0}, r"the structure {\['u'\]: float64\[\]} like `x`, and is"),
}


@COMPILED
@pytest.mark.parametrize("case", BAD)
def test_result_of_another_kind_is_refused_by_name(case, compiled):
    value, x, message = BAD[case]
    kind = RuntimeError if compiled else TypeError
    for throw in (True, False) if case in ("shape", "leaf") else (True,):
        f = returning(value, like="x", throw=throw)
        f = eqx.filter_jit(f) if compiled else f
        with pytest.raises(kind, match=f"<lambda>`: .*{message}"):
            f(jax.tree.map(jnp.asarray, x))


def test_out_gives_the_result_from_shapes_alone():
    def sizes(x, n=None):
        assert isinstance(x, jax.ShapeDtypeStruct)
        return {
            "row": jax.ShapeDtypeStruct((n,), x.dtype),
            "double": jax.ShapeDtypeStruct((), "f8"),
        }

    f = dini.external(lambda x, n: {"row": x[:n], "double": x.sum()}, out=sizes)
    assert_close(f(X, n=1), {"row": X[:1], "double": X.sum()})
    shapes = jax.eval_shape(lambda x: f(x, n=1), jnp.ones(4, jnp.float32))
    assert (shapes["row"].shape, shapes["row"].dtype) == ((1,), jnp.float32)
    with jax.enable_x64(False):
        assert f(jnp.ones(2, jnp.float32), n=2)["double"].dtype == jnp.float32
    for bad in ({"out": 3.0}, {"out": lambda x, n: (x, "text")}):
        with pytest.raises(TypeError, match=r"cannot be like (3.0 in|'text' in what) out="):
            dini.external(lambda x, n=1: x, **bad)(X)
    assert dini.external(lambda x: (), out=())(X) == ()


WRONG = {
    "neither": ({}, TypeError, "give like=, .*, or out="),
    "both": ({"like": "x", "out": TWO}, TypeError, "give like="),
    "no parameter": ({"like": "y"}, TypeError, r"like='y' is none of its parameters \(x, n\)"),
    "derivative": ({"like": "x", "derivative": "exact"}, ValueError, "derivative must be one of"),
    "vmap_method": ({"like": "x", "vmap_method": "loop"}, ValueError, "vmap_method must be one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_option_is_refused_where_it_is_given(case):
    options, error, message = WRONG[case]
    with pytest.raises(error, match=f"dini.external `.*<lambda>`: .*{message}"):
        returning(1.0, **options)


def test_wrong_argument_of_the_decorator_and_of_like_is_refused():
    with pytest.raises(TypeError, match=r"dini.external decorates a function, and was given 3"):
        dini.external(3, like="x")
    with pytest.raises(TypeError, match="cannot be like 3 in `x`, which has no shape"):
        returning(1.0, like="x")(3)
    with pytest.raises(TypeError, match=r"throw=False gives NaN, and int64\[\] has none"):
        returning(1, like="x", throw=False)(jnp.asarray(1))
