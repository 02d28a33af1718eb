"""Anderson acceleration, under Optimistix and under the decorators."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.maps import affine, displacement, linear

OPTIMISTIX_WARNS = pytest.mark.filterwarnings("ignore:Complex support in Optimistix")
TIGHT = functools.partial(dini.Anderson, rtol=1e-11, atol=1e-11)


def solve(fun, z, args=None, solver=None, **options):
    return optx.fixed_point(fun, solver or TIGHT(), z, args, **options)


# --- Convergence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_anderson_of_any_depth_finds_the_fixed_point(depth):
    a, b, z = linear(0.8)
    solution = solve(affine, jnp.zeros(6), (a, b), TIGHT(depth=depth))
    np.testing.assert_allclose(solution.value, z, rtol=1e-9)


@pytest.mark.parametrize("damping", [0.3, 0.7, jnp.asarray(0.5)])
def test_anderson_with_damping_finds_the_fixed_point(damping):
    a, b, z = linear(0.8)
    solution = solve(affine, jnp.zeros(6), (a, b), TIGHT(damping=damping))
    np.testing.assert_allclose(solution.value, z, rtol=1e-9)


def test_anderson_returns_the_point_that_it_has_evaluated():
    """The displacement at the z returned is within the tolerance, and not one step further on."""
    a, b, _ = linear(0.9)
    for rtol, atol in [(1e-4, 0.0), (0.0, 1e-6), (1e-10, 1e-10)]:
        z = solve(affine, jnp.zeros(6), (a, b), dini.Anderson(rtol, atol)).value
        gap = np.abs(np.asarray(affine(z, (a, b)) - z))
        assert np.all(gap <= atol + rtol * np.abs(z)), (rtol, atol)


def test_anderson_at_the_fixed_point_stays_there():
    a, b, z = linear(0.5)
    solution = solve(affine, jnp.asarray(z), (a, b))
    np.testing.assert_array_equal(solution.value, z)
    assert solution.stats["num_steps"] == 1


def test_anderson_is_much_faster_than_picard_on_a_slow_map():
    a, b, z = linear(0.99, n=8, seed=1)
    steps = {}
    for solver in (TIGHT(), dini.Picard(1e-11, 1e-11)):
        solution = solve(affine, jnp.zeros(8), (a, b), solver, max_steps=5000)
        np.testing.assert_allclose(solution.value, z, rtol=1e-8)
        steps[type(solver).__name__] = int(solution.stats["num_steps"])
    assert steps["Anderson"] * 10 < steps["Picard"], steps


def test_anderson_deeper_than_a_linear_map_ends_in_about_as_many_steps_as_unknowns():
    a, b, z = linear(0.9, n=5)
    solution = solve(affine, jnp.zeros(5), (a, b), TIGHT(depth=5))
    np.testing.assert_allclose(solution.value, z, rtol=1e-9)
    assert solution.stats["num_steps"] <= 10


def test_anderson_whose_depth_grows_needs_fewer_steps_on_a_slow_symmetric_map():
    """Eigenvalues evenly spread up to 0.999: a deep memory helps near the solution, not before."""
    random = np.random.default_rng(0)
    q, eigenvalues = np.linalg.qr(random.normal(size=(60, 60)))[0], np.linspace(0, 0.999, 60)
    a, b = jnp.asarray(q * eigenvalues @ q.T), jnp.asarray(random.normal(size=60))
    steps = {}
    for growth in (None, 3.0):
        solver = dini.Anderson(1e-9, 1e-9, depth=20, growth=growth)
        solution = solve(affine, jnp.zeros(60), (a, b), solver, max_steps=2000)
        np.testing.assert_allclose(solution.value, np.linalg.solve(np.eye(60) - a, b), rtol=1e-4)
        steps[growth] = int(solution.stats["num_steps"])
    assert 1.25 * steps[3.0] < steps[None], steps


@pytest.mark.parametrize(
    ("fun", "start", "expected"),
    [
        (lambda z, _: -5 * z + 6, 0.0, 1.0),
        (lambda z, _: 2 * z + 1, 0.3, -1.0),
        (lambda z, _: 1 / z, 0.7, 1.0),
        (lambda z, _: -5 * z + 6, 1e6, 1.0),
        (lambda z, _: jnp.cos(z), 0.7, 0.7390851332151607),
    ],
    ids=["oscillating", "expanding", "reciprocal", "far away", "cosine"],
)
def test_anderson_solves_scalar_maps_that_need_not_contract(fun, start, expected):
    value = solve(fun, jnp.asarray(start)).value
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_anderson_solves_linear_maps_that_expand(radius):
    a, b, z = linear(radius, n=4, seed=2)
    value = solve(affine, jnp.zeros(4), (a, b)).value
    np.testing.assert_allclose(value, z, rtol=1e-8)


def test_anderson_solves_a_rotation_that_never_contracts():
    a, b = 1.5 * jnp.array([[0.0, -1.0], [1.0, 0.0]]), jnp.array([1.0, 2.0])
    value = solve(affine, jnp.zeros(2), (a, b)).value
    np.testing.assert_allclose(value, np.linalg.solve(np.eye(2) - a, b), rtol=1e-9)


def steep(z, _):
    """Fixed points near 1; away from them T overflows, and the iteration with it."""
    return 1 + 0.5 * (z - 1) + jnp.expm1(6 * (z - 1) ** 2)


def test_anderson_comes_back_from_where_the_map_overflows():
    assert not np.isfinite(steep(steep(jnp.asarray(0.0), None), None))
    assert displacement(steep, solve(steep, jnp.asarray(0.0)).value) <= 1e-9


def test_anderson_comes_back_from_where_the_map_is_not_defined():
    """T is NaN at negative z, and the first step leads there."""

    def fun(z, _):
        return jnp.where(z < 0, jnp.nan, 2 - 3 * jnp.sqrt(jnp.abs(z)))

    start = jnp.asarray(4.0)
    assert np.isnan(fun(fun(start, None), None))
    value = solve(fun, start).value
    assert displacement(fun, value) <= 1e-9


def test_anderson_restarts_where_its_past_misleads():
    """A kink between two slopes: differences across it fit neither side."""

    def fun(z, _):
        return jnp.where(z > 0, -8 * z + 9, 0.9 * z + 5)

    value = solve(fun, jnp.asarray(-20.0)).value
    np.testing.assert_allclose(value, 1.0, rtol=1e-9)


# --- Failure -------------------------------------------------------------------------------------


def test_anderson_on_a_map_without_a_fixed_point_fails():
    solution = solve(lambda z, _: z + 1, jnp.asarray(0.0), throw=False, max_steps=100)
    assert solution.result != optx.RESULTS.successful
    with pytest.raises(RuntimeError):
        dini.implicit_fixed_point(lambda z: z + 1)(0.0)


def test_anderson_that_runs_out_of_steps_says_so():
    a, b, _ = linear(0.99, n=8)
    solution = solve(affine, jnp.zeros(8), (a, b), max_steps=3, throw=False)
    assert solution.result == optx.RESULTS.nonlinear_max_steps_reached
    with pytest.raises(RuntimeError):
        solve(affine, jnp.zeros(8), (a, b), max_steps=3)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 0},
        {"depth": -1},
        {"damping": 0.0},
        {"damping": 1.5},
        {"damping": -0.1},
        {"growth": -1.0},
    ],
)
def test_anderson_refuses_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TIGHT(**options)


# --- Dtypes and trees ----------------------------------------------------------------------------


@OPTIMISTIX_WARNS
def test_anderson_of_a_complex_map():
    c = 0.3 + 0.2j

    def fun(z, _):
        return 0.5 * jnp.cos(z) + c * z

    z = solve(fun, jnp.array([0.1 + 0.3j, -0.2j])).value
    assert z.dtype == jnp.complex128
    assert displacement(fun, z) <= 1e-10


def test_anderson_of_a_complex_map_that_is_not_holomorphic():
    """z = k z̄ + c with |k| < 1."""
    c, k = 0.3 + 0.2j, 0.4 - 0.5j
    solution = dini.implicit_fixed_point(lambda z, c: k * jnp.conj(z) + c)
    expected = (c + k * np.conj(c)) / (1 - np.abs(k) ** 2)
    np.testing.assert_allclose(solution(0.0, c), expected, rtol=1e-10)


def test_anderson_keeps_float32_while_x64_is_on():
    a, b, z = linear(0.8)
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    direct = solve(affine, jnp.zeros(6, jnp.float32), (a, b), dini.Anderson(1e-5, 1e-5)).value
    decorated = dini.implicit_fixed_point(lambda z, a, b: a @ z + b)(
        jnp.zeros(6, jnp.float32), a, b
    )
    for value in (direct, decorated):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, z, rtol=1e-4)


def test_anderson_in_single_precision_without_x64():
    a, b, z = linear(0.8)
    with jax.enable_x64(False):
        a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
        value = dini.implicit_fixed_point(lambda z, a, b: a @ z + b)(jnp.zeros(6), a, b)
        jacobian = jax.jacrev(dini.implicit_fixed_point(lambda z, a, b: a @ z + b), 2)(
            jnp.zeros(6), a, b
        )
    assert value.dtype == jacobian.dtype == jnp.float32
    np.testing.assert_allclose(value, z, rtol=1e-4)
    np.testing.assert_allclose(jacobian, np.linalg.inv(np.eye(6) - a), rtol=1e-3, atol=1e-3)


def mixed(z, _):
    """A contraction of a tree of float32, float64 and complex64."""
    total = 0.2 * (z["a"].sum() + z["b"].astype(jnp.float32) + z["c"].real)
    return {
        "a": 0.2 * jnp.cos(z["a"] + total),
        "b": 0.3 * jnp.sin(z["b"]) + 0.1 * z["a"][0].astype(jnp.float64) + 1,
        "c": (0.3 + 0.1j) * z["c"] + total.astype(jnp.complex64),
    }


def _mixed_start():
    return {
        "a": jnp.zeros(2, jnp.float32),
        "b": jnp.zeros((), jnp.float64),
        "c": jnp.zeros((), jnp.complex64),
    }


def test_anderson_of_a_tree_with_mixed_dtypes_under_the_decorator():
    z = dini.implicit_fixed_point(lambda z: mixed(z, None))(_mixed_start())
    assert jax.tree.map(lambda x: x.dtype, z) == jax.tree.map(lambda x: x.dtype, _mixed_start())
    assert_close(mixed(z, None), z, 1e-5)


@OPTIMISTIX_WARNS
def test_anderson_of_a_tree_with_mixed_dtypes_under_optimistix():
    z = solve(mixed, _mixed_start(), solver=dini.Anderson(1e-4, 1e-4)).value
    assert jax.tree.map(lambda x: x.dtype, z) == jax.tree.map(lambda x: x.dtype, _mixed_start())
    assert_close(mixed(z, None), z, 1e-3)


# --- Transformations -----------------------------------------------------------------------------


def test_anderson_lanes_of_different_difficulty_do_not_disturb_each_other():
    radii = (0.1, 0.9, 3.0)
    problems = [linear(r, n=4, seed=5) for r in radii]
    a, b = (jnp.stack([p[i] for p in problems]) for i in (0, 1))

    def lane(a, b):
        s = solve(affine, jnp.zeros(4), (a, b))
        return s.value, s.stats["num_steps"]

    together, steps = eqx.filter_jit(jax.vmap(lane))(a, b)
    for i, (_, _, z) in enumerate(problems):
        alone, count = lane(a[i], b[i])
        np.testing.assert_allclose(together[i], z, rtol=1e-8)
        np.testing.assert_allclose(together[i], alone, rtol=1e-9)
        assert steps[i] == count
    assert len(set(steps.tolist())) > 1


def test_anderson_under_optimistix_is_differentiated_implicitly():
    a, b, _ = linear(0.8, n=4)
    run = jax.jit(jax.jacrev(lambda args: solve(affine, jnp.zeros(4), args).value))
    expected = jax.jacrev(lambda args: jnp.linalg.solve(jnp.eye(4) - args[0], args[1]))((a, b))
    assert_close(run((a, b)), expected, 1e-9)


@pytest.mark.slow
def test_anderson_is_differentiated_by_unrolling():
    """Also where memory is empty: a length of zero has no derivative of its own."""
    a, b, _ = linear(0.5, n=3)
    adjoint = optx.RecursiveCheckpointAdjoint()

    def run(args):
        return solve(affine, jnp.zeros(3), args, adjoint=adjoint, max_steps=32).value

    expected = jax.jacrev(lambda args: jnp.linalg.solve(jnp.eye(3) - args[0], args[1]))((a, b))
    assert_close(jax.jit(jax.jacrev(run))((a, b)), expected, 1e-6)


def test_anderson_takes_adjoints_of_the_library_under_optimistix():
    a, b, _ = linear(0.3, n=3)
    expected = jax.jacrev(lambda args: jnp.linalg.solve(jnp.eye(3) - args[0], args[1]))((a, b))
    for adjoint, rtol in [(dini.Implicit(), 1e-9), (dini.Neumann(terms=40), 1e-9)]:
        run = jax.jit(
            jax.jacrev(lambda args, a=adjoint: solve(affine, jnp.zeros(3), args, adjoint=a).value)
        )
        assert_close(run((a, b)), expected, rtol)
