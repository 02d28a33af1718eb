"""Iterates that run away, or that stop before they have arrived: never taken for a solution."""

import jax
import jax.numpy as jnp
import optimistix as optx
import pytest

import dini
from tests.support.marks import slow
from tests.support.outcome import (
    assert_nan,
    assert_right,
    assert_right_or_nan,
    compiled,
    eager,
    lane,
    mapped,
)

LOOSE = dini.Picard(rtol=1e-2, atol=1e-2)


def line(z, slope, a):
    return slope * z + a


def point_of_line(slope):
    return lambda a: a / (1 - slope)


# A loose step test is passed at z = 1 / rtol where z grows by 1 a step; the numbers absorb the
# step altogether at 1e20.
@pytest.mark.parametrize(("solver", "guess"), [(LOOSE, 0.0), (LOOSE, 1e20), slow(None, 1e20)])
def test_translation_has_no_fixed_point(solver, guess):
    f = dini.implicit_fixed_point(line, solver=solver, max_steps=5000, throw=False)
    slopes = jnp.array([1.0, 0.5, 1.001])

    def at(slope):
        return lambda a: f(guess, slope, a)

    assert_nan(eager(at(1.0), 1.0))
    out = jax.jit(jax.vmap(lambda s: compiled(at(s), 1.0)))(slopes)
    assert_nan(lane(out, 0))
    # A step smaller than rtol |z| leaves an error of as much, times 1 / (1 − slope).
    rtol = 0.3 if solver is LOOSE else 1e-9
    assert_right_or_nan(lane(out, 1), compiled(point_of_line(0.5), 1.0), rtol)
    assert_right_or_nan(lane(out, 2), compiled(point_of_line(1.001), 1.0), rtol)


def test_slow_growth_passes_a_loose_step_test_and_is_refused():
    """z ← 1.001 z + 1 from 0 grows by less than 1 % a step once z > 110."""
    f = dini.implicit_fixed_point(line, solver=LOOSE, max_steps=20_000, throw=False)
    g = dini.implicit_fixed_point(line, max_steps=20_000, throw=False)
    for h in (f, g):
        solution = h.solve(0.0, 1.001, 1.0)
        right = abs(solution.value + 1000.0) < 1e-6 * 1000.0
        refused = jnp.isnan(solution.value) & (solution.result != optx.RESULTS.successful)
        assert right | refused, solution


LOOSER = [
    None,
    dini.Anderson(1e-6, 1e-6),
    dini.Picard(1e-2, 1e-2),
    optx.FixedPointIteration(1e-2, 1e-2),
]


@pytest.mark.parametrize("solver", LOOSER)
def test_displacement_that_vanishes_at_infinity_has_no_fixed_point(solver):
    """z ← z + a exp(−z): each step is smaller than the last, and none is the last."""
    f = dini.implicit_fixed_point(lambda z, a: z + a * jnp.exp(-z), solver=solver, throw=False)
    assert_nan(compiled(lambda a: f(0.0, a), 1.0))


def test_foreign_fixed_point_that_ran_away_is_refused():
    f = dini.custom_fixed_point(lambda z, a: z + a * jnp.exp(-z), throw=False)(
        lambda z, a: jax.lax.stop_gradient(17.0 + 0 * a)
    )
    assert_nan(compiled(lambda a: f(0.0, a), 1.0))


@pytest.mark.parametrize("rho", [slow(0.5), slow(0.99), 0.9999, -0.9])
def test_slow_contraction_is_accepted(rho):
    f = dini.implicit_fixed_point(lambda z, a: rho * z + a, max_steps=10_000)
    assert_right(compiled(lambda a: f(0.0, a), 1.0), compiled(point_of_line(rho), 1.0), 1e-7)


def decay(z, kind, k):
    """Residuals without a zero, that vanish as z grows."""
    return k * jnp.stack([jnp.exp(-z), 1 / z, z**-0.5, z**-0.1])[kind]


@pytest.mark.parametrize("solver", [slow(None), optx.Newton(rtol=1e-2, atol=1e-2)])
def test_residual_that_vanishes_at_infinity_has_no_root(solver):
    f = dini.implicit_root(decay, solver=solver, throw=False)

    @jax.jit
    @jax.vmap
    def program(guess, kind):
        def g(k):
            return f(guess, kind, k)

        return {"value": g(1.0), "reverse": jax.grad(g)(1.0), "forward": jax.jacfwd(g)(1.0)}

    guesses, kinds = jnp.meshgrid(jnp.array([1.5, 1e3, 1e6, 1e10]), jnp.arange(4))
    assert_nan(program(guesses.ravel(), kinds.ravel()))
    for kind in jnp.arange(4):
        assert_nan(eager(lambda k, kind=kind: f(1.5, kind, k), 1.0))


def test_foreign_solver_that_ran_away_is_refused():
    f = dini.custom_root(decay, throw=False)(runaway)
    points, kinds = jnp.meshgrid(jnp.array([50.0, 1e3, 1e6, 1e10]), jnp.arange(4))
    each = jax.vmap(lambda z, kind: jax.value_and_grad(f, 2)(z, kind, 1.0))
    value, slope = each(points.ravel(), kinds.ravel())
    assert_nan({"value": value, "reverse": slope})


def runaway(z, kind, k):
    """Stops where it started, and says that all is well."""
    del kind, k
    return z


def test_objective_without_minimum_is_refused():
    def objective(z, kind, a):
        return jnp.stack([a * jnp.exp(-z), a * z, -a * z**2, 0 * z, (z - a) ** 2])[kind]

    f = dini.implicit_minimum(objective, throw=False)
    out = jax.jit(jax.vmap(lambda kind: jax.value_and_grad(lambda a: f(1.0, kind, a))(2.0)))(
        jnp.arange(5)
    )
    assert_nan({"value": out[0][:4], "reverse": out[1][:4]})
    assert_right({"value": out[0][4], "reverse": out[1][4]}, {"value": 2.0, "reverse": 1.0})


def test_too_few_steps_is_a_failure_lane_by_lane():
    """From 1 the root of z² = 1 is found at once; that of z² = 1e6 takes a dozen steps."""
    f = dini.implicit_root(
        lambda z, a: z**2 - a, solver=optx.Newton(1e-8, 1e-8), max_steps=4, throw=False
    )
    xs = jnp.array([1.0, 1e6, 1.2])
    out = mapped(lambda a: f(1.0, a), xs)
    assert_nan(lane(out, 1))
    for i in (0, 2):
        assert_right(lane(out, i), compiled(jnp.sqrt, xs[i]))
    assert_nan(eager(lambda a: f(1.0, a), 1e6))
    code = f.solve(1.0, 1e6).result
    assert code == optx.RESULTS.nonlinear_max_steps_reached
