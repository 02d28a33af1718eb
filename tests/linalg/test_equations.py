"""Matrix equations and roots: values and derivatives against 40 digits, in every mode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini import linalg
from dini.testing import check_rule
from tests.support import matrix_equations as mp
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.marks import slow_among

_random = np.random.default_rng(5)
N, M = 3, 2


def random(*shape):
    return _random.normal(size=shape)


class Problem(NamedTuple):
    """A function of matrices, the equation it solves, and matrices."""

    f: object
    residual: object
    theta: tuple


def jordan(value, n=N):
    return value * np.eye(n) + np.diag(np.ones(n - 1), 1)


def turned(a):
    q, _ = np.linalg.qr(random(*a.shape))
    return q @ a @ q.T


REGULAR = turned(np.array([[2.0, 1.0, 0.3], [0.0, 0.7, -1.0], [0.0, 0.5, 0.9]]))
MIXED = turned(np.array([[2.0, 1.0, 0.3], [0.0, -0.7, 1.0], [0.0, 0.0, 0.4]]))  # on both sides
WEIGHTS = (turned(np.diag([1.0, 2.0, 0.5])), turned(np.diag([1.0, 0.3])))
SOLVENT = turned(np.array([[0.8, 1.0, 0.0], [0.0, 0.3, 0.2], [0.0, -0.5, 0.1]]))
OUTER, LEADING = 0.9 * SOLVENT.T, random(N, N) + 3 * np.eye(N)  # (A X + B)⁻¹ A, A X + B
QUADRATIC = (LEADING @ OUTER, LEADING @ (np.eye(N) - OUTER @ SOLVENT), -LEADING @ SOLVENT)

PROBLEMS = {
    "sqrtm": Problem(linalg.sqrtm, mp.square, (REGULAR,)),
    "inv_sqrtm": Problem(linalg.inv_sqrtm, mp.inverse_square, (REGULAR,)),
    "signm": Problem(linalg.signm, mp.involution, (MIXED,)),
    "sylvester": Problem(
        linalg.solve_sylvester, mp.sylvester, (MIXED, turned(np.diag([1.0, -1.5])), random(N, M))
    ),
    "generalized": Problem(
        linalg.solve_generalized_sylvester,
        mp.generalized,
        (random(N, N), random(M, M), random(N, N), random(M, M), random(N, M)),
    ),
    "lyapunov": Problem(linalg.solve_continuous_lyapunov, mp.lyapunov, (-REGULAR, random(N, N))),
    "stein": Problem(linalg.solve_discrete_lyapunov, mp.stein, (SOLVENT, random(N, N))),
    "care": Problem(
        linalg.solve_continuous_are, mp.continuous_riccati, (MIXED, random(N, M), *WEIGHTS)
    ),
    "dare": Problem(
        linalg.solve_discrete_are, mp.discrete_riccati, (MIXED, random(N, M), *WEIGHTS)
    ),
    "quadratic": Problem(linalg.solve_quadratic, mp.quadratic, QUADRATIC),
}
SLOW = sorted(set(PROBLEMS) - {"sylvester"})


def inner(a, b):
    return sum(jnp.sum(x * y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", slow_among(PROBLEMS, *SLOW))
def test_derivatives_agree_with_forty_digits(name):
    f, residual, theta = PROBLEMS[name]
    theta = tuple(map(jnp.asarray, theta))
    along, across = (tuple(jnp.asarray(random(*a.shape)) for a in theta) for _ in range(2))
    weights = jnp.asarray(random(*jax.eval_shape(f, *theta).shape))
    arguments = tuple(range(len(theta)))

    @jax.jit
    def program(*theta):
        forward = lambda *theta: jax.jvp(f, theta, along)[1]
        reverse = jax.grad(lambda *theta: jnp.sum(weights * f(*theta)), arguments)
        mixed = jax.grad(lambda *theta: jnp.sum(weights * forward(*theta)), arguments)
        x, tangent = jax.jvp(f, theta, along)
        gradient, turn = jax.jvp(reverse, theta, across)
        return x, tangent, inner(gradient, along), inner(turn, along), inner(mixed(*theta), across)

    x, tangent, *paired = program(*theta)
    value, first, second = mp.derivatives(residual, x, theta, along, across)
    assert_close(x, value, 1e-12)
    assert_close(tangent, first, 1e-10)
    expected = [np.sum(weights * d) for d in (first, second, second)]
    for got, right in zip(paired, expected, strict=True):
        assert abs(got - right) <= 1e-9 * (np.abs(second).max() + np.abs(first).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_rule_passes_its_check(name):
    f, _, theta = PROBLEMS[name]
    check_rule(f, *theta, order=1, transforms=())


# One program for all of them: doubling, Schur forms, and equations without a solution.
def test_sylvester_of_every_kind():
    common = np.array([[1.0, 2.0], [0.0, -0.5]])
    cases = {
        "one half-plane": (REGULAR, REGULAR[:2, :2] + np.eye(2)),
        "two clusters": (MIXED, 9 * np.eye(2) + common),
        "mixed": (MIXED, common),
        "defective": (jordan(2.0), jordan(-1.5, 2)),
        "gap 1e-3": (turned(np.diag([1, 1.001, -1])), common + 0.1 * np.eye(2)),
        "gap 1e-9": (turned(np.diag([1, 1 + 1e-9, -1])), common + 0.1 * np.eye(2)),
        "badly scaled": (np.diag([1e-4, 1.0, 1e4]) @ REGULAR, common + np.eye(2)),
        "one zero": (turned(np.diag([0.0, 1.0, 2.0])), common + np.eye(2)),
        "singular": (turned(np.diag([0.5, 2.0, 3.0])), common),
        "singular, defective": (jordan(0.5), jordan(-0.5, 2)),
        "not finite": (np.full((3, 3), np.nan), common),
    }
    a, b = (np.stack(x) for x in zip(*cases.values(), strict=True))
    q = random(N, M)
    for name, *one, x in zip(cases, a, b, linalg.solve_sylvester(a, b, q), strict=True):
        if name.startswith(("singular", "not")):
            assert all_nan(x), name
        else:
            assert_close(x, scipy.linalg.solve_sylvester(*one, q), 1e-9)


def test_lyapunov_equations_of_every_kind():
    q = random(N, N)
    on_circle = turned(np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 2.0]]))
    a = np.stack([-REGULAR, REGULAR, MIXED, jordan(-2.0), 0.3 * jordan(1.0), 0.01 * on_circle])
    x = linalg.solve_continuous_lyapunov(a, q)
    for one, got in zip(a, x, strict=True):
        assert_close(got, scipy.linalg.solve_continuous_lyapunov(one, q), 1e-9)
    assert all_nan(linalg.solve_continuous_lyapunov(np.stack([on_circle - 0.6 * np.eye(N)] * 6), q))
    x = linalg.solve_discrete_lyapunov(np.concatenate([a[:5], on_circle[None]]), q)
    for one, got in zip(a[:5], x, strict=False):
        assert_close(got, scipy.linalg.solve_discrete_lyapunov(one, q), 1e-9)
    assert all_nan(x[5])


@pytest.mark.slow
def test_generalized_sylvester_with_singular_matrices():
    a, b, c, d, e = (random(*s) for s in ((N, N), (M, M), (N, N), (M, M), (N, M)))
    flat = lambda x: x - np.outer(x[:, 0], np.eye(len(x))[0])  # first column zero
    kinds = [(a, b, c, d), (flat(a), b, c, d), (a, flat(b), c, d), (a, b, flat(c), d)]
    kinds += [(flat(a), flat(b), c, d), (flat(a), b, c, flat(d)), (a, flat(b), flat(c), d)]
    stacks = [np.stack(x) for x in zip(*kinds, strict=True)]
    x = linalg.solve_generalized_sylvester(*stacks, e)
    for (a, b, c, d), got in zip(kinds[:5], x, strict=False):
        assert_close(a @ got @ b + c @ got @ d, e, 1e-9)
    assert all_nan(x[5:])  # the pencils share the eigenvalues 0, and ∞


def test_roots_of_every_kind():
    ill = turned(np.diag([1e-8, 1e-3, 1.0]))
    near = [turned(np.diag([1.0, 1.0 + gap, 2.0])) for gap in (1e-3, 1e-6, 1e-9, 0.0)]
    regular = [REGULAR, jordan(2.0), (ill + ill.T) / 2, np.diag([1e-6, 1.0, 1e6]) @ jordan(1.0)]
    semidefinite = turned(np.diag([0.0, 0.0, 3.0]))
    outside = [MIXED, -np.eye(N), jordan(0.0), np.full((N, N), np.nan)]
    stack = [*regular, *near, (semidefinite + semidefinite.T) / 2, *outside]
    s = linalg.sqrtm(np.stack(stack))
    for a, got in zip(stack[:9], s, strict=False):
        assert_close(got @ got, a, 1e-13)
        assert np.all(np.linalg.eigvals(got).real > -1e-7)
    assert all_nan(s[9:])
    assert_close(s[2], turned_root(ill), 1e-9)


def turned_root(a):
    values, vectors = np.linalg.eigh((a + a.T) / 2)
    return vectors * np.sqrt(values) @ vectors.T


def test_semidefinite_roots_and_signs_of_singular_matrices():
    """Rounding makes the eigenvalue 0 a tiny one of either sign."""
    rng = np.random.default_rng(6)
    covariances = np.stack([np.cov(rng.normal(size=(4, 4))) for _ in range(40)])
    s = linalg.sqrtm(covariances)
    assert_close(s @ s, covariances, 1e-13)
    assert_close(s, s.swapaxes(1, 2), 1e-12)
    p = rng.normal(size=(40, 4, 4))
    singular = p @ np.diag([0.0, 1.0, 2.0, -3.0]) @ np.linalg.inv(p)
    assert all_nan(linalg.signm(singular))
    regular = p @ np.diag([1e-3, 1.0, 2.0, -3.0]) @ np.linalg.inv(p)
    for scale in (1e-150, 1.0, 1e150):
        value, dot = jax.jvp(linalg.signm, (scale * regular,), (scale * p,))
        assert_close(value, p @ np.diag([1.0, 1.0, 1.0, -1.0]) @ np.linalg.inv(p), 1e-7)
        assert no_nan(dot)


@pytest.mark.slow
def test_complex_roots_on_the_branch_cut():
    a = np.stack([MIXED + 0j, -np.eye(N) + 0j, np.diag([0, 1.0, 4.0]) + 0j, jordan(0.0) + 0j])
    s = linalg.sqrtm(a)
    expected = scipy.linalg.sqrtm(a[0]), 1j * np.eye(N), np.diag([0, 1.0, 2.0])
    assert_close(s[:3], np.stack(expected), 1e-10)
    assert all_nan(s[3])


@pytest.mark.slow
def test_single_precision_stays_single():
    for name in ("sqrtm", "sylvester"):
        f, _, theta = PROBLEMS[name]
        x = f(*(jnp.asarray(a, jnp.float32) for a in theta))
        assert x.dtype == jnp.float32
        assert_close(x, f(*theta), 1e-4)


@pytest.mark.slow
def test_riccati_without_a_stabilising_solution():
    a = np.stack([MIXED, np.diag([1.0, -1.0, 0.5]), np.diag([2.0, -1.0, 0.5])])
    b, (q, r) = random(N, M), WEIGHTS
    b = np.stack([b, np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), 0 * b])
    right = [scipy.linalg.solve_continuous_are, scipy.linalg.solve_discrete_are]
    for f, g in zip((linalg.solve_continuous_are, linalg.solve_discrete_are), right, strict=True):
        x = f(a, b, q, r)
        assert_close(x[0], g(a[0], b[0], q, r), 1e-10)
        assert all_nan(x[2])
    assert all_nan(x[1])  # −1 on the unit circle, out of reach


@pytest.mark.slow
def test_riccati_with_modes_that_grow_and_cost_nothing():
    """Doubling from X = 0 stays there, which solves the equation and stabilises nothing."""
    one, none = np.eye(1), np.zeros((1, 1))
    assert_close(linalg.solve_continuous_are(one, one, none, one), 2 * one, 1e-14)
    assert_close(linalg.solve_discrete_are(2 * one, one, none, one), 3 * one, 1e-14)
    rng = np.random.default_rng(7)
    a, b, v = rng.normal(size=(20, 4, 4)), rng.normal(size=(20, 4, 2)), rng.normal(size=(20, 4))
    q = v[:, :, None] * v[:, None, :] * (np.arange(20) % 2)[:, None, None]
    r = np.eye(2)
    right = [scipy.linalg.solve_continuous_are, scipy.linalg.solve_discrete_are]
    for f, g in zip((linalg.solve_continuous_are, linalg.solve_discrete_are), right, strict=True):
        expected = np.stack([g(*x, r) for x in zip(a, b, q, strict=True)])
        assert_close(f(a, b, q, r), expected, 1e-9)


@pytest.mark.slow
def test_discrete_riccati_with_a_singular_weight():
    """A case of SciPy's own."""
    a, b = np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[1.0, 0.0], [2.0, 1.0]])
    q, r = np.array([[-4.0, -4.0], [-4.0, 7.0]]) / 11, np.array([[9.0, 3.0], [3.0, 1.0]])
    right = scipy.linalg.solve_discrete_are(a, b, q, r)
    assert_close(linalg.solve_discrete_are(a, b, q, r), right, 1e-12)


