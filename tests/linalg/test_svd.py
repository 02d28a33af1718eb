"""Singular values and vectors: right where a derivative exists, NaN where none does."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from dini.linalg import det, pinv, svd
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.multiprecision import assert_right, directional, total

_random = np.random.default_rng(4)
E, H, U = (jnp.asarray(_random.normal(size=(4, 3))) for _ in range(3))
P = np.linalg.qr(_random.normal(size=(4, 4)))[0]
Q = np.linalg.qr(_random.normal(size=(3, 3)))[0]
W = jnp.asarray(_random.normal(size=(4, 4)))


def tall(*values):
    return jnp.asarray(P[:, :3] @ np.diag(values) @ Q.T)


REGULAR, DEFICIENT = tall(3.0, 1.0, 0.4), tall(3.0, 1.0, 0.0)
REPEATED = tall(3.0, 1.0, 1.0)
HARD = jnp.stack([REGULAR, DEFICIENT, REPEATED, tall(3, 1e-8, 1e-8), tall(3, 0, 0)])


def top(a):
    """A number made of the first, simple, singular value and its vectors."""
    u, s, vh = svd(a, full_matrices=False)
    return s[0] ** 2 + jnp.sum(U[: a.shape[0], : a.shape[1]] * jnp.outer(u[:, 0], vh[0])).real


def exact_top(a):
    u, s, vh = mpmath.svd_c(a)
    return s[0] ** 2 + mpmath.re(total(U, u[:, 0] * vh[0, :]))


def test_first_triple_is_right_whatever_the_rank():
    assert_right(top, exact_top, HARD, E, H, 1e-12, 1e-11)


@pytest.mark.slow
def test_complex_triple_is_right():
    stack = jnp.stack([REGULAR + 1j * H, REPEATED * (1 + 2j)])
    assert_right(top, exact_top, stack, E + 1j * H, H - 1j * U, 1e-11, 1e-10)


def all_of(a):
    """A number made of all factors, in which signs cancel: U₁ g(S) V₁ᴴ, and U₂U₂ᵀ."""
    u, s, vh = svd(a)
    k = s.size
    rest = u[:, k:] @ u[:, k:].T
    others = vh[k:].T @ vh[k:]
    inside = (u[:, :k] * jnp.sin(s)) @ vh[:k]
    weigh = lambda m: jnp.sum(W[: m.shape[0], : m.shape[1]] * m)
    return weigh(inside) + weigh(rest) + weigh(others)


def gram(a):
    """The same by products and solves: U₁ g(S) V₁ᵀ by the series of the sine, U₂U₂ᵀ = I − A A⁺."""
    m, n = a.shape
    inside, term = a, a
    for k in range(1, 12):
        term = -term @ a.T @ a / (2 * k * (2 * k + 1))
        inside = inside + term
    weigh = lambda x: jnp.sum(W[: x.shape[0], : x.shape[1]] * x)
    onto = a @ jnp.linalg.solve(a.T @ a, a.T) if m > n else a.T @ jnp.linalg.solve(a @ a.T, a)
    rest = weigh(jnp.eye(max(m, n)) - onto) if m != n else 0
    return weigh(inside) + rest


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 3), (3, 4)], ids=str)
def test_all_factors_are_right(shape):
    a = W[: shape[0], : shape[1]]
    e, h = W[::-1][: shape[0], : shape[1]], W[:, ::-1][: shape[0], : shape[1]]
    a = a / jnp.linalg.norm(a)
    mine, right = jax.jit(lambda a: [directional(f, e, h)(a) for f in (all_of, gram)])(a)
    assert_close(mine[:3], right[:3], 1e-10)
    assert_close(mine[3:], right[3:], 1e-8)


def test_what_has_no_derivative_is_loud():
    factors = lambda a: tuple(svd(a, full_matrices=False))
    _, (u, s, vh) = jax.jvp(factors, (DEFICIENT,), (E,))
    assert no_nan((u[:, :2], s[:2], vh))
    assert all_nan((u[:, 2], s[2]))
    _, (u, s, vh) = jax.jvp(factors, (REPEATED,), (E,))
    assert no_nan((u[:, 0], s, vh[0]))
    assert all_nan((u[:, 1:], vh[1:]))
    nuclear = jax.grad(lambda a: jnp.sum(svd(a, compute_uv=False)))
    assert all_nan(nuclear(DEFICIENT))
    assert_close(nuclear(REPEATED), P[:, :3] @ Q.T, 1e-13)
    square = lambda a: jnp.sum(svd(a, compute_uv=False)[:2] ** 2)
    assert_close(jax.grad(square)(DEFICIENT), 2 * DEFICIENT, 1e-13)


def test_null_vectors_of_a_square_matrix_have_a_derivative():
    a = jnp.asarray(P @ np.diag([3.0, 2.0, 1.0, 0.0]) @ W)
    u, _, vh = svd(a)
    e = W.T
    _, (u_dot, s_dot, vh_dot) = jax.jvp(lambda a: tuple(svd(a)), (a,), (e,))
    assert np.isnan(s_dot[3])
    pseudo = np.linalg.pinv(a, rcond=1e-12)
    assert_close(vh_dot[3], -pseudo @ e @ vh[3], 1e-10)
    assert_close(u_dot[:, 3], -pseudo.T @ e.T @ u[:, 3], 1e-10)


def test_lanes_dtypes_and_refusals():
    stack = jnp.stack([REGULAR, REPEATED, jnp.full((4, 3), jnp.nan)])
    gradient = jax.grad(lambda a: jnp.sum(svd(a).Vh[..., 2, :] ** 2 * U[0]))(stack)
    assert no_nan(gradient[0])
    assert all_nan(gradient[1:])
    infinite = REGULAR.at[1, 0].set(jnp.inf)  # LAPACK's iteration finds no end
    assert all_nan(svd(infinite).S)
    assert all_nan(pinv(infinite))
    assert all_nan(jax.grad(det)(infinite[:3]))
    u, s, vh = svd(REGULAR.astype(jnp.complex64))
    assert (u.shape, s.dtype, vh.dtype) == ((4, 4), jnp.float32, jnp.complex64)
    with pytest.raises(ValueError, match="m n"):
        svd(jnp.ones(3))


@pytest.mark.slow
def test_rule_is_checked():
    check_rule(top, DEFICIENT, transforms=("vmap",))
    check_rule(all_of, REGULAR.T, order=1, transforms=())
    check_rule(top, REGULAR + 1j * H, order=1, transforms=())
