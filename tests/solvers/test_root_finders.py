"""Broyden's method, Newton–Krylov and Powell's hybrid, under Optimistix and the decorators."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
import scipy.optimize

import dini
from tests.support import large
from tests.support.compare import assert_close
from tests.support.maps import affine, linear
from tests.support.marks import case, slow

KINDS = [dini.Broyden, dini.NewtonKrylov, dini.PowellHybrid]
MATRIX_FREE = KINDS[:2]
OPTIMISTIX_WARNS = pytest.mark.filterwarnings("ignore:Complex support in Optimistix")
each = pytest.mark.parametrize("kind", KINDS)


def one_quick(quick, kinds=KINDS):
    """The quick tests take one kind where what is tested is what they share."""
    return pytest.mark.parametrize("kind", [case(kind, quick=kind is quick) for kind in kinds])


def find(kind, fun, z, args=None, tolerance=1e-9, max_steps=1000, **options):
    solver = kind(tolerance, tolerance, **options)
    return optx.root_find(fun, solver, z, args, max_steps=max_steps, throw=False)


def succeeded(solution):
    return bool(solution.result == optx.RESULTS.successful)


def cost(solution):
    return int(solution.stats["evaluations"]) + int(solution.stats["products"])


@functools.cache
def reference(name, *args):
    """The root by SciPy's hybr, from the same start, and what that took without its Jacobian."""
    fun, start = SYSTEMS[name][:2]
    host = jax.jit(lambda z: fun(z, *args))
    jacobian = jax.jit(jax.jacfwd(lambda z: fun(z, *args)))
    root = scipy.optimize.root(
        lambda z: np.asarray(host(z)), start, jac=lambda z: np.asarray(jacobian(z)), tol=1e-13
    )
    assert np.max(np.abs(root.fun)) < 1e-11
    return root.x


# (F, start, what each may cost)
SYSTEMS = {
    "tridiagonal": (large.broyden_tridiagonal, jnp.full(50, -1.0), 35, 55, 65),
    "H-equation": (lambda z: large.chandrasekhar(z, 0.9), jnp.ones(40), 16, 20, 50),
    "H-equation, almost singular": (
        lambda z: large.chandrasekhar(z, 0.999999), jnp.ones(40), 40, 60, 62,
    ),
    "Bratu": (large.bratu, jnp.zeros(100), 200, 110, 110),
    "diffusion": (large.diffusion, jnp.zeros(64), 400, 150, 100),
}  # fmt: skip


@one_quick(dini.NewtonKrylov)
@pytest.mark.parametrize(
    "name", [case(name, quick=name == "H-equation, almost singular") for name in SYSTEMS]
)
def test_root_is_that_of_scipy_at_a_price_that_is_counted(kind, name):
    fun, start, *bounds = SYSTEMS[name]
    solution = find(kind, lambda z, _: fun(z), start)
    assert succeeded(solution)
    # Near the singular point there are two roots close to each other: either will do.
    z = solution.value
    correction = np.linalg.solve(jax.jacfwd(fun)(z), fun(z))
    np.testing.assert_allclose(correction, 0, atol=3e-8)
    if "singular" not in name:
        np.testing.assert_allclose(z, reference(name), rtol=3e-8, atol=3e-8)
    assert cost(solution) <= bounds[KINDS.index(kind)], solution.stats


@pytest.mark.parametrize("kind", [case(kind, quick=False) for kind in MATRIX_FREE])
def test_root_of_a_large_system(kind):
    """Five thousand unknowns; and Bratu on 64 × 64, preconditioned by the Laplacian."""
    z = find(kind, large.broyden_tridiagonal, jnp.full(5000, -1.0))
    assert succeeded(z)
    assert cost(z) < 60
    small = reference("tridiagonal")
    np.testing.assert_allclose(z.value[:20], small[:20], rtol=1e-7)
    solution = find(
        kind, lambda z, _: large.bratu(z), jnp.zeros(64**2), preconditioner=large.inverse_laplacian
    )
    assert succeeded(solution)
    assert cost(solution) < 50
    assert np.max(np.abs(large.inverse_laplacian(large.bratu(solution.value)))) < 1e-8


@pytest.mark.slow
def test_newton_krylov_of_a_large_system_without_a_preconditioner():
    solution = find(dini.NewtonKrylov, lambda z, _: large.bratu(z), jnp.zeros(32**2))
    assert succeeded(solution)
    assert np.max(np.abs(large.inverse_laplacian(large.bratu(solution.value)))) < 1e-8