@pytest.mark.slow
def test_quadratic_has_a_minimal_solvent_where_a_circle_parts_the_eigenvalues():
    a, b, c = QUADRATIC
    shared = np.eye(N)  # X² = I has no minimal solvent
    wide = (a / 4, b / 2, c)  # 2X
    singular = (np.eye(N), np.zeros((N, N)), np.zeros((N, N)))
    stacks = [
        np.stack(x) for x in zip((a, b, c), wide, (shared, 0 * b, -shared), singular, strict=True)
    ]
    x = linalg.solve_quadratic(*stacks)
    assert_close(x[0], SOLVENT, 1e-11)
    assert_close(x[1], 2 * SOLVENT, 1e-11)
    assert all_nan(x[2:])
    radii = linalg.quadratic_radii(a, b, x[0])
    assert_close(radii[0], np.abs(np.linalg.eigvals(SOLVENT)).max(), 1e-10)
    assert_close(radii[1], np.abs(np.linalg.eigvals(OUTER)).max(), 1e-10)
    assert all_nan(linalg.quadratic_radii(a, b, x[2]))


@pytest.mark.slow
def test_quadratic_whose_eigenvalues_meet_has_no_minimal_solvent():
    """(λ − μ)² = 0, which rounding parts by √ε, and the same beside another pair."""
    one = np.ones((1, 1))
    for mu in (1.0, 2.0, -1.0, 0.5):
        assert all_nan(linalg.solve_quadratic(one, -2 * mu * one, mu**2 * one))
    p, q = np.random.default_rng(8).normal(size=(2, 20, 2, 2))
    b, c = p @ np.diag([-1.5, -3.0]) @ q, p @ np.diag([0.5, 2.0]) @ q  # {½, 1} and {1, 2}
    assert all_nan(linalg.solve_quadratic(p @ q, b, c))
    apart = p @ np.diag([-2.5, -4.0]) @ q, p @ np.diag([1.0, 3.0]) @ q  # {½, 2} and {1, 3}
    x = linalg.solve_quadratic(p @ q, *apart)
    assert_close(q @ x @ np.linalg.inv(q), np.stack([np.diag([0.5, 1.0])] * 20), 1e-10)


@pytest.mark.slow
def test_one_bad_lane_leaves_the_others_alone():
    stack = jnp.asarray(np.stack([REGULAR, MIXED, REGULAR]))
    e = jnp.asarray(random(N, N))
    gradient = jax.grad(lambda a: jnp.sum(e * linalg.sqrtm(a)))
    batched = jax.jit(jax.vmap(gradient))(stack)
    assert_close(batched[0], gradient(stack[0]), 1e-13)
    assert all_nan(batched[1])
    assert no_nan(batched[2])
    leading = jax.grad(lambda a: jnp.sum(e * linalg.sqrtm(a)))(stack)
    assert_close(leading[0], batched[0], 1e-13)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"solve_sylvester.*B: float64\[2, 3\]"):
        linalg.solve_sylvester(REGULAR, random(2, 3), random(N, M))
    with pytest.raises(ValueError, match=r"sqrtm.*A: float64\[3\]"):
        linalg.sqrtm(random(3))
    with pytest.raises(TypeError, match="must hold numbers"):
        linalg.sqrtm(np.eye(2, dtype=bool))
