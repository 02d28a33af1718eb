"""Functions of a matrix, at matrices that are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.marks import slow_among
from tests.support.matrix_functions import MATRICES, POWER, E, G, U, reference

NAMES = ["expm", "cosm", "sinm", "coshm", "sinhm", "inv", "logm"]
FUNCTIONS = {name: getattr(linalg, name) for name in NAMES}
FUNCTIONS["fractional_matrix_power"] = lambda a: linalg.fractional_matrix_power(a, POWER)
EACH = slow_among(FUNCTIONS, *NAMES[1:5], "fractional_matrix_power")
NESTINGS = ["fwd fwd", "fwd rev", "rev fwd", "rev rev"]
SECOND = ["regular", "defective", "gap 1e-9", "repeat"]
STACK = jnp.stack([jnp.asarray(a) for a in MATRICES.values()])


def along(f, e):
    return lambda a: jax.jvp(f, (a,), (e,))[1]


def derivatives(f):
    """Everything up to second order at one matrix: matrices, and their products with U."""
    dot = lambda x, y: jnp.sum(x * y)
    phi = lambda a: dot(U, f(a))
    slope = lambda e: lambda a: dot(e, jax.grad(phi)(a))

    def at(a):
        first = along(f, E)(a)
        second = {
            "fwd fwd": dot(U, along(along(f, E), G)(a)),
            "fwd rev": along(slope(E), G)(a),
            "rev fwd": dot(G, jax.grad(along(phi, E))(a)),
            "rev rev": dot(G, jax.grad(slope(E))(a)),
        }
        block = f(jnp.block([[a, E], [jnp.zeros_like(a), a]]))[:3, 3:]
        return f(a), first, jax.grad(phi)(a), second, block

    return at


@pytest.mark.parametrize("name", EACH)
def test_derivatives_are_those_of_forty_digits(name):
    f = FUNCTIONS[name]
    value, first, gradient, second, block = jax.jit(jax.vmap(derivatives(f)))(STACK)
    for i, matrix in enumerate(MATRICES):
        rtol = 1e-9 if matrix == "badly scaled" else 1e-12
        expected = reference(name, matrix, 1)
        assert_close(value[i], reference(name, matrix, 0), rtol)
        assert_close(first[i], expected, rtol)
        assert_close(block[i], expected, rtol)
        assert abs(np.sum(gradient[i] * E) - np.sum(U * expected)) <= rtol * np.sum(
            np.abs(gradient[i] * E)
        )
        if matrix in SECOND:
            expected = reference(name, matrix, 2)
            for nesting in NESTINGS:
                error = abs(second[nesting][i] - np.sum(U * expected))
                assert error <= 1e-10 * np.sum(np.abs(U * expected)), nesting


@pytest.mark.parametrize("name", slow_among(FUNCTIONS, *set(FUNCTIONS) - {"expm", "inv"}))
def test_batch_keeps_its_lanes_apart(name):
    f = FUNCTIONS[name]
    bad = jnp.full((3, 3), 1.0).at[0, 1].set(jnp.nan)
    worse = jnp.zeros((3, 3)).at[0, 0].set(jnp.inf)
    stack = jnp.stack([STACK[0], bad, worse, 50 * STACK[1]])[None]

    @jax.jit
    def program(a):
        value, gradient = jax.value_and_grad(lambda a: jnp.sum(U * f(a)))(a)
        return value, gradient, f(a), along(f, jnp.ones_like(a))(a)

    _, *results = program(stack)
    for result in results:
        assert result.shape == stack.shape
        assert all_nan(result[:, 1:3])
        assert no_nan(result[:, [0, 3]])
    alone = program(STACK[0])[1:]
    for result, expected in zip(results, alone, strict=True):
        assert_close(result[0, 0], expected, 1e-13)


@pytest.mark.parametrize("name", slow_among(FUNCTIONS, *set(FUNCTIONS) - {"inv"}))
def test_dtypes_are_kept(name):
    f = FUNCTIONS[name]
    a, z = STACK[0], STACK[0] + 0.3j * U
    single = f(a.astype(jnp.float32))
    assert single.dtype == jnp.float32
    assert_close(single, f(a), 5e-6)
    assert f(z).dtype == jnp.complex128
    assert f(jnp.eye(2, dtype=int)).dtype == jnp.float64
    # f is analytic: its derivative along i E is i times that along E.
    e = E + 0j
    assert_close(along(f, 1j * e)(z), 1j * along(f, e)(z), 1e-13)
    assert_close(f(a + 1e-30j * E).imag / 1e-30, along(f, E)(a), 1e-12)
    pulled = jax.grad(lambda z: jnp.sum(U * f(z)), holomorphic=True)(z)
    assert_close(jnp.sum(pulled * E), jnp.sum(U * along(f, e)(z)), 1e-12)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_precision_follows_the_setting_of_the_call():
    """And not that of an earlier call with such arguments."""
    a, n = 2 * jnp.eye(2), jnp.eye(2, dtype=int)
    with jax.enable_x64(False):
        assert {linalg.inv(x).dtype for x in (a, n)} == {jnp.dtype("float32")}
    assert {linalg.inv(x).dtype for x in (a, n)} == {jnp.dtype("float64")}


def test_expm_is_not_scaled_too_far():
    """Matrices whose norm tells nothing of their powers; the last is that of jax#26802."""
    b = 1e6
    assert_close(
        linalg.expm(jnp.array([[1.0, b], [0.0, -1.0]])),
        np.array([[np.e, b * np.sinh(1)], [0, 1 / np.e]]),
        1e-15,
    )
    tiny = 1.00100100e-12
    m = np.array(
        [
            [-6.00094776e-02, -1.37334693e09, -1.16936523e19, tiny],
            [tiny, 0, 0, 0],
            [0, tiny, 0, 0],
            [0, 0, 0, 0],
        ]
    )
    x = np.asarray(linalg.expm(jnp.asarray(m)))
    diagonal = [9.41093318e-01, 9.99324338e-01, 9.99998076e-01, 1]
    np.testing.assert_allclose(np.diagonal(x), diagonal, rtol=1e-8)
    np.testing.assert_allclose(x[0, 1:3], [-1.33838273e09, -1.13470960e19], rtol=1e-8)