# --- Honesty -------------------------------------------------------------------------------------


@each
def test_solution_and_cost_do_not_depend_on_the_units_of_the_residual(kind):
    run = jax.jit(
        lambda unit: find(kind, lambda z, u: u * large.chandrasekhar(z, 0.9), jnp.ones(10), unit)
    )
    one = run(1.0)
    for unit in (1e12, 1e-12, 1e-200):
        other = run(unit)
        assert succeeded(other)
        np.testing.assert_allclose(other.value, one.value, rtol=1e-8)
        assert abs(cost(other) - cost(one)) <= 1


# Pairs of equations, with a start and the root, or None where there is none to be found.
PAIRS = {
    "Rosenbrock": (large.rosenbrock, (-1.2, 1.0), (1.0, 1.0)),
    "NaN on the way": (jnp.log, (3.0, 2.0), (1.0, 1.0)),
    "scales": (lambda z: jnp.array([1e6, 1e-6]) * (z**3 - 8), (3.0, 2.5), (2.0, 2.0)),
    # The first correction of the second unknown is 1e-8 of what it should be.
    "not seen": (lambda z: jnp.array([1.0, 1e-8]) * (z - 1), (3.0, 2.0), (1.0, 1.0)),
    "rotation": (lambda z: jnp.array([z[1] - 2, 1 - z[0]]), (0.0, 0.0), (1.0, 2.0)),
    "no root": (lambda z: z**2 + 1, (2.0, 1.0), None),
    "local minimum": (
        lambda z: jnp.array([z[0] ** 2 + z[1] ** 2 + 0.5, z[0] - z[1]]), (1.0, 0.3), None,
    ),
    "pole": (lambda z: 1 / z, (0.5, -0.2), None),
    "decay": (lambda z: jnp.exp(-z), (1.0, 2.0), None),
    "underflow": (lambda z: 1e-300 * jnp.exp(-z), (1.0, 2.0), None),
    "constant": (lambda z: 0 * z + 3, (0.0, 0.0), None),
    "NaN": (lambda z: z * jnp.nan, (1.0, 1.0), None),
    "NaN at the start": (lambda z: jnp.log(z - 2), (1.0, 1.0), None),
    "inconsistent": (lambda z: z.sum() + jnp.array([0.0, 1.0]), (1.0, 2.0), None),
    "Powell, badly scaled": (
        large.powell_badly_scaled, (0.0, 1.0), (1.0981593296998e-5, 9.1061467398667),
    ),
}  # fmt: skip


@functools.cache
def solve_pair(kind):
    """Solves the equations of any number in `PAIRS`, by one program."""
    equations = [lambda z, fun=fun: jnp.asarray(fun(z), z.dtype) for fun, *_ in PAIRS.values()]
    fun = lambda z, which: jax.lax.switch(which, equations, z)
    return jax.jit(lambda which, z: find(kind, fun, z, which, max_steps=400))


@each
@pytest.mark.parametrize("name", list(PAIRS))
def test_search_finds_the_root_or_says_that_it_did_not(kind, name):
    _, start, root = PAIRS[name]
    solution = solve_pair(kind)(list(PAIRS).index(name), jnp.array(start))
    if root is None:
        assert not succeeded(solution)
    else:
        assert succeeded(solution)
        np.testing.assert_allclose(solution.value, root, rtol=1e-6, atol=1e-8)
    if name == "NaN at the start":
        assert solution.result == optx.RESULTS.nonfinite
        assert solution.stats["evaluations"] == 1


@one_quick(dini.NewtonKrylov)
def test_search_that_runs_out_of_steps_returns_the_best_point_and_says_so(kind):
    solution = find(kind, lambda z, _: large.bratu(z), jnp.zeros(100), max_steps=3)
    assert solution.result == optx.RESULTS.nonlinear_max_steps_reached
    assert np.all(np.isfinite(solution.value))


@each
def test_start_at_the_root_stays_there(kind):
    a, b, z = linear(0.8)
    run = jax.jit(lambda start, b: find(kind, lambda z, args: affine(z, args) - z, start, (a, b)))
    for start, shift in ((z, b), (jnp.zeros(6), jnp.zeros(6))):
        solution = run(jnp.asarray(start), shift)
        assert succeeded(solution)
        np.testing.assert_allclose(solution.value, start, atol=1e-12)
        assert solution.stats["evaluations"] <= 4


