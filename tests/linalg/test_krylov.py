"""The action and the trace of a function of a large matrix, beside functions of dense ones."""

import collections

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import dini
from dini import linalg
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.marks import slow_among

_random = np.random.default_rng(8)
N = 12
_SMALL = {  # of degree 3 at most, so that a few vectors span all there is
    "asymmetric": [[1.3, 0.4, -0.2], [0.1, 0.9, 0.5], [-0.3, 0.2, 1.1]],
    "defective": [[1.2, 1.0, 0.0], [0.0, 1.2, 1.0], [0.0, 0.0, 1.2]],
    "turning": [[0.5, 1.0, 0.0], [-1.0, 0.5, 0.0], [0.0, 0.0, -0.7]],
    "low rank": np.eye(3) + np.outer([0.3, -0.2, 0.5], [1.0, 0.4, -0.6]),
    "singular": [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
}
_TURN, _ = np.linalg.qr(_random.normal(size=(N, N)))
_LARGE = [_TURN @ np.kron(np.eye(4), m) @ _TURN.T for m in _SMALL.values()]
LANES = jnp.asarray(np.stack([*_LARGE, np.eye(N), np.full((N, N), np.nan)]))
E, G = (jnp.asarray(x) for x in _random.normal(size=(2, N, N)))
B, D, U, W = (jnp.asarray(x) for x in _random.normal(size=(4, N, 3)))
B = B.at[:, 1].set(jnp.eye(N)[0]).at[:, 2].set(0)
A = LANES[0] + 0.02 * E

_compiled = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kwargs: _compiled.update([event])
)


def resolvent(h):
    """No polynomial, and defined for all the matrices above."""
    return jnp.linalg.inv(4 * jnp.eye(h.shape[-1], dtype=h.dtype) - h)


def dense(a, b):
    return resolvent(a) @ b


def at_depth(depth, f=resolvent):
    return lambda a, b: linalg.funm_multiply(a, b, f, depth=depth)


def inner(x, y):
    return sum(jnp.sum(p * q).real for p, q in zip(x, y, strict=True))


def looks(f):
    """Ways to differentiate f(A, B)."""
    phi = lambda a, b: jnp.sum(U * f(a, b)).real
    gradient = jax.grad(phi, (0, 1))
    cast = lambda v: lambda *x: tuple(t.astype(y.dtype) for t, y in zip(v, x, strict=True))
    along = lambda g, v: lambda *x: jax.jvp(g, x, cast(v)(*x))[1]
    return {
        "value": f,
        "jvp": along(f, (E, D)),
        "vjp": gradient,
        "fwd fwd": along(along(f, (E, D)), (G, W)),
        "fwd rev": along(gradient, (G, W)),
        "rev fwd": jax.grad(along(phi, (E, D)), (0, 1)),
        "rev rev": jax.grad(lambda *x: inner(gradient(*x), (E, D)), (0, 1)),
    }


_SLOW = "value", "jvp", "fwd fwd", "fwd rev", "rev fwd", "rev rev"