def test_expm_of_huge_matrices():
    assert_close(linalg.expm(jnp.diag(jnp.array([-1e300, 0.0]))), np.diag([0.0, 1.0]))
    assert_close(linalg.expm(jnp.array([[0.0, 1e250], [0.0, 0.0]]))[0, 1], 1e250)
    assert linalg.expm(jnp.array([[1000.0]])) == np.inf
    assert linalg.expm(jnp.zeros((0, 0))).shape == (0, 0)


def test_sinm_and_sinhm_of_tiny_matrices_are_relatively_exact():
    a = 1e-12 * STACK[0]
    assert_close(linalg.sinm(a), a, 1e-15)
    assert_close(linalg.sinhm(a), a, 1e-15)


def test_many_turns_of_an_angle():
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    for angle in (1e2, 1e4):
        rtol = 50 * angle * np.finfo(float).eps
        assert_close(linalg.cosm(angle * jnp.eye(1)), np.cos([[angle]]), rtol)
        assert_close(linalg.sinm(angle * jnp.eye(1)), np.sin([[angle]]), rtol)
        assert_close(linalg.expm(angle * turn)[0, 0], np.cos(angle), rtol)
        assert_close(linalg.coshm(angle * turn)[0, 0], np.cos(angle), rtol)
        assert_close(linalg.sinhm(angle * turn)[0, 1], np.sin(angle), rtol)


SINGULAR = [
    [[0.0, 0.0], [0.0, 0.0]],
    [[1.0, 2.0], [2.0, 4.0]],
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
]


@pytest.mark.parametrize("a", SINGULAR, ids=["zero", "rank 1", "rank 2"])
def test_inverse_of_a_singular_matrix_is_nan(a):
    a = jnp.array(a)
    assert all_nan((linalg.inv(a), jax.grad(lambda a: jnp.sum(linalg.inv(a)))(a)))


def test_inverse_knows_bad_scaling_from_singularity():
    for scale in ([1.0, 1e-20], [1e200, 1e-100]):
        assert_close(linalg.inv(jnp.diag(jnp.array(scale))) * np.array(scale), np.eye(2), 1e-15)
    assert_close(
        linalg.inv(STACK[0] * jnp.array([1e20, 1.0, 1e-20])) @ STACK[0],
        np.linalg.inv(np.asarray(STACK[0] * jnp.array([1e20, 1.0, 1e-20]))) @ np.asarray(STACK[0]),
        1e-12,
    )


def test_inverse_at_condition_1e8():
    """The error is that of the data: 1e8 rounding errors, and 1e16 in what squares the inverse."""
    a = jnp.asarray(E @ np.diag([1, 1e-4, 1e-8]) @ G)
    c = np.linalg.inv(G) @ np.diag([1, 1e4, 1e8]) @ np.linalg.inv(E)
    assert_close(linalg.inv(a), c, 1e-6)
    assert_close(along(linalg.inv, E)(a), -c @ E @ c, 1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_square_matrix_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} takes .*A: n n.* float64\[2, 3\]"):
        FUNCTIONS[name](jnp.ones((2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["expm", "cosm", "sinhm", "inv", "logm"])
def test_check_rule(name):
    order, transforms = (2, ("jit", "vmap")) if name == "expm" else (1, ())
    f, a = FUNCTIONS[name], MATRICES["regular"]
    dini.testing.check_rule(f, a, order=order, transforms=transforms)
