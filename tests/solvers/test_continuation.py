"""Continuation, under Optimistix and under the decorator."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow
from tests.support.outcome import assert_nan, assert_right, lane, mapped

NEWTON = optx.Newton(1e-10, 1e-10)


def solve(fun, z, args=None, start=None, solver=NEWTON, **options):
    given = {} if start is None else {"start": start}
    options = {"throw": False} | options
    return optx.root_find(fun, dini.Continuation(solver), z, args, given, **options)


def plain(solver, fun, z, args=None):
    return optx.root_find(fun, solver, z, args, throw=False, max_steps=500)


def succeeded(solution):
    return bool(solution.result == optx.RESULTS.successful)


# --- Problems that no guess reaches --------------------------------------------------------------


def waves(z, theta):
    """Zero at z = θ only; far from there |F|² has a minimum in every wave, at u cos u = −1.

    With u = z − θ, each entry is regular at u = 0 and its slope changes sign ever again beyond.
    """
    u = z - theta
    return u + 0.9 * jnp.sin(3 * u) + 0.1 * jnp.roll(u, 1)


def capital(z, params):
    """The steady state of a growth model: (capital, consumption) in levels, z > 0 or NaN."""
    k, c = z
    alpha, beta, delta = params["alpha"], params["beta"], params["delta"]
    euler = beta * (alpha * k ** (alpha - 1) + 1 - delta) - 1
    return euler, k**alpha - delta * k - c


def capital_solution(params):
    alpha, beta, delta = params["alpha"], params["beta"], params["delta"]
    k = ((1 / beta - 1 + delta) / alpha) ** (1 / (alpha - 1))
    return k, k**alpha - delta * k


def calibration(alpha, beta, delta):
    return {k: jnp.asarray(v) for k, v in (("alpha", alpha), ("beta", beta), ("delta", delta))}


SOLVED, WANTED = calibration(0.4, 0.99, 0.02), calibration(0.3, 0.7, 0.5)


def test_continuation_along_a_calibration_where_newton_leaves_the_domain():
    z0 = capital_solution(SOLVED)
    assert not succeeded(plain(NEWTON, capital, z0, WANTED))
    solution = solve(capital, z0, WANTED, SOLVED)
    assert succeeded(solution)
    assert solution.stats["lambda"] == 1
    assert_close(solution.value, capital_solution(WANTED), 1e-9)


@pytest.mark.parametrize("kind", [optx.Newton, slow(optx.Dogleg)])
def test_continuation_reaches_what_its_solver_does_not(kind):
    z0, far, solver = jnp.zeros(3), jnp.array([11.0, -7.0, 9.0]), kind(1e-10, 1e-10)
    assert not succeeded(plain(solver, waves, z0, far))
    solution = solve(waves, z0, far, jnp.zeros(3), solver)
    assert succeeded(solution)
    np.testing.assert_allclose(solution.value, far, rtol=1e-9)


def test_continuation_from_any_guess_by_newtons_homotopy():
    """From 20, Newton's method for atan z = 0 runs away; the path to 0 has no fold."""
    fun = lambda z, shift: jnp.arctan(z - shift)
    z0, shift = jnp.array([20.0, -30.0]), jnp.array([1.0, 2.0])
    assert not succeeded(plain(NEWTON, fun, z0, shift))
    solution = solve(fun, z0, shift)
    assert succeeded(solution)
    np.testing.assert_allclose(solution.value, shift, rtol=1e-9)


@pytest.mark.slow
def test_continuation_from_a_start_that_is_not_quite_solved():
    """What is left of F at the start is taken back along the path."""
    z0 = jax.tree.map(lambda z: 1.1 * z, capital_solution(SOLVED))
    solution = solve(capital, z0, WANTED, SOLVED)
    assert succeeded(solution)
    assert_close(solution.value, capital_solution(WANTED), 1e-9)


@pytest.mark.slow
def test_continuation_of_a_homotopy_of_ones_own():
    """λ is an argument: here the fixed-point homotopy, (1 − λ)(z − z₀) + λ F(z)."""
    z0 = jnp.asarray(20.0)

    def fun(z, args):
        shift, at = args
        return (1 - at) * (z - z0) + at * jnp.arctan(z - shift)

    solution = solve(fun, z0, (jnp.asarray(1.0), jnp.asarray(1.0)), (1.0, 0.0))
    assert succeeded(solution)
    np.testing.assert_allclose(solution.value, 1.0, rtol=1e-9)


def test_continuation_takes_long_steps_where_the_path_is_easy():
    """A linear equation is solved by each correction, λ = 1/4, 3/4 and 1."""
    solution = solve(lambda z, a: 3 * z - a, jnp.zeros(2), jnp.array([3.0, 6.0]))
    np.testing.assert_allclose(solution.value, [1, 2], rtol=1e-12)
    assert solution.stats["num_steps"] == 3


def test_continuation_counts_what_its_solver_spends():
    calls = []

    def fun(z, a):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.arctan(z - a)

    stats = solve(fun, jnp.asarray(5.0), jnp.asarray(1.0)).stats
    jax.effects_barrier()
    assert stats["evaluations"] == len(calls)
    assert stats["products"] == stats["evaluations"] - 1


