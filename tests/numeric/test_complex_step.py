"""The complex step: exact to rounding, and refused where it means nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini import numeric

CLOSED = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "power": (lambda x: x**3.5, lambda x: 3.5 * x**2.5),
    "quotient": (lambda x: np.exp(x) / (1 + x), lambda x: np.exp(x) * x / (1 + x) ** 2),
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("x", [1e-12, 0.3, 1.0, 20.0, 1e9])
def test_complex_step_is_exact_to_rounding(name, x):
    f, df = CLOSED[name]
    if name in ("exp", "quotient"):
        x = min(max(x, 0.3), 20.0)  # the quotient is flat at zero, where its two terms cancel
    _, tangent = numeric.complex_step_jvp(f, (x,), (1.0,))
    assert abs(tangent - df(x)) <= 1e-15 * abs(df(x))


def test_complex_step_takes_trees_of_jax_arrays_of_all_scales():
    x = {"a": jnp.array([1e9, 2e-9]), "b": 0.5, "n": 2}
    v = {"a": jnp.array([1e3, 1e-9]), "b": -1.0, "n": None}

    def f(x):
        return jnp.log(x["a"]) * jnp.exp(x["b"]) ** x["n"], [x["b"]], x["n"]

    _, (first, (second,), whole) = numeric.complex_step_jvp(f, (x,), (v,))
    exact = jax.jvp(lambda a, b: jnp.log(a) * jnp.exp(b) ** 2, (x["a"], 0.5), (v["a"], -1.0))[1]
    np.testing.assert_allclose(first, exact, rtol=1e-14)
    assert second == -1
    assert whole.dtype == jax.dtypes.float0


def test_complex_step_keeps_single_precision():
    x = jnp.array([0.5, 2.0], jnp.float32)
    value, tangent = numeric.complex_step_jvp(jnp.sin, (x,), (x,))
    assert value.dtype == tangent.dtype == jnp.float32
    np.testing.assert_allclose(tangent, np.cos([0.5, 2.0]) * [0.5, 2.0], rtol=3e-7)
    _, tangent = numeric.complex_step_jvp(np.sin, (np.float32(0.5),), (1.0,))
    assert tangent == pytest.approx(np.cos(0.5), rel=3e-7)


def test_weak_scalars_stay_weak():
    _, tangent = numeric.complex_step_jvp(
        lambda x: x * jnp.ones(2, jnp.float32), (jnp.asarray(3.0),), (1.0,)
    )
    assert tangent.dtype == jnp.float32


def test_zero_tangent_gives_zero_and_step_is_taken():
    assert numeric.complex_step_jvp(np.sin, (1.0,), (0.0,))[1] == 0
    _, tangent = numeric.complex_step_jvp(lambda x: x**3, (1.0,), (1.0,), step=0.1)
    assert tangent == pytest.approx(3 - 0.01, rel=1e-12)


@pytest.mark.parametrize(
    ("f", "x", "match"),
    [
        (np.sin, 1j, "must be real"),
        (np.abs, 1.0, "where its argument was complex"),
        (lambda x: (x, np.real(x)), 1.0, "where its argument was complex"),
        (lambda x: x * 1j, 1.0, "complex at a real point"),
        (np.sin, np.float16(1), "no complex counterpart"),
    ],
)
def test_what_has_no_complex_step_is_refused(f, x, match):
    with pytest.raises(TypeError, match=match):
        numeric.complex_step_jvp(f, (x,), (1.0,))


def test_value_that_is_not_finite_has_nan():
    with np.errstate(all="ignore"):
        _, tangent = numeric.complex_step_jvp(np.log, (np.array([0.0, 1.0]),), (np.ones(2),))
    np.testing.assert_array_equal(tangent, [np.nan, 1.0])
