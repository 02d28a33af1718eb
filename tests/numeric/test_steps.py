"""Steps fit the method's order, the dtype and the size of each leaf."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini import numeric
from tests.support.compare import relative_error

ORDERS = {"forward": 1, "central": 2, "five_point": 4}
STEPS = {"forward": (1e-2, 1e-4), "central": (1e-1, 1e-3), "five_point": (1e-1, 1e-2)}


@pytest.mark.parametrize("method", ORDERS)
def test_error_falls_with_the_order_of_the_method(method):
    errors = []
    for step in STEPS[method]:
        _, tangent = numeric.finite_difference_jvp(np.exp, (0.5,), (1.0,), method, step)
        errors.append(abs(tangent - np.exp(0.5)))
    slope = np.log(errors[0] / errors[1]) / np.log(STEPS[method][0] / STEPS[method][1])
    assert abs(slope - ORDERS[method]) < 0.05


@pytest.mark.parametrize("method", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chosen_step_is_near_the_best_of_all_steps(method, dtype):
    x, v = dtype(0.7), dtype(1.0)
    exact = np.exp(np.float64(x)) * np.cos(np.exp(np.float64(x)))

    def f(x):
        return np.sin(np.exp(x))

    def error(step=None):
        return abs(numeric.finite_difference_jvp(f, (x,), (v,), method, step)[1] - exact)

    eps = np.finfo(dtype).eps
    steps = np.geomspace(64 * eps, 0.5, 40)
    assert error() <= 30 * eps ** (ORDERS[method] / (ORDERS[method] + 1))
    # A lucky step may be better by orders of magnitude: compare with the middle of the good ones.
    assert error() <= 10 * np.quantile([error(h) for h in steps], 0.3)


@pytest.mark.parametrize(
    ("method", "rtol"), [("forward", 1e-6), ("central", 1e-8), ("five_point", 1e-10)]
)
def test_each_leaf_is_stepped_at_its_own_scale(method, rtol):
    x = {"huge": jnp.array([1e9, 2e9]), "tiny": jnp.array(1e-9), "one": jnp.array(1.5)}
    v = {"huge": jnp.array([3e8, -1e9]), "tiny": jnp.array(2.0), "one": jnp.array(-1e-4)}

    def f(x):
        scaled = jnp.log(x["huge"] / 1e9).sum(), jnp.log(x["tiny"]) * 1e-9, jnp.exp(x["one"])
        return jnp.stack(scaled)

    _, exact = jax.jvp(f, (x,), (v,))
    _, tangent = numeric.finite_difference_jvp(f, (x,), (v,), method)
    np.testing.assert_allclose(tangent, exact, rtol=rtol)


def test_leaves_of_one_scale_share_a_difference():
    calls = []

    def f(*x):
        calls.append(x)
        return sum(x)

    numeric.finite_difference_jvp(f, (1.0, 2.0, 3.0), (1.0, 2.0, -1.0))
    assert len(calls) == 3
    calls.clear()
    numeric.finite_difference_jvp(f, (1.0, 2.0, 1e9), (1.0, 2.0, -1.0))
    assert len(calls) == 5


def test_small_numbers_of_a_tangent_are_not_lost_in_rounding():
    x, v = jnp.ones(3), jnp.array([1.0, 1e-14, 1e-30])

    def f(x):
        return jnp.array([1.0, 1e14, 1e30]) * x

    _, tangent = numeric.finite_difference_jvp(f, (x,), (v,))
    np.testing.assert_allclose(tangent, [1.0, 1.0, 1.0], rtol=1e-9)


def test_rounding_of_the_step_is_allowed_for():
    x = np.float32(1e6) + np.float32(0.5)
    _, tangent = numeric.finite_difference_jvp(lambda x: 3 * float(x), (x,), (0.3,), step=1.0)
    assert abs(tangent - 0.9) < 1e-9


def test_zero_leaf_is_stepped_at_scale_one():
    _, tangent = numeric.finite_difference_jvp(np.sin, (np.zeros(3),), (np.arange(3.0),))
    np.testing.assert_allclose(tangent, np.arange(3.0), rtol=1e-9)


def test_steps_follow_the_precision_of_the_value():
    def f(x):
        return np.float32(np.exp(x))

    _, tangent = numeric.finite_difference_jvp(f, (1.0,), (1.0,))
    assert tangent.dtype == np.float32
    assert abs(tangent - np.e) < 1e-3


def test_step_too_small_for_a_leaf_is_refused():
    primals = (np.ones(2), {"a": np.full(2, 1e9, np.float32)})
    with pytest.raises(ValueError, match=r"primals\[1\]\['a'\]"):
        numeric.finite_difference_jvp(lambda x, y: x + y["a"], primals, primals, step=1e-9)


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_step_that_is_none_is_refused(step):
    for function in (
        numeric.finite_difference_jvp,
        numeric.ridders_jvp,
        numeric.complex_step_jvp,
    ):
        with pytest.raises(ValueError, match="step must be"):
            function(np.sin, (1.0,), (1.0,), step=step)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="five_point"):
        numeric.finite_difference_jvp(np.sin, (1.0,), (1.0,), method="backward")
    with pytest.raises(ValueError, match="five_point"):
        numeric.finite_difference_jacobian(np.sin, 1.0, method="backward")


def test_relative_error_of_all_methods_agrees():
    x, v = (jnp.linspace(0.5, 2, 5),), (jnp.linspace(-1, 1, 5),)
    _, exact = jax.jvp(jnp.log, x, v)
    for method in [*ORDERS, "ridders"]:
        _, tangent = numeric.finite_difference_jvp(jnp.log, x, v, method)
        assert relative_error(tangent, exact) < 1e-6
