"""Picard iteration, under Optimistix and under the decorators."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.maps import affine, displacement, linear


def solve(fun, z, args=None, *, damping=1.0, tolerance=1e-11, **options):
    solver = dini.Picard(tolerance, tolerance, damping)
    return optx.fixed_point(fun, solver, z, args, **options)


@pytest.mark.parametrize("damping", [1.0, 0.6])
def test_picard_finds_the_fixed_point_of_a_contraction(damping):
    a, b, z = linear(0.8)
    solution = solve(affine, jnp.zeros(6), (a, b), damping=damping, max_steps=1000)
    np.testing.assert_allclose(solution.value, z, rtol=1e-9)


def test_picard_undamped_repeats_the_map():
    a, b, _ = linear(0.8)
    solution = solve(affine, jnp.zeros(6), (a, b), max_steps=7, throw=False)
    z = jnp.zeros(6)
    for _ in range(7):
        z = affine(z, (a, b))
    np.testing.assert_allclose(solution.value, z, rtol=1e-14)
    assert solution.result == optx.RESULTS.nonlinear_max_steps_reached


def test_picard_returns_the_point_that_it_has_evaluated():
    a, b, _ = linear(0.9)
    z = solve(affine, jnp.zeros(6), (a, b), tolerance=1e-5, max_steps=1000).value
    gap = np.abs(np.asarray(affine(z, (a, b)) - z))
    assert np.all(gap <= 1e-5 * (1 + np.abs(z)))


def test_picard_at_the_fixed_point_stays_there():
    solution = solve(lambda z, _: 0.5 * z + 1, jnp.asarray(2.0))
    assert solution.value == 2.0
    assert solution.stats["num_steps"] == 1


def test_picard_damped_solves_a_map_that_oscillates():
    value = solve(lambda z, _: -5 * z + 6, jnp.asarray(0.0), damping=0.2).value
    np.testing.assert_allclose(value, 1.0, rtol=1e-9)


def test_picard_undamped_fails_loudly_on_a_map_that_expands():
    solution = solve(lambda z, _: -5 * z + 6, jnp.asarray(0.0), throw=False)
    assert solution.result != optx.RESULTS.successful
    decorated = dini.implicit_fixed_point(
        lambda z: -5 * z + 6, solver=dini.Picard(1e-8, 1e-8), max_steps=2000
    )
    with pytest.raises(RuntimeError):
        decorated(0.0)
    assert np.isnan(decorated.with_options(throw=False)(0.0))


def test_picard_whose_steps_look_small_beside_a_growing_z_has_failed():
    """T(z) = z + 1 passes a relative test of the step in the end, and has no fixed point."""
    decorated = dini.implicit_fixed_point(
        lambda z: z + 1, solver=dini.Picard(1e-3, 1e-3), max_steps=5000
    )
    with pytest.raises(RuntimeError):
        decorated(0.0)


@pytest.mark.parametrize("damping", [0.0, 1.2, -0.5])
def test_picard_refuses_a_wrong_damping(damping):
    with pytest.raises(ValueError, match="damping"):
        dini.Picard(1e-8, 1e-8, damping)


def test_picard_keeps_float32_while_x64_is_on():
    a, b, z = linear(0.5)
    a, b, start = a.astype(jnp.float32), b.astype(jnp.float32), jnp.zeros(6, jnp.float32)
    decorated = dini.implicit_fixed_point(lambda z, a, b: a @ z + b, solver=dini.Picard(1e-5, 1e-5))
    for value in (solve(affine, start, (a, b), tolerance=1e-5).value, decorated(start, a, b)):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, z, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Complex support in Optimistix")
def test_picard_of_a_complex_map():
    def fun(z, _):
        return (0.3 + 0.4j) * jnp.conj(z) + 0.2 * z**2 + 0.1j

    assert displacement(fun, solve(fun, jnp.array([0.0j, 0.1 + 0.1j])).value) <= 1e-10


def test_picard_of_a_tree():
    def fun(z, k):
        return {"x": 0.5 * jnp.cos(z["y"]) * k, "y": (0.3 * z["x"][::-1],)[0] + 0.1}

    z = solve(fun, {"x": jnp.zeros(2), "y": jnp.zeros(2)}, 0.8).value
    assert_close(fun(z, 0.8), z, 1e-10)


def test_picard_lanes_of_different_difficulty_do_not_disturb_each_other():
    def lane(k):
        s = solve(lambda z, k: k * z + 1, jnp.asarray(0.0), k, max_steps=3000)
        return s.value, s.stats["num_steps"]

    k = jnp.array([0.0, 0.5, -0.9, 0.98])
    values, steps = jax.jit(jax.vmap(lane))(k)
    np.testing.assert_allclose(values, 1 / (1 - k), rtol=1e-8)
    assert steps[0] < steps[1] < steps[2] < steps[3]


def test_picard_is_differentiated_under_the_decorator():
    a, b, _ = linear(0.7, n=4)
    solution = dini.implicit_fixed_point(
        lambda z, a, b: a @ z + b, solver=dini.Picard(1e-12, 1e-12), max_steps=1000
    )
    expected = jax.jacrev(lambda a, b: jnp.linalg.solve(jnp.eye(4) - a, b), (0, 1))(a, b)
    assert_close(jax.jacrev(solution, (1, 2))(jnp.zeros(4), a, b), expected, 1e-9)


def test_picard_is_differentiated_by_unrolling():
    a, b, _ = linear(0.4, n=3)

    def run(args):
        adjoint = optx.RecursiveCheckpointAdjoint()
        return solve(affine, jnp.zeros(3), args, adjoint=adjoint, max_steps=64).value

    expected = jax.jacrev(lambda args: jnp.linalg.solve(jnp.eye(3) - args[0], args[1]))((a, b))
    assert_close(jax.jit(jax.jacrev(run))((a, b)), expected, 1e-8)
