"""The action of the matrix exponential, beside the exponential."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan

_random = np.random.default_rng(5)
A, E, G = (jnp.asarray(x) for x in _random.normal(size=(3, 4, 4)))
B, D, U = (jnp.asarray(x) for x in _random.normal(size=(3, 4, 2)))


def ours(a, b, t):
    return linalg.expm_multiply(a, b, 0.0, t, 3)


def theirs(a, b, t):
    return jnp.stack([b, linalg.expm(t / 2 * a) @ b, linalg.expm(t * a) @ b])


def test_all_modes_and_orders():
    at, dot, other = (3 * A, B, 1.5), (E, D, 0.3), (G, U, -0.7)
    weights = jnp.stack([U, D, B])

    def program(f):
        phi = lambda *x: jnp.sum(weights * f(*x))
        gradient = jax.grad(phi, (0, 1, 2))
        along = lambda g, v: lambda *x: jax.jvp(g, x, v)[1]
        inner = lambda x, y: sum(jnp.sum(p * q) for p, q in zip(x, y, strict=True))
        slope = lambda *x: inner(gradient(*x), dot)
        return lambda: {
            "value": f(*at),
            "jvp": along(f, dot)(*at),
            "vjp": gradient(*at),
            "fwd fwd": along(along(f, dot), other)(*at),
            "fwd rev": along(gradient, other)(*at),
            "rev fwd": jax.grad(along(phi, dot), (0, 1, 2))(*at),
            "rev rev": jax.grad(slope, (0, 1, 2))(*at),
            "vmap": jax.vmap(jax.grad(phi, 1), (None, 0, 0))(
                at[0], jnp.stack([B, D]), jnp.array([0.5, 2.0])
            ),
        }

    actual, expected = jax.jit(program(ours))(), jax.jit(program(theirs))()
    for name in expected:
        assert_close(actual[name], expected[name], 1e-12)


@pytest.mark.slow
def test_shapes_and_dtypes():
    f = linalg.expm_multiply
    single = f(A.astype(jnp.float32), B.astype(jnp.float32))
    assert single.dtype == jnp.float32
    timed = f(A.astype(jnp.float32), B.astype(jnp.float32), 0.0, 1, 3)
    assert timed.dtype == jnp.float32
    assert_close(timed[-1], single, 1e-5)
    assert_close(single, linalg.expm(A) @ B, 1e-5)
    assert_close(f(A, B[:, 0]), linalg.expm(A) @ B[:, 0], 1e-13)
    assert_close(f(1j * A, B), linalg.expm(1j * A) @ B, 1e-13)
    assert_close(f(jnp.stack([A, E]), B), linalg.expm(jnp.stack([A, E])) @ B, 1e-13)
    assert_close(f(A, B, traceA=7.0), f(A, B), 1e-12)
    times = f(A, B[:, 0], start=0.1, stop=3.2, num=4, endpoint=False)
    expected = [linalg.expm(t * A) @ B[:, 0] for t in np.linspace(0.1, 3.2, 4, endpoint=False)]
    assert_close(times, jnp.stack(expected), 1e-12)
    assert f(A, B, 0.0, 1.0).shape == (50, 4, 2)


def test_large_and_stiff():
    n = 40
    heat = 400.0 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n))
    b = np.ones(n)
    assert_close(linalg.expm_multiply(heat, b), linalg.expm(jnp.asarray(heat)) @ b, 1e-11)


def test_tangents_at_hard_matrices_are_those_of_scipy():
    n = 12
    a, e = _random.normal(size=(2, n, n))
    b, b_dot = _random.normal(size=(2, n, 3))
    stiff = -np.diag(np.linspace(0, 500, n)) + 0.1 * a
    along = jax.jit(lambda a, e: jax.jvp(linalg.expm_multiply, (a, b), (e, b_dot))[1])
    for at, dot in (
        (a, e),
        (10 * a, e),
        (a, 1e12 * e),
        (a, 1e-12 * e),
        (0 * a, e),
        (stiff, e),
        (np.triu(20 * a, 1), e),
    ):
        value, slope = scipy.linalg.expm_frechet(at, dot)
        assert_close(along(at, dot), value @ b_dot + slope @ b, 1e-13)


def test_nan_stays_in_its_lane():
    stack = jnp.stack([A, A.at[0, 1].set(jnp.nan), 1e9 * A, A.at[0, 0].set(jnp.inf)])
    f = linalg.expm_multiply
    b = jnp.broadcast_to(B, (4, *B.shape))
    b_bar = jax.grad(lambda b: jnp.sum(f(stack, b)))(b)
    for result in (f(stack, B), b_bar):
        assert no_nan(result[0])
        assert all_nan(result[1:])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"A: float64\[4, 4\], B: float64\[3, 2\]"):
        linalg.expm_multiply(A, B[:3])
    with pytest.raises(ValueError, match="come together"):
        linalg.expm_multiply(A, B, 0.0)
    with pytest.raises(ValueError, match="n n"):
        linalg.expm_multiply(B, B)


@pytest.mark.slow
def test_check_rule():
    f = linalg.expm_multiply
    dini.testing.check_rule(f, A, B, 0.0, 1.5, 3, order=1, transforms=("vmap",))
