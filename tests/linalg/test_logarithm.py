"""Logarithm and powers of a matrix, at matrices that are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.matrix_functions import MATRICES, E
from tests.support.processes import output

STACK = jnp.stack([jnp.asarray(a) for a in MATRICES.values()])


NO_LOGARITHM = {
    "negative eigenvalue": [[1.3, 0.4], [0.2, -0.7]],
    "two negative eigenvalues": [[-1.0, 0.0], [0.0, -1.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "nilpotent": [[0.0, 1.0], [0.0, 0.0]],
    "rank 1": [[1.0, 1.0], [1.0, 1.0]],
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
