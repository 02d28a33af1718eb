"""Logarithm and powers of a matrix, at matrices that are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.matrix_functions import MATRICES, POWER, E, G, derivative
from tests.support.processes import output

STACK = jnp.stack([jnp.asarray(a) for a in MATRICES.values()])


NO_LOGARITHM = {
    "negative eigenvalue": [[1.3, 0.4], [0.2, -0.7]],
    "two negative eigenvalues": [[-1.0, 0.0], [0.0, -1.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "nilpotent": [[0.0, 1.0], [0.0, 0.0]],
    "rank 1": [[1.0, 1.0], [1.0, 1.0]],
    "singular but for rounding": [[0.1, 0.2], [0.3, 0.6]],
    "not finite": [[1.0, np.inf], [0.0, 1.0]],
}


def test_what_has_no_logarithm_is_nan_in_its_lane():
    stack = jnp.stack([jnp.array([[2.0, 1.0], [0.0, 3.0]]), *map(jnp.array, NO_LOGARITHM.values())])
    gradient = jax.grad(lambda a: jnp.sum(linalg.logm(a)))
    for f in (linalg.logm, gradient, lambda a: linalg.fractional_matrix_power(a, 1.5)):
        result = jax.jit(f)(stack)
        assert no_nan(result[0])
        assert all_nan(result[1:])
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])  # eigenvalues ±i: a real logarithm
    assert_close(linalg.logm(turn), np.pi / 2 * np.asarray(turn), 1e-14)
    z = linalg.logm(jnp.diag(jnp.array([-1.0 + 1e-3j, 2.0])))
    assert_close(z, np.diag(np.log([-1.0 + 1e-3j, 2.0])), 1e-9)


def test_singular_and_repeated_negative_eigenvalues_are_nan_however_they_are_turned():
    """Rounding makes them tiny ones, and pairs beside the axis."""
    p = np.random.default_rng(5).normal(size=(50, 4, 4))
    q, _ = np.linalg.qr(p)
    for values in ([0, 1, 2, 3], [-1, -1, 2, 3]):
        for basis, inverse in ((p, np.linalg.inv(p)), (q, q.swapaxes(1, 2))):
            stack = basis @ np.diag(np.array(values, float)) @ inverse
            assert all_nan(linalg.logm(stack))
            assert all_nan(linalg.inv_sqrtm(stack))
            assert all_nan(linalg.fractional_matrix_power(stack, 0.5))


def test_logarithm_near_the_negative_axis():
    """log of a rotation by π − δ; its condition is 1/δ."""
    for delta in (1e-2, 1e-4, 1e-6, 1e-8):
        angle = np.pi - delta
        c, s = np.cos(angle), np.sin(angle)
        t = np.array([[1.0, 0.7], [-0.4, 1.1]])
        expected = t @ np.array([[0, -angle], [angle, 0]]) @ np.linalg.inv(t)
        a = t @ np.array([[c, -s], [s, c]]) @ np.linalg.inv(t)
        assert_close(linalg.logm(a), expected, 1e-14 / delta)


@pytest.mark.parametrize("eigenvalue", [2.0, 0.1])
def test_second_derivatives_at_a_matrix_that_scaling_makes_the_identity(eigenvalue):
    """Newton's iteration is at its end there before its derivatives are."""
    a = eigenvalue * np.eye(3)
    a[0, 1] = 1
    along = lambda f, e: lambda a: jax.jvp(f, (a,), (jnp.asarray(e),))[1]
    power = lambda a: linalg.fractional_matrix_power(a, POWER)
    for f, name in ((linalg.logm, "logm"), (power, "fractional_matrix_power")):
        second = along(along(f, E), G)(jnp.asarray(a))
        assert_close(second, derivative(name, a, E, G), 1e-12)


def test_logarithm_at_condition_1e8():
    q, _ = np.linalg.qr(E)
    values = np.array([1, 1e-4, 1e-8])
    expected = q @ np.diag(np.log(values)) @ q.T
    assert_close(linalg.logm(jnp.asarray(q @ np.diag(values) @ q.T)), expected, 1e-8)


def test_powers():
    a = STACK[0]
    power = linalg.fractional_matrix_power
    cube = lambda t: jnp.linalg.matrix_power(power(a, t), 3)
    assert_close(cube(1 / 3), a, 1e-13)
    assert_close(cube(-5 / 3), np.linalg.matrix_power(a, -5), 1e-12)
    assert_close(power(a, -3), np.linalg.matrix_power(a, -3), 1e-13)
    nilpotent = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    assert_close([power(nilpotent, k) for k in (0, 1, 2.0)], [np.eye(2), nilpotent, 0 * nilpotent])
    assert all_nan(power(nilpotent, -1))
    t = jnp.array([0.5, -1.25])
    value, dot = jax.jvp(lambda t: power(a, t), (t,), (jnp.ones(2),))
    expected = jnp.stack([power(a, float(x)) for x in t])
    assert_close(value, expected, 1e-13)
    assert_close(dot, linalg.logm(a) @ expected, 1e-12)


_LARGE = """
import jax, jax.numpy as jnp
from dini.linalg import logm
a = 2 * jnp.eye(200) + jax.random.normal(jax.random.key(0), (200, 200)) / 30
jax.block_until_ready([jax.jit(lambda a: jax.jvp(logm, (a,), (a,)))(a) for _ in range(10)])
"""


@pytest.mark.slow
def test_derivative_of_a_large_matrix_ends():
    """The CPU runtime of jaxlib 0.10 can wait for ever in a batch of solves beside a loop."""
    output(_LARGE, timeout=300)


@pytest.mark.slow
def test_check_rule():
    f = linalg.fractional_matrix_power
    dini.testing.check_rule(f, MATRICES["regular"], 0.7, order=1, transforms=())
