"""The pseudo-inverse of matrices that keep their rank."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from dini.linalg import pinv
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close
from tests.support.marks import case
from tests.support.multiprecision import assert_right, matrix, total

_random = np.random.default_rng(9)
LEFT, RIGHT = (jnp.asarray(_random.normal(size=(2, 5, 3))[i]) for i in range(2))
U = jnp.asarray(_random.normal(size=(5, 5)))
SHAPES = {"square": (5, 5), "tall": (5, 4), "wide": (3, 5)}


def parts(shape):
    """B, Ḃ, C, C̈ of a matrix (B + tḂ)(C + t²C̈) of rank 2."""
    m, n = shape
    return LEFT[:m, :2], RIGHT[:m, :2], RIGHT[:n, :2].T, LEFT[:n, :2].T


def of_rank_2(shape, turn=1.0):
    b, b_dot, c, c_dot = parts(shape)
    return lambda t: (b + t * turn * b_dot) @ (c + t**2 * c_dot)


def exact(shape, turn, weights):
    """(B C)⁺ = C⁺ B⁺ for B of full column rank and C of full row rank."""
    b, b_dot, c, c_dot = map(matrix, parts(shape))

    def phi(t):
        left, right = b + t[0] * turn * b_dot, c + t[0] ** 2 * c_dot
        inverse = right.H * (right * right.H) ** -1 * (left.H * left) ** -1 * left.H
        return mpmath.re(total(weights, inverse))

    return phi


@pytest.mark.parametrize(
    ("shape", "turn"),
    [
        case(shape, turn, quick=name == "tall" and turn != 1, id=f"{name}, {turn}")
        for name, shape in SHAPES.items()
        for turn in (1.0, 1 + 0.7j)
    ],
)
def test_derivatives_are_right_at_deficient_rank(shape, turn):
    weights = U[: shape[1], : shape[0]]
    phi = lambda t: jnp.sum(weights * pinv(of_rank_2(shape, turn)(t[0, 0]))).real
    one = jnp.ones((1, 1))
    assert_right(phi, exact(shape, turn, weights), 0.1 * one[None], one, one, 1e-11, 1e-10)


def test_value_is_that_of_scipy():
    for shape in SHAPES.values():
        a = np.asarray(of_rank_2(shape)(0.3))
        assert_close(pinv(a), scipy.linalg.pinv(a), 1e-13)
        assert_close(pinv(a, rtol=0.5), scipy.linalg.pinv(a, rtol=0.5), 1e-13)
        assert_close(pinv(a, atol=2.0), scipy.linalg.pinv(a, atol=2.0), 1e-13)


def test_lanes_do_not_mix():
    stack = jnp.stack([U, jnp.full((5, 5), jnp.nan), of_rank_2((5, 5))(0.1)])
    gradient = jax.grad(lambda a: jnp.sum(pinv(a)))
    assert all_nan(gradient(stack)[1])
    assert_close(gradient(stack)[::2], jax.vmap(gradient)(stack[::2]), 1e-12)
    assert pinv(U.astype(jnp.float32)).dtype == jnp.float32
    with pytest.raises(ValueError, match="m n"):
        pinv(jnp.ones(3))


@pytest.mark.slow
def test_rule_is_checked():
    m, n = SHAPES["wide"]
    check_rule(lambda t: pinv(of_rank_2((m, n))(t)), 0.2, transforms=())
    check_rule(pinv, U[:m, :n] * (1 + 0.2j), order=1, transforms=())
