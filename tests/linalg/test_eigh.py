"""Eigenvalues and eigenvectors: right where a derivative exists, NaN where none does."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from dini.linalg import eigh, spectral_function
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.multiprecision import assert_right, directional, total

_random = np.random.default_rng(6)
E, H, U = (jnp.asarray(_random.normal(size=(4, 4))) for _ in range(3))
Q = np.linalg.qr(_random.normal(size=(4, 4)))[0]
Z = np.linalg.qr(_random.normal(size=(4, 4)) + 1j * _random.normal(size=(4, 4)))[0]


def rotated(*eigenvalues, basis=Q):
    return jnp.asarray(basis @ np.diag(eigenvalues) @ basis.conj().T)


REPEATED = rotated(1.0, 1.0, 2.0, 5.0)
AT = 2  # the simple eigenvalue looked at, which is 2 in all matrices
CLOSE = jnp.stack(
    [
        rotated(1.0, 1.5, 2.0, 5.0),
        rotated(1.0, 1.999, 2.0, 5.0),
        REPEATED,
        rotated(1.0, 1.0 + 1e-9, 2.0, 5.0),
        rotated(1e-8, 1e-8, 2.0, 3.0),
        jnp.diag(jnp.array([5.0, 2.0, 1.0, 1.0])),
    ]
)


def pair(a):
    """A number made of one simple eigenvalue and its vector, whose sign is nobody's."""
    w, v = eigh(a)
    return w[AT] ** 2 + jnp.sum(U * jnp.outer(v[:, AT], v[:, AT].conj())).real


def exact_pair(a):
    w, v = mpmath.eighe((a + a.H) / 2)
    projection = v[:, AT] * v[:, AT].H
    return w[AT] ** 2 + mpmath.re(total(U, projection))


# Second derivatives lose digits as 1/gap²: the gap is 1e-3 in one of them.
def test_simple_pair_is_right_whatever_is_repeated_elsewhere():
    assert_right(pair, exact_pair, CLOSE, E, H, 1e-9, 1e-6)


@pytest.mark.slow
def test_hermitian_pair_is_right():
    stack = jnp.stack([rotated(1, 1, 2, 5, basis=Z), rotated(1, 1.2, 2, 3, basis=Z)])
    assert_right(pair, exact_pair, stack, E + 1j * H, H - 1j * U, 1e-11, 1e-10)


def test_symmetric_functions_of_repeated_eigenvalues_have_a_first_derivative():
    phi = lambda a: jnp.sum(jnp.exp(eigh(a, eigvals_only=True)))
    right = lambda a: jnp.trace(spectral_function(a, "exp"))
    stack = jnp.stack([REPEATED, jnp.eye(4)])
    program = jax.jit(jax.vmap(lambda a: [directional(f, E, H)(a) for f in (phi, right)]))
    numbers, expected = program(stack)
    assert_close(numbers[:3], expected[:3], 1e-12)
    assert all_nan(numbers[3:])


def test_vectors_of_a_repeated_eigenvalue_are_loud():
    _, (w_dot, v_dot) = jax.jvp(lambda a: tuple(eigh(a)), (REPEATED,), (E,))
    assert no_nan((w_dot, v_dot[:, 2:]))
    assert all_nan(v_dot[:, :2])

    def rebuilt(a):
        w, v = eigh(a)
        return jnp.sum(U * ((v * jnp.exp(w)) @ v.T))

    assert all_nan(jax.grad(rebuilt)(REPEATED))
    assert all_nan(jax.grad(rebuilt)(jnp.eye(4)))
    simple = rotated(0.3, 1.0, 2.0, 5.0)
    right = jax.grad(lambda a: jnp.sum(U * spectral_function(a, "exp")))(simple)
    assert_close(jax.grad(rebuilt)(simple), right, 1e-12)


def test_lanes_dtypes_and_call_form():
    stack = jnp.stack([CLOSE[0], REPEATED, jnp.full((4, 4), jnp.nan)])
    first = jax.grad(lambda a: jnp.sum(eigh(a).eigenvectors[..., 0] ** 2 * U[0]))(stack)
    assert no_nan(first[0])
    assert all_nan(first[1:])
    w, v = eigh(stack[0].astype(jnp.complex64))
    assert (w.dtype, v.dtype) == (jnp.float32, jnp.complex64)
    assert_close(eigh(CLOSE[0], eigvals_only=True), scipy.linalg.eigh(CLOSE[0])[0], 1e-14)
    with pytest.raises(ValueError, match="n n"):
        eigh(jnp.ones((2, 3)))


@pytest.mark.slow
def test_rule_is_checked():
    check_rule(pair, CLOSE[0])
    check_rule(pair, REPEATED, transforms=())
    check_rule(lambda a: eigh(a)[1] * jnp.sign(eigh(a)[1][:1]), CLOSE[0], transforms=())
    check_rule(pair, rotated(1, 1, 2, 5, basis=Z), order=1, transforms=())