@pytest.mark.parametrize("name", slow_among(looks(dense), *_SLOW))
def test_modes_and_orders_in_every_lane(name):
    mapped = lambda f: jax.jit(jax.vmap(looks(f)[name], (0, None)))(LANES, B)
    actual, expected = (jax.tree.leaves(mapped(f)) for f in (at_depth(8), dense))
    for one, other in zip(actual, expected, strict=True):
        for lane in range(len(LANES) - 1):
            assert_close(one[lane], other[lane], 1e-12)
        assert all_nan(one[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jvp", "vjp", "fwd rev", "rev rev"])
def test_complex_where_the_space_is_whole(name):
    at = (1 + 0.5j) * A, (1 - 0.3j) * B
    assert_close(*(jax.jit(looks(f)[name])(*at) for f in (at_depth(99), dense)), 1e-12)


@pytest.mark.slow
def test_logarithm_from_a_part_of_the_space():
    n, f = 120, linalg.logm
    noise = _random.normal(size=(2, n, n)) / np.sqrt(n)
    a, e, b = jnp.asarray(4 * np.eye(n) + noise[0]), jnp.asarray(noise[1]), jnp.ones(n)
    u = jnp.sin(jnp.arange(n))
    for look in (
        lambda g: jax.jvp(lambda a: g(a, b), (a,), (e,)),
        lambda g: jax.grad(lambda a: u @ g(a, b))(a),
    ):
        assert_close(look(at_depth(40, f)), look(lambda a, b: f(a) @ b), 1e-11)


def diffusion(n, kappa, b):
    """e^A b in closed form for A = κ times the second difference, and its derivative in κ."""
    k = np.arange(1, n + 1)
    waves = np.sqrt(2 / (n + 1)) * np.sin(np.pi * np.outer(k, k) / (n + 1))
    rates = -4 * np.sin(np.pi * k / (2 * (n + 1))) ** 2
    parts = np.exp(kappa * rates) * (waves @ b)
    return waves @ parts, waves @ (rates * parts)


def diffused(kappa, b, shift=0.0):
    def second_difference(x):
        padded = jnp.pad(x, 1)
        return kappa * ((1 + shift) * padded[2:] + (1 - shift) * padded[:-2] - 2 * x)

    struct = jax.ShapeDtypeStruct(b.shape, b.dtype)
    operator = lx.FunctionLinearOperator(second_difference, struct)
    return linalg.funm_multiply(operator, b, linalg.expm, depth=40)


def test_operator_of_many_numbers():
    b = np.exp(-(((np.arange(2000) - 700) / 20) ** 2))
    assert_close(jax.jit(diffused)(3.0, jnp.asarray(b)), diffusion(2000, 3.0, b)[0], 1e-11)


@pytest.mark.slow
def test_operator_with_parameters():
    n = 300
    b = np.exp(-(((np.arange(n) - 100) / 9) ** 2))
    expected, moved = diffusion(n, 3.0, b)
    b = jnp.asarray(b)
    assert_close(jax.jvp(lambda k: diffused(k, b), (3.0,), (1.0,)), (expected, moved), 1e-11)
    u = jnp.exp(-jnp.arange(n) / 100.0)

    def by_matrix(kappa, b, shift):
        one = lambda k: jnp.eye(n, k=k)
        return linalg.expm(kappa * ((1 + shift) * one(1) + (1 - shift) * one(-1) - 2 * one(0))) @ b

    gradient = lambda f: jax.jit(jax.grad(lambda k, shift: u @ f(k, b, shift), (0, 1)))(3.0, 0.2)
    assert_close(gradient(diffused), gradient(by_matrix), 1e-10)


def of_symmetric(h):
    return resolvent((h + h.T) / 2)


def test_nan_instead_of_a_wrong_number():
    value = lambda b, depth, f: linalg.funm_multiply(A, b, f, depth=depth)
    (shallow, of_zero), not_symmetric = jax.jit(
        lambda: (
            jax.vmap(lambda b: value(b, 5, resolvent))(B.T[::2]),
            value(B[:, 0], 12, of_symmetric),
        )
    )()
    assert all_nan(shallow)
    assert_close(of_zero, jnp.zeros(N))
    assert all_nan(not_symmetric)


@pytest.mark.slow
def test_nan_of_derivatives_and_outside_the_domain():
    shallow, b = at_depth(5), B[:, 0]
    assert all_nan(jax.grad(lambda a: jnp.sum(shallow(a, b)))(A))
    assert all_nan(jax.jvp(lambda a: shallow(a, b), (A,), (E,))[1])
    assert all_nan(jax.grad(lambda b: jnp.sum(shallow(A, b)))(b))
    of_zero = lambda a: jnp.sum(shallow(a, B)[:, 2])
    assert_close(jax.grad(of_zero)(A), jnp.zeros_like(A))
    assert all_nan(linalg.funm_multiply(A, b, lambda h: linalg.spectral_function(h, "exp")))
    symmetric = (A + A.T) / 2
    assert_close(at_depth(12, of_symmetric)(symmetric, b), dense(symmetric, b), 1e-12)
    negative = A - 2 * jnp.outer(_TURN[:, 0], _TURN[:, 0])
    assert float(jnp.min(jnp.linalg.eigvals(negative).real)) < 0
    assert all_nan(linalg.funm_multiply(negative, b, linalg.logm))
    assert no_nan(linalg.funm_multiply(A, b, linalg.logm))


@pytest.mark.slow
def test_shapes_and_dtypes():
    f = at_depth(8)
    single = f(LANES[0].astype(jnp.float32), B[:, :1].astype(jnp.float32))
    assert single.dtype == jnp.float32
    assert_close(single, dense(LANES[0], B[:, :1]), 1e-5)
    assert_close(
        f(LANES[0], B[:, 0] + 1j * B[:, 1]), dense(LANES[0], B[:, 0] + 1j * B[:, 1]), 1e-13
    )


@pytest.mark.slow
def test_batches_of_matrices_and_of_columns():
    f = at_depth(8)
    batch = LANES[:4].reshape(2, 2, N, N)
    assert_close(f(batch, B), jnp.linalg.inv(4 * jnp.eye(N) - batch) @ B, 1e-12)
    operator = lx.MatrixLinearOperator(LANES[0] + 0j)
    assert_close(f(operator, B), dense(LANES[0] + 0j, B), 1e-12)
    tagged = lx.MatrixLinearOperator((A + A.T) / 2, lx.symmetric_tag)
    along = lambda f: lambda m: jax.jvp(jax.grad(f), (m,), (E,))[1]
    ours = along(lambda m: jnp.sum(U * at_depth(99)(eqx.tree_at(lambda o: o.matrix, tagged, m), B)))
    theirs = along(lambda m: jnp.sum(U * dense(m, B)))
    assert_close(ours(tagged.matrix), theirs(tagged.matrix), 1e-12)


@pytest.mark.slow
def test_what_f_captures_is_differentiated():
    def of(multiply, pole, a):
        return jnp.sum(
            jnp.sin(multiply(a, B[:, 0], lambda h: resolvent(h - pole * jnp.eye(len(h)))))
        )

    at, dot = (jnp.asarray(0.3), A), (jnp.asarray(1.0), E)

    def look(multiply):
        gradient = jax.grad(lambda *x: of(multiply, *x), (0, 1))
        return jax.jvp(gradient, at, dot)

    assert_close(look(linalg.funm_multiply), look(lambda a, b, f: f(a) @ b), 1e-11)


@pytest.mark.slow
def test_second_call_compiles_nothing():
    f = at_depth(8)
    gradient = jax.grad(lambda a, b: jnp.sum(U * f(a, b)), (0, 1))

    def all_of(a):
        return f(a, B), jax.jvp(f, (a, B), (E, D)), gradient(a, B)

    other = jax.block_until_ready(LANES[0])
    jax.block_until_ready(all_of(A))
    event = "/jax/core/compile/backend_compile_duration"
    before = _compiled[event]
    jax.block_until_ready(all_of(other))
    assert _compiled[event] == before


@pytest.mark.slow
def test_trace_and_its_derivative():
    key, samples = jax.random.key(3), 6
    z = jax.random.rademacher(key, (N, samples), float)
    a = LANES[0]

    def by_hand(a):
        terms = jnp.sum(z * dense(a, z), axis=0)
        return jnp.mean(terms), jnp.std(terms, ddof=1) / jnp.sqrt(samples)

    ours = lambda a: linalg.funm_trace(a, resolvent, key, samples=samples, depth=8)
    both = lambda f: jax.jit(lambda a: (f(a), jax.grad(lambda a: f(a)[0] + 2 * f(a)[1])(a)))(a)
    assert_close(both(ours), both(by_hand), 1e-11)


@pytest.mark.slow
def test_log_determinant():
    n, key = 200, jax.random.key(0)
    noise = _random.normal(size=(2, n, n)) / np.sqrt(n)
    a, e = jnp.asarray(3 * np.eye(n) + noise[0]), jnp.asarray(noise[1])
    logdet = lambda a: linalg.funm_trace(a, linalg.logm, key, samples=24, depth=48)
    estimate, error = logdet(a)
    expected = float(jnp.linalg.slogdet(a)[1])
    assert abs(estimate - expected) < 4 * error < 0.1 * abs(expected)
    gradient = jax.grad(lambda a: logdet(a)[0])(a)
    step = 1e-4
    ends = [logdet(a + s * step * e)[0] for s in (1, -1)]
    assert_close(jnp.sum(gradient * e), (ends[0] - ends[1]) / (2 * step), 1e-6)
    inverse = np.linalg.inv(a)
    spread = np.linalg.norm(inverse @ e @ inverse) * np.sqrt(2 / 24)
    assert abs(jnp.sum(gradient * e) - np.trace(inverse @ e)) < 4 * spread * 3


def test_what_does_not_fit_is_refused():
    f = linalg.funm_multiply
    with pytest.raises(ValueError, match="n n"):
        f(B, B, resolvent)
    with pytest.raises(ValueError, match=r"A is \[12, 12\] and B is \[3, 3\]"):
        f(A, B[:3], resolvent)
    with pytest.raises(ValueError, match="must be positive"):
        f(A, B, resolvent, depth=0)
    with pytest.raises(ValueError, match="must be positive"):
        f(A, B, resolvent, rtol=0.0)
    with pytest.raises(TypeError, match="must give a matrix of the shape"):
        f(A, B, lambda h: h[0])
    with pytest.raises(TypeError, match="gave complex128"):
        f(A, B, lambda h: h * 1j)
    with pytest.raises(TypeError, match="takes a square operator"):
        f(lx.MatrixLinearOperator(B), B, resolvent)
    with pytest.raises(ValueError, match="samples must be positive"):
        linalg.funm_trace(A, resolvent, jax.random.key(0), samples=0)


@pytest.mark.slow
def test_beside_matfree():
    decomp = pytest.importorskip("matfree.decomp")
    funm = pytest.importorskip("matfree.funm")
    theirs = funm.funm_arnoldi(resolvent, decomp.hessenberg(12, reortho="full"))
    value = lambda a: theirs(lambda x, a: a @ x, B[:, 0], a)
    ours = lambda a: at_depth(12)(a, B[:, 0])
    look = lambda f: (f(A), jax.grad(lambda a: U[:, 0] @ f(a))(A))
    assert_close(look(ours), look(value), 1e-11)


@pytest.mark.slow
def test_check_rule():
    cubic = lambda h: h @ h @ (h - jnp.eye(len(h)))
    f = lambda a, b: linalg.funm_multiply(a, b, cubic, depth=3)
    dini.testing.check_rule(f, A[:3, :3], B[:3, 0], order=2, transforms=("vmap",))