@each
def test_wrong_shapes_and_options_are_refused(kind):
    with pytest.raises(TypeError, match="2 equations for 3 unknowns"):
        find(kind, lambda z, _: z[:2], jnp.ones(3))
    if kind in MATRIX_FREE:
        with pytest.raises(ValueError, match="depth"):
            kind(1e-8, 1e-8, depth=0)


# --- Trees, dtypes, transformations --------------------------------------------------------------


@each
def test_fixed_point_of_a_map_by_a_root_finder(kind):
    """Nonsymmetric, with eigenvalues far outside of the unit circle."""
    a, b, z = linear(5.0)
    solution = optx.fixed_point(affine, kind(1e-10, 1e-10), jnp.zeros(6), (a, b))
    np.testing.assert_allclose(solution.value, z, rtol=1e-7)


@one_quick(dini.NewtonKrylov)
def test_tree_of_mixed_dtypes(kind):
    def fun(z, _):
        a, b = z["a"], z["b"]
        return a**3 + b[0].astype(jnp.float32) - 2, {"c": jnp.sin(b) + b - a.sum()}

    start = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(3)}
    solution = find(kind, fun, start, tolerance=1e-5)
    assert succeeded(solution)
    assert jax.tree.map(lambda x: x.dtype, solution.value) == jax.tree.map(lambda x: x.dtype, start)
    assert all(np.max(np.abs(x)) < 1e-4 for x in jax.tree.leaves(fun(solution.value, None)))


@one_quick(dini.Broyden)
@OPTIMISTIX_WARNS
def test_complex_unknown_of_a_residual_that_is_not_holomorphic(kind):
    """z + k z̄ = c, whose root is (c − k c̄) / (1 − |k|²)."""
    c, k = jnp.array([1.0 + 2.0j, -0.5j]), 0.4 - 0.5j
    solution = find(kind, lambda z, _: z + k * jnp.conj(z) - c, jnp.zeros(2, complex))
    expected = (c - k * jnp.conj(c)) / (1 - abs(k) ** 2)
    np.testing.assert_allclose(solution.value, expected, rtol=1e-7)


@one_quick(dini.Broyden)
def test_lanes_of_different_difficulty_do_not_disturb_each_other(kind):
    """One needs few steps, one more, and one has no root."""

    def lane(c):
        s = find(kind, lambda z, c: z**2 + z - c, jnp.asarray(2.0), c, max_steps=60)
        return s.value, s.result == optx.RESULTS.successful, s.stats["evaluations"]

    cs = jnp.array([6.5, 400.0, -3.0])
    z, good, count = eqx.filter_jit(jax.vmap(lane))(cs)
    assert good.tolist() == [True, True, False]
    np.testing.assert_allclose(z[:2], (-1 + np.sqrt(1 + 4 * cs[:2])) / 2, rtol=1e-8)
    for i in range(2):
        assert lane(cs[i])[2] == count[i]


@one_quick(dini.NewtonKrylov)
def test_derivatives_under_the_decorator(kind):
    """Both modes and second order, of the root of z³ + z = θ (coupled), against its own formula."""
    mix = jnp.array([[1.0, 0.3], [-0.2, 1.0]])

    @dini.implicit_root(solver=kind(1e-10, 1e-10))
    def root(z, theta):
        return mix @ (z**3 + z - theta)

    def cubic(theta):
        w = jnp.sqrt(theta**2 / 4 + 1 / 27)
        return jnp.cbrt(theta / 2 + w) + jnp.cbrt(theta / 2 - w)

    theta = jnp.array([3.0, -1.5])
    first = lambda f: jax.jit(lambda t: (f(t), jax.jacrev(f)(t), jax.jacfwd(jax.jacrev(f))(t)))
    assert_close(first(lambda t: root(jnp.ones(2), t))(theta), first(cubic)(theta), 1e-8)


@one_quick(dini.NewtonKrylov, MATRIX_FREE)
@pytest.mark.parametrize("form", ["function", slow("operator")])
def test_preconditioner_saves_evaluations(kind, form):
    p = large.inverse_laplacian
    if form == "operator":
        p = lx.MatrixLinearOperator(jax.jacfwd(p)(jnp.zeros(100)))
    plain, helped = (
        find(kind, lambda z, _: large.bratu(z), jnp.zeros(100), **options)
        for options in ({}, {"preconditioner": p})
    )
    np.testing.assert_allclose(helped.value, plain.value, rtol=1e-7)
    assert 2 * cost(helped) < cost(plain)
