"""Logarithm and powers of a matrix, at matrices that are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.matrix_functions import MATRICES, E, G, U, derivative

STACK = jnp.stack([jnp.asarray(a) for a in MATRICES.values()])


def along(f, e):
    return lambda a: jax.jvp(f, (a,), (e,))[1]


# e^{log A} = A  ⇒  L_exp(X, L_E) = E and L_exp(X, L_EG) = −D²exp(X)[L_E, L_G], with X = log A.
def test_derivatives_undo_those_of_the_exponential():
    dot = lambda x, y: jnp.sum(x * y)
    phi = lambda a: dot(U, linalg.logm(a))
    slope = lambda a: dot(E, jax.grad(phi)(a))

    @jax.jit
    @jax.vmap
    def program(a):
        nestings = {
            "fwd rev": along(slope, G)(a),
            "rev fwd": dot(G, jax.grad(along(phi, E))(a)),
            "rev rev": dot(G, jax.grad(slope)(a)),
        }
        first = along(linalg.logm, E), along(linalg.logm, G)
        second = along(along(linalg.logm, E), G)(a)
        return linalg.logm(a), [f(a) for f in first], jax.grad(phi)(a), second, nestings

    x, first, gradient, second, nestings = jax.tree.map(np.asarray, program(STACK))
    for i, name in enumerate(MATRICES):
        assert_close(derivative("expm", x[i]), MATRICES[name], 1e-12)
        size = np.sum(np.abs(gradient[i] * E))
        assert abs(dot(gradient[i], E) - dot(U, first[0][i])) <= 1e-11 * size
        if name == "badly scaled":  # e^X undoes no error of 1e-16 in entries of size 1e10
            continue
        assert_close(derivative("expm", x[i], first[0][i]), E, 1e-11)
        right = -derivative("expm", x[i], first[0][i], first[1][i])
        assert_close(derivative("expm", x[i], second[i]), right, 1e-7)
        for nesting, value in nestings.items():
            error = abs(value[i] - dot(U, second[i]))
            assert error <= 1e-8 * np.sum(np.abs(U * second[i])), nesting


NO_LOGARITHM = {
    "negative eigenvalue": [[1.0, 0.0], [0.0, -1.0]],
    "two negative eigenvalues": [[-1.0, 0.0], [0.0, -1.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "nilpotent": [[0.0, 1.0], [0.0, 0.0]],
    "rank 1": [[1.0, 1.0], [1.0, 1.0]],
    "not finite": [[1.0, np.inf], [0.0, 1.0]],
}


def test_what_has_no_logarithm_is_nan_in_its_lane():
    stack = jnp.stack([jnp.array([[2.0, 1.0], [0.0, 3.0]]), *map(jnp.array, NO_LOGARITHM.values())])
    for f in (linalg.logm, lambda a: linalg.fractional_matrix_power(a, 1.5)):
        value = jax.jit(f)(stack)
        gradient = jax.jit(jax.grad(lambda a, f=f: jnp.sum(f(a))))(stack)
        for result in (value, gradient):
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


def test_dtypes_are_kept():
    a = STACK[0]
    for f in (linalg.logm, lambda a: linalg.fractional_matrix_power(a, 0.3)):
        single = f(a.astype(jnp.float32))
        assert single.dtype == jnp.float32
        assert_close(single, f(a), 1e-5)
        z = f(a + 1e-30j * E)
        assert z.dtype == jnp.complex128
        assert_close(z.imag / 1e-30, along(f, E)(a), 1e-11)


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


@pytest.mark.parametrize("f", [linalg.logm, lambda a: linalg.fractional_matrix_power(a, 0.5)])
def test_what_is_no_square_matrix_is_refused(f):
    with pytest.raises(TypeError, match="takes square"):
        f(jnp.ones((2, 3)))


@pytest.mark.slow
def test_check_rule():
    dini.testing.check_rule(linalg.logm, MATRICES["regular"], order=2)
    dini.testing.check_rule(linalg.fractional_matrix_power, MATRICES["regular"], 0.7, order=2)


@pytest.mark.slow
def test_matrices_of_scipy_own_tests():
    tests = pytest.importorskip("scipy.linalg.tests.test_matfuncs")
    random = np.random.default_rng(4)
    hard = [tests._get_al_mohy_higham_2012_experiment_1()]
    hard += [scipy.linalg.expm(s * random.normal(size=(4, 4))) for s in (1e-4, 1e-2, 1, 2)]
    for a in hard:
        x = np.asarray(linalg.logm(jnp.asarray(a)))
        np.testing.assert_allclose(scipy.linalg.expm(x), a, atol=1e-8 * np.max(np.abs(a)))
