"""Determinants: derivatives of every order at any rank."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from dini.linalg import det, slogdet
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close
from tests.support.multiprecision import assert_right

_random = np.random.default_rng(8)
E, H = (jnp.asarray(_random.normal(size=(4, 4))) for _ in range(2))
_Q, _R = (np.linalg.qr(_random.normal(size=(4, 4)))[0] for _ in range(2))
REGULAR = jnp.asarray(_random.integers(-3, 4, size=(4, 4)).astype(float))
RANK_3 = REGULAR.at[3].set(REGULAR[0] + REGULAR[1])
RANK_2 = RANK_3.at[2].set(REGULAR[0] - REGULAR[1])
RANK_1 = jnp.outer(REGULAR[0], REGULAR[:, 1])
HARD = jnp.stack(
    [
        REGULAR,
        RANK_3,
        RANK_2,
        RANK_1,
        0 * REGULAR,
        jnp.eye(4),
        jnp.asarray(_Q @ np.diag([1e-8, 1, 2, 0.5]) @ _R),
        jnp.asarray(_Q @ np.diag([1e-9, 1e-9, 2, 0.5]) @ _R),
        jnp.eye(4) + jnp.eye(4, k=1),
        jnp.eye(4, k=1),
    ]
)


def leibniz(a):
    """The determinant by products alone, of a matrix of mpmath's or of JAX's."""
    total, n = 0, len(E)
    for image in itertools.permutations(range(n)):
        swaps = sum(one > other for one, other in itertools.combinations(image, 2))
        total = total + (-1) ** swaps * math.prod(a[i, j] for i, j in enumerate(image))
    return total


def test_derivatives_are_right_at_any_rank():
    assert_right(det, leibniz, HARD, E, H, 1e-12, 1e-12, floor=1.0)


@pytest.mark.slow
def test_complex_derivatives_are_right_at_any_rank():
    stack = jnp.stack([RANK_3 * (1 + 0.5j), RANK_2 + 0j, REGULAR + 1j * E])
    right = lambda a: mpmath.re((1 - 2j) * leibniz(a))
    phi = lambda a: ((1 - 2j) * det(a)).real
    assert_right(phi, right, stack, E + 1j * H, H - 1j * E, 1e-12, 1e-12, floor=1.0)


@pytest.mark.slow
def test_third_order_is_right_at_rank_one():
    along = lambda f, v: lambda a: jax.jvp(f, (a,), (v,))[1]
    third = lambda f: jax.vmap(jax.grad(along(along(f, E), H)))(HARD[3:5])
    assert_close(*jax.jit(lambda: (third(det), third(leibniz)))(), 1e-12)


def test_stack_and_single_precision():
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(det(a))))
    assert_close(gradient(HARD), jax.jit(jax.vmap(jax.grad(det)))(HARD), 1e-14)
    single = gradient(HARD.astype(jnp.float32))
    assert single.dtype == jnp.float32
    assert_close(single.astype(float), gradient(HARD), 1e-5)


def test_slogdet_is_right_and_loud_where_singular():
    stack = HARD[jnp.array([0, 5, 8])]
    right = lambda a: mpmath.log(abs(leibniz(a)))
    assert_right(lambda a: slogdet(a).logabsdet, right, stack, E, H, 1e-12, 1e-11)
    value, gradient = jax.value_and_grad(lambda a: slogdet(a).logabsdet)(RANK_3)
    assert value == -jnp.inf
    assert slogdet(RANK_3).sign == 0
    assert all_nan(gradient)
    lanes = jax.grad(lambda a: jnp.sum(slogdet(a).logabsdet))(jnp.stack([RANK_3, REGULAR]))
    assert_close(lanes[1], np.linalg.inv(REGULAR).T, 1e-12)


def test_slogdet_of_complex_matrix_has_the_derivative_of_jax():
    a, e = REGULAR + 1j * E, H + 1j * E
    mine, theirs = (
        jax.jvp(lambda a, f=f: tuple(f(a)), (a,), (e,)) for f in (slogdet, jnp.linalg.slogdet)
    )
    assert_close(mine, theirs, 1e-12)


def test_wrong_shapes_are_refused():
    for f in (det, slogdet):
        with pytest.raises(ValueError, match="n n"):
            f(jnp.ones((2, 3)))


@pytest.mark.slow
def test_rules_are_checked():
    check_rule(det, RANK_3, transforms=())
    check_rule(lambda a: tuple(slogdet(a)), REGULAR + 1j * E, order=1, transforms=())