# --- Failure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [0.2, slow(0.5), slow(0.97)])
def test_continuation_stops_at_a_fold_and_tells_where(fold):
    """z² = f − λ: the roots ±√(f − λ) meet at λ = f and are gone beyond."""
    solution = solve(
        lambda z, a: z**2 + a - fold, jnp.sqrt(jnp.asarray(fold)), jnp.asarray(1.0), 0.0
    )
    assert solution.result == optx.RESULTS.nonlinear_divergence
    np.testing.assert_allclose(solution.stats["lambda"], fold, atol=1e-2)
    # What it returns is the last point of the path.
    at = solution.stats["lambda"]
    np.testing.assert_allclose(solution.value**2, fold - at, atol=1e-9)


@pytest.mark.parametrize(
    "fun",
    [
        lambda z, _: z**2 + 1,
        slow(lambda z, _: jnp.exp(-z)),
        slow(lambda z, _: jnp.where(z > 2, z + 1, jnp.nan)),
    ],
)
def test_continuation_never_succeeds_without_a_root(fun):
    solution = solve(fun, jnp.asarray(3.0))
    assert solution.result == optx.RESULTS.nonlinear_divergence
    assert 0 <= solution.stats["lambda"] < 1


def test_continuation_from_where_the_equation_is_not_defined():
    solution = solve(lambda z, _: jnp.log(z), jnp.asarray(-1.0))
    assert solution.result == optx.RESULTS.nonfinite
    assert solution.stats["lambda"] == 0


@pytest.mark.parametrize(
    "options", [{"initial_step": 0.0}, {"initial_step": 2.0}, {"min_step": 0.0},
                {"max_corrections": 0}]
)  # fmt: skip
def test_continuation_refuses_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        dini.Continuation(NEWTON, **options)


@pytest.mark.parametrize("start", [jnp.zeros(2), (0.0,), None])
def test_continuation_refuses_a_start_unlike_the_arguments(start):
    solver, options = dini.Continuation(NEWTON), {"start": start}
    with pytest.raises(ValueError, match=r"start.*like the arguments"):
        optx.root_find(lambda z, a: z - a, solver, jnp.zeros(3), jnp.ones(3), options)


# --- Under the decorator -------------------------------------------------------------------------

STEADY = dini.implicit_root(capital, solver=dini.Continuation(NEWTON), throw=False)


def test_continuation_lanes_are_exact_or_nan_in_every_derivative():
    """Lanes that need different numbers of steps; one parameter is beyond reach: no k > 0."""

    def consumption(delta):
        at = STEADY.with_options(options={"start": (SOLVED,)})
        return at(capital_solution(SOLVED), {**WANTED, "delta": delta})[1]

    def expected(delta):
        return capital_solution({**WANTED, "delta": delta})[1]

    deltas = jnp.array([0.03, -0.6, 0.8])
    outcomes = mapped(consumption, deltas)
    for i in (0, 2):
        x = deltas[i]
        slope = jax.grad(expected)
        right = {"value": expected(x), "reverse": slope(x), "forward": slope(x)}
        assert_right(lane(outcomes, i), right | {"second": jax.grad(slope)(x)})
    assert_nan(lane(outcomes, 1))


def test_continuation_reports_under_the_decorator():
    at_fold = dini.implicit_root(
        lambda z, a, name: z**2 + a if name == "parabola" else z,
        solver=dini.Continuation(NEWTON),
        options={"start": (-1.0, "parabola")},
    )
    lenient = at_fold.with_options(throw=False)
    assert "callback" not in jax.jit(lambda a: lenient(1.0, a, "parabola")).lower(1.0).as_text()
    solution = lenient.solve(1.0, 1.0, "parabola")
    assert solution.result == optx.RESULTS.nonlinear_divergence
    np.testing.assert_allclose(solution.stats["lambda"], 0.5, atol=1e-2)
    assert np.isnan(solution.value)
    with pytest.raises(Exception, match="how far the path was followed"):
        jax.block_until_ready(at_fold(1.0, 1.0, "parabola"))
    np.testing.assert_allclose(at_fold(1.0, -4.0, "parabola"), 2, rtol=1e-9)


@pytest.mark.slow
def test_continuation_of_complex_and_mixed_unknowns_under_the_decorator():
    """A tree of complex64 and float64: z² = a from a = 1 to −1 + i, and w³ = b."""

    def fun(z, a, b):
        return {"c": z["c"] ** 2 - a, "r": z["r"] ** 3 - b}

    solution = dini.implicit_root(fun, solver=dini.Continuation(optx.Newton(1e-6, 1e-6)))
    z0 = {"c": jnp.ones(2, jnp.complex64), "r": jnp.ones(())}
    ones = jnp.ones(2, jnp.complex64)
    a = jnp.array([-1 + 1j, -1j], jnp.complex64)
    z = solution.with_options(options={"start": (ones, 1.0)})(z0, a, 27.0)
    np.testing.assert_allclose(z["c"], np.sqrt(np.asarray(a)), rtol=1e-5)
    np.testing.assert_allclose(z["r"], 3, rtol=1e-5)
    assert z["c"].dtype == jnp.complex64
    assert z["r"].dtype == jnp.float64


@pytest.mark.slow
def test_continuation_in_single_precision():
    solver = optx.Newton(1e-4, 1e-4)
    z = jnp.asarray(20.0, jnp.float32)
    solution = solve(lambda z, _: jnp.arctan(z - 1), z, solver=solver)
    assert succeeded(solution)
    assert solution.value.dtype == jnp.float32
    np.testing.assert_allclose(solution.value, 1, rtol=1e-4)
