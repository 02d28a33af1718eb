"""The polar decomposition, tall, wide and square, on either side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini.linalg import polar
from tests.support.compare import all_nan, assert_close
from tests.support.marks import case

_random = np.random.default_rng(8)


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        case((m, n), side, quick=(m, n, side) == (4, 2, "right"))
        for m, n in ((4, 2), (2, 4), (3, 3))
        for side in ("right", "left")
    ],
)
def test_values_and_derivatives(shape, side):
    a, e = (jnp.asarray(_random.normal(size=shape)) for _ in range(2))
    u, p = polar(a, side)
    right = scipy.linalg.polar(a, side)
    assert_close((u, p), right, 1e-13)
    weights = jax.tree.map(lambda x: jnp.asarray(_random.normal(size=x.shape)), (u, p))
    pair = lambda x: sum(jnp.sum(w * y) for w, y in zip(weights, x, strict=True))

    @jax.jit
    def program(a):
        tangent = jax.jvp(lambda a: polar(a, side), (a,), (e,))[1]
        gradient, turn = jax.jvp(jax.grad(lambda a: pair(polar(a, side))), (a,), (e,))
        return tangent, jnp.sum(gradient * e), jnp.sum(turn * e)

    h = 1e-3
    tangent, gradient, curvature = program(a)
    around = [scipy.linalg.polar(np.asarray(a + k * h * e), side) for k in (-2, -1, 0, 1, 2)]
    stencil = lambda ws: [
        sum(w * x for w, x in zip(ws, xs, strict=True)) for xs in zip(*around, strict=True)
    ]
    first = [x / (12 * h) for x in stencil((1, -8, 0, 8, -1))]
    second = [x / (12 * h**2) for x in stencil((-1, 16, -30, 16, -1))]
    assert_close(tangent, tuple(first), 1e-9)
    assert_close(gradient, pair(tangent), 1e-12)
    assert_close(curvature, pair(second), 1e-7)


@pytest.mark.slow
def test_matrix_of_lower_rank_has_none():
    a = _random.normal(size=(3, 3))
    a[2] = a[0] + a[1]
    assert all_nan(polar(a))
    assert all_nan(jax.jvp(polar, (jnp.asarray(a),), (jnp.ones((3, 3)),)))


@pytest.mark.slow
def test_complex_and_badly_conditioned():
    q, _ = np.linalg.qr(_random.normal(size=(4, 4)) + 1j * _random.normal(size=(4, 4)))
    a = q @ np.diag([1e-8, 1e-3, 1.0, 10.0]) @ q.T
    assert_close(polar(a), scipy.linalg.polar(a), 1e-8)


def test_another_side_is_refused():
    with pytest.raises(ValueError, match="side"):
        polar(np.eye(2), "up")
