"""The call forms, trees and dtypes of jax.jvp and jax.jacfwd; loud where there is no answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini import numeric
from tests.support.compare import all_nan, assert_close

METHODS = {"forward": 1e-6, "central": 1e-8, "five_point": 1e-10, "ridders": 1e-10}


@pytest.mark.parametrize("method", METHODS)
def test_jvp_matches_jax(method):
    x = {"a": jnp.array([0.3, 1.2]), "b": (jnp.array(0.8), None)}
    v = {"a": jnp.array([1.0, -2.0]), "b": (jnp.array(0.5), None)}

    def f(x, scale):
        return {"y": jnp.sin(x["a"]) * x["b"][0] * scale, "z": [jnp.exp(x["b"][0])]}

    value, tangent = jax.jvp(f, (x, 2.0), (v, 1.0))
    ours = numeric.finite_difference_jvp(f, (x, 2.0), (v, 1.0), method)
    assert_close(ours[0], value, 0.0)
    assert_close(ours[1], tangent, METHODS[method])
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(ours))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float32, np.float64])
def test_dtypes_are_kept_and_steps_fit_them(dtype):
    x, v = jnp.array([0.5, 1.0], dtype), jnp.array([1.0, -0.5], dtype)
    eps = float(jnp.finfo(dtype).eps)
    _, exact = jax.jvp(jnp.exp, (x,), (v,))
    for method in ("forward", "central", "five_point"):
        _, tangent = numeric.finite_difference_jvp(jnp.exp, (x,), (v,), method)
        assert tangent.dtype == dtype
        np.testing.assert_allclose(
            np.asarray(tangent, float), np.asarray(exact, float), rtol=4 * eps**0.5
        )
    _, tangent, error = numeric.ridders_jvp(jnp.exp, (x,), (v,))
    assert tangent.dtype == error.dtype == dtype
    gap = np.abs(np.asarray(tangent, float) - np.exp(np.asarray(x, float)) * np.asarray(v, float))
    assert np.all(~np.isfinite(np.asarray(error, float)) | (gap <= np.asarray(error, float)))


def test_mixed_dtypes_keep_theirs():
    x = jnp.array([1.0, 2.0], jnp.float32), jnp.array([1.0, 2.0])
    _, (single, double) = numeric.finite_difference_jvp(lambda *x: jax.tree.map(jnp.sin, x), x, x)
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(single, np.cos([1.0, 2.0]) * [1, 2], rtol=1e-3)
    np.testing.assert_allclose(double, np.cos([1.0, 2.0]) * [1, 2], rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_complex_leaves_move_along_complex_tangents(method):
    z, v = jnp.array([1 + 2j, -0.5j]), jnp.array([0.3 - 1j, 2.0 + 0j])

    def f(z):
        return z**2, jnp.abs(z), z.conj() * z.real

    _, exact = jax.jvp(f, (z,), (v,))
    _, tangent = numeric.finite_difference_jvp(f, (z,), (v,), method)
    assert [t.dtype for t in tangent] == [t.dtype for t in exact]
    assert_close(tangent, exact, METHODS[method])


def test_other_leaves_reach_the_function_unchanged():
    key = jax.random.key(3)
    config = {"n": 3, "flag": True, "name": "x", "none": None, "index": jnp.arange(2), "key": key}
    seen = []

    def f(x, config):
        seen.append(config)
        return x[config["index"]] ** config["n"], config["index"]

    x = jnp.array([2.0, 3.0])
    for zero in (None, {**dict.fromkeys(config), "index": np.zeros(2, jax.dtypes.float0)}):
        _, (tangent, whole) = numeric.finite_difference_jvp(f, (x, config), (jnp.ones(2), zero))
        np.testing.assert_allclose(tangent, [12.0, 27.0], rtol=1e-9)
        assert whole.dtype == jax.dtypes.float0
    for other in seen:
        assert all(other[name] is config[name] for name in config)


def test_zero_and_integer_tangents_are_taken():
    def f(x, n):
        return x * n

    assert numeric.finite_difference_jvp(f, (2.0, 3), (1, 0))[1] == pytest.approx(3.0, rel=1e-9)
    _, tangent = numeric.finite_difference_jvp(f, (np.ones(2), 3), (np.zeros(2), None), step=0.1)
    np.testing.assert_array_equal(tangent, np.zeros(2))
    assert numeric.finite_difference_jvp(lambda n: n * 1.5, (3,), (None,))[1] == 0


@pytest.mark.parametrize(
    ("tangents", "error", "match"),
    [
        ((1.0,), TypeError, "tuple of 2"),
        ([1.0, 2], TypeError, r"primals\[1\]"),
        (("up", None), TypeError, "array of numbers"),
        ((1j, None), TypeError, "complex"),
        ((np.ones(2), None), ValueError, "shape"),
        ((np.nan, None), ValueError, "finite"),
        (1.0, TypeError, "tuple"),
    ],
)
def test_wrong_tangents_are_refused(tangents, error, match):
    with pytest.raises(error, match=match):
        numeric.finite_difference_jvp(lambda x, n: x * n, (1.0, 3), tangents)


def test_primals_must_be_a_tuple():
    with pytest.raises(TypeError, match="primals must be a tuple"):
        numeric.finite_difference_jvp(np.sin, 1.0, (1.0,))


def test_value_that_changes_its_structure_is_refused():
    with pytest.raises(ValueError, match="structure"):
        numeric.finite_difference_jvp(lambda x: [x] * (2 if x > 1 else 1), (1.0,), (1.0,))
    with pytest.raises(ValueError, match="shapes"):
        numeric.finite_difference_jvp(lambda x: np.ones(2 if x > 1 else 1), (1.0,), (1.0,))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: numeric.finite_difference_jvp(jnp.sin, (x,), (1.0,))[1],
        lambda x: numeric.finite_difference_jvp(jnp.sin, (1.0,), (x,))[1],
        lambda x: numeric.finite_difference_jvp(lambda y: x * y, (1.0,), (1.0,))[1],
        lambda x: numeric.ridders_jvp(jnp.sin, (x,), (1.0,))[1],
        lambda x: numeric.finite_difference_jacobian(jnp.sin, x),
        lambda x: numeric.complex_step_jvp(jnp.sin, (x,), (1.0,))[1],
    ],
)
@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_tracers_are_refused(call, transform):
    with pytest.raises(TypeError, match="cannot be traced"):
        transform(call)(1.0)


def test_functions_of_numpy_and_of_floats_see_their_own_kinds():
    kinds = set()

    def f(x, y, z):
        kinds.add((type(x), type(y), type(z)))
        return np.sin(x) * y * z.sum()

    x, y, z = 1.0, np.float32(2), np.ones(2)
    _, tangent = numeric.finite_difference_jvp(f, (x, y, z), (1.0, None, z))
    assert kinds == {(float, np.float32, np.ndarray)}
    assert isinstance(tangent, np.generic | np.ndarray)
    assert tangent == pytest.approx(4 * np.cos(1.0) + 4 * np.sin(1.0), rel=1e-6)
    _, tangent = numeric.finite_difference_jvp(lambda z: z * z, (1 + 1j,), (1j,))
    assert tangent == pytest.approx(-2 + 2j, rel=1e-8)


def test_weak_types_are_kept():
    def f(x):
        return x * jnp.ones(2, jnp.float32)

    value, tangent = numeric.finite_difference_jvp(f, (jnp.asarray(3.0),), (1.0,))
    assert value.dtype == tangent.dtype == jnp.float32


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_nan(method):
    x = np.array([1.0, 0.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        for n in (1, 2, 3):
            v = np.eye(4)[n]
            _, tangent = numeric.finite_difference_jvp(np.tanh, (x,), (v,), method)
            assert all_nan(tangent[n]) == (n > 1)
        primals = np.array([0.0])
        edge = numeric.finite_difference_jvp(np.log, (primals,), (np.ones(1),), method)
    assert all_nan(edge[1])


def jacobians_agree(f, *args, argnums=0, rtol=1e-8, **options):
    expected = jax.jacfwd(f, argnums, holomorphic=options.get("holomorphic", False))(*args)
    actual = numeric.finite_difference_jacobian(f, *args, argnums=argnums, **options)
    assert_close(actual, expected, rtol)
    dtypes = [[x.dtype for x in jax.tree.leaves(tree)] for tree in (actual, expected)]
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("argnums", [1, (1, 0)])
def test_jacobian_has_the_structure_of_jacfwd(argnums):
    x = {"a": jnp.arange(1.0, 5.0).reshape(2, 2), "b": jnp.array(2.0)}
    y = (jnp.array([1.0, 0.5]), 3.0)

    def f(x, y):
        return {"u": jnp.sin(x["a"] @ jnp.ones(2)) * y[0], "v": (x["b"] ** 2 * y[1], y[0])}

    jacobians_agree(f, x, y, argnums=argnums)


@pytest.mark.parametrize("method", METHODS)
def test_jacobian_takes_every_method(method):
    jacobians_agree(lambda x: x[::-1] * jnp.exp(x), jnp.array([0.5, 1.0]), method=method, rtol=1e-6)


def test_jacobian_takes_a_step():
    jac = numeric.finite_difference_jacobian(lambda x: x**3, np.array([1.0, 2.0]), step=0.5)
    np.testing.assert_allclose(jac, np.diag([3.25, 12.25]))


def test_jacobian_of_complex_argument_needs_a_promise():
    z = jnp.array([1 + 1j, 2.0])
    jacobians_agree(lambda z: z[::-1] * jnp.exp(z), z, holomorphic=True)
    with pytest.raises(TypeError, match=r"primals\[0\] is complex"):
        numeric.finite_difference_jacobian(jnp.abs, z)


def test_jacobian_leaves_out_what_is_no_float():
    def f(x):
        return x["a"] ** x["n"], x["n"]

    jac, whole = numeric.finite_difference_jacobian(f, {"a": np.array([2.0]), "n": 3, "s": "x"})
    np.testing.assert_allclose(jac["a"], [[12.0]])
    assert jac["n"] is None
    assert jac["s"] is None
    assert whole["a"].dtype == jax.dtypes.float0
    with pytest.raises(TypeError, match="nothing to differentiate"):
        numeric.finite_difference_jacobian(lambda n, x: n * x, 3, 1.0)


def test_jacobian_of_empty_argument_is_empty():
    assert numeric.finite_difference_jacobian(
        lambda x: x.sum() * np.ones(2), np.zeros(0)
    ).shape == (2, 0)
