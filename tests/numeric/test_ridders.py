"""Ridders' method: small errors, bars that hold, and no conclusion where there is none."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini import numeric

SMOOTH = [
    (np.sin, np.cos),
    (np.exp, np.exp),
    (np.log, lambda x: 1 / x),
    (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    (lambda x: x**5 - 3 * x, lambda x: 5 * x**4 - 3),
    (lambda x: 1 / (1 + 25 * x**2), lambda x: -50 * x / (1 + 25 * x**2) ** 2),
    (lambda x: np.sin(30 * x), lambda x: 30 * np.cos(30 * x)),
    (lambda x: np.exp(-(x**2)) * np.cos(7 * x), None),
    (lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
]
SMOOTH[8] = (
    SMOOTH[8][0],
    lambda x: np.exp(-(x**2)) * (-2 * x * np.cos(7 * x) - 7 * np.sin(7 * x)),
)


@pytest.mark.parametrize("case", range(len(SMOOTH)))
def test_error_bar_holds_on_smooth_functions(case):
    f, df = SMOOTH[case]
    random = np.random.default_rng(case)
    for x in np.exp(random.uniform(-3, 1.5, 20)):
        _, tangent, error = numeric.ridders_jvp(f, (x,), (1.0,))
        natural = max(abs(df(x)), abs(f(x) / x))
        assert abs(tangent - df(x)) <= error <= 1e-9 * natural


def test_error_bar_holds_number_by_number():
    random = np.random.default_rng(0)
    for _ in range(10):
        a, b = random.normal(size=(2, 6, 5))
        x, v = random.normal(size=(2, 5))

        def f(x, a=a, b=b):
            return jnp.tanh(a @ x) * jnp.exp(b @ x)

        _, exact = jax.jvp(f, (x,), (v,))
        _, tangent, error = numeric.ridders_jvp(f, (x,), (v,))
        assert np.all(np.abs(tangent - exact) <= error)
        assert np.all(error <= 1e-8 * np.max(np.abs(exact)))


def test_error_bar_holds_in_single_precision():
    random = np.random.default_rng(1)
    for x in random.uniform(0.2, 2, 20).astype(np.float32):
        _, tangent, error = numeric.ridders_jvp(jnp.sin, (jnp.asarray(x),), (1.0,))
        assert abs(float(tangent) - math.cos(x)) <= error <= 1e-4


@pytest.mark.parametrize("x", [1.5, 1.57, 1.5707, 1.570796, 1.5707963, -1.57])
def test_error_bar_holds_near_a_pole(x):
    exact = 1 / np.cos(x) ** 2
    _, tangent, error = numeric.ridders_jvp(np.tan, (x,), (1.0,))
    assert abs(tangent - exact) <= error <= 1e-10 * exact


@pytest.mark.parametrize("distance", 10.0 ** -np.arange(3, 16))
@pytest.mark.parametrize("power", [1, 2])
def test_pole_is_resolved_or_inconclusive(distance, power):
    x = 1 + distance
    exact = -power / (x - 1) ** (power + 1)
    with np.errstate(divide="ignore"):
        _, tangent, error = numeric.ridders_jvp(lambda x: 1 / (x - 1) ** power, (x,), (1.0,))
    assert error == np.inf or abs(tangent - exact) <= error <= 1e-2 * abs(exact)
    assert error <= 1e-6 * abs(exact) or distance < 1e-9


@pytest.mark.parametrize("x", [1e-3, 1e-9, 1e-100])
def test_logarithm_of_small_numbers_is_accurate(x):
    for log in (np.log, math.log):
        _, tangent, error = numeric.ridders_jvp(log, (x,), (1.0,))
        assert abs(tangent - 1 / x) <= error <= 1e-9 / x


@pytest.mark.parametrize("x", [1e9, -1e9 - 0.3, 1e10])
def test_large_numbers_are_not_aliased(x):
    _, tangent, error = numeric.ridders_jvp(np.sin, (x,), (1.0,))
    assert abs(tangent - math.cos(x)) <= error <= 1e-6
    _, tangent, error = numeric.ridders_jvp(lambda x: np.sin(x) + 1000 * x, (x,), (1.0,))
    assert abs(tangent - 1000 - math.cos(x)) <= error
    _, tangent, error = numeric.ridders_jvp(lambda x: x * x, (x,), (1.0,))
    assert abs(tangent - 2 * x) <= error <= 1e-12 * abs(x)


@pytest.mark.parametrize("x", [0.0, 1e-17, 1e-9])
def test_small_numbers_are_stepped_at_the_scale_of_the_function(x):
    _, tangent, error = numeric.ridders_jvp(lambda x: 1 + np.sin(x), (x,), (1.0,))
    assert abs(tangent - 1) <= error <= 1e-7


@pytest.mark.parametrize("distance", [1e-2, 1e-6, 1e-9, 1e-13])
def test_edge_of_the_domain_is_backed_off_from(distance):
    x = 1 - distance
    _, tangent, error = numeric.ridders_jvp(lambda x: np.sqrt(1 - x), (x,), (1.0,))
    exact = -0.5 / np.sqrt(1 - x)
    assert error == np.inf or abs(tangent - exact) <= error
    assert (error <= -1e-6 * exact) == (distance > 1e-12)


def refuses(x):
    if x > 1.001:
        raise ValueError("outside")
    return x * x


def test_function_that_refuses_a_point_is_backed_off_from():
    _, tangent, error = numeric.ridders_jvp(refuses, (1.0,), (1.0,))
    assert abs(tangent - 2) <= error <= 1e-9
    with pytest.raises(ValueError, match="outside"):
        numeric.finite_difference_jvp(refuses, (1.0,), (1.0,), step=0.1)


INCONCLUSIVE = {
    "edge": (np.sqrt, 0.0),
    "kink": (np.abs, 0.0),
    "kink beyond the steps": (lambda x: np.abs(x - 1), 1 + 1e-15),
    "jump": (lambda x: np.heaviside(x, 0.5), 0.0),
    "jump to a side": (np.floor, 2.0),
    "value out of line": (lambda x: np.where(x == 1, 5.0, x), 1.0),
    "unbounded slope": (np.cbrt, 0.0),
    "unresolved oscillation": (lambda x: np.sin(1e20 * x), 1.0),
    "quantised": (lambda x: (1e14 + x) - 1e14, 1.1),
}


@pytest.mark.parametrize("case", INCONCLUSIVE)
def test_inconclusive_is_nan_with_an_infinite_bar(case):
    f, x = INCONCLUSIVE[case]
    _, tangent, error = numeric.ridders_jvp(f, (x,), (1.0,))
    assert error == np.inf
    assert np.isnan(tangent)
    assert np.isnan(numeric.finite_difference_jvp(f, (x,), (1.0,), "ridders")[1])


def test_one_number_does_not_spoil_another():
    def f(x):
        return np.array([np.sin(x), np.abs(x - 1), np.tan(x + 0.57), 3.0, np.nan])

    value, tangent, error = numeric.ridders_jvp(f, (1.0,), (1.0,))
    np.testing.assert_allclose(tangent[[0, 2, 3]], [math.cos(1), 1 / math.cos(1.57) ** 2, 0], 1e-9)
    assert np.all(np.isfinite(error) == [True, False, True, True, False])
    assert np.all(np.isnan(tangent) == [False, True, False, False, True])
    assert np.isnan(value[4])


@pytest.mark.parametrize("distance", 10.0 ** -np.arange(1, 16))
@pytest.mark.parametrize("side", [1, -1])
def test_near_kink_is_resolved_or_inconclusive(distance, side):
    x = 1 + side * distance
    _, tangent, error = numeric.ridders_jvp(lambda x: np.abs(x - 1), (x,), (1.0,))
    assert error == np.inf or abs(tangent - side) <= error <= 0.05
    assert error <= 1e-6 or distance < 1e-10
    _, tangent, error = numeric.ridders_jvp(lambda x: np.maximum(x - 1, 0), (x,), (1.0,))
    assert error == np.inf or abs(tangent - (side > 0)) <= error <= 0.05


@pytest.mark.parametrize("noise", [1e-12, 1e-8, 1e-5])
def test_noise_is_seen_and_covered(noise):
    random = np.random.default_rng(0)
    errors = []
    for x in np.linspace(0.5, 1.5, 12):
        _, tangent, error = numeric.ridders_jvp(
            lambda x: np.sin(x) + noise * random.normal(), (x,), (1.0,)
        )
        assert abs(tangent - math.cos(x)) <= error
        errors.append(error)
    assert np.median(errors) < 1e4 * noise


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_cancellation_inside_is_not_taken_for_a_zero(offset):
    for x in np.linspace(0.5, 1.5, 12):
        _, tangent, error = numeric.ridders_jvp(
            lambda x: (offset + np.sin(x)) - offset, (x,), (1.0,)
        )
        assert error == np.inf or abs(tangent - math.cos(x)) <= error


def test_constant_has_derivative_zero():
    _, tangent, error = numeric.ridders_jvp(lambda x: 3.0 + 0 * x, (2.0,), (1.0,))
    assert tangent == 0
    assert error < 1e-12
    _, tangent, error = numeric.ridders_jvp(np.floor, (2.3,), (1.0,))
    assert tangent == 0
    assert error < 1e-12


def test_leaves_of_all_scales_are_summed_with_their_errors():
    x = (np.array([1e9, 2e9]), np.array([1e-9]), 1.0, 3)
    v = (np.array([1e8, 1e9]), np.array([-1e-9]), 0.5, None)

    def f(x, y, z, n):
        return np.log(x).sum() * np.log(y) * np.exp(z) * n

    exact = 3 * np.e * (0.6 * np.log(1e-9) - np.log(2e18) + 0.5 * np.log(2e18) * np.log(1e-9))
    _, tangent, error = numeric.ridders_jvp(f, x, v)
    assert abs(tangent[0] - exact) <= error[0] <= 1e-8 * abs(exact)


def test_complex_direction_has_a_real_bar():
    _, tangent, error = numeric.ridders_jvp(lambda z: z**3, (1 + 1j,), (2 - 1j,))
    assert not np.iscomplexobj(error)
    assert abs(tangent - 3 * (1 + 1j) ** 2 * (2 - 1j)) <= error <= 1e-10


def test_integer_value_has_no_tangent_and_no_bar():
    _, tangent, error = numeric.ridders_jvp(lambda x: (x, 3), (1.0,), (1.0,))
    assert tangent[1].dtype == error[1].dtype == jax.dtypes.float0


def test_first_step_is_the_callers():
    seen = []

    def f(x):
        seen.append(x)
        return np.exp(x)

    _, tangent, error = numeric.ridders_jvp(f, (1.0,), (1.0,), step=0.02)
    assert max(seen) <= 1.02
    assert abs(tangent - np.e) <= error <= 1e-8
    _, tangent, error = numeric.ridders_jvp(f, (1.0,), (1.0,), step=1e-20)
    assert error == np.inf
