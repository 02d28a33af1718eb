"""Optimistix's solvers under each decorator: right at loose and at tight tolerances.

On a regular problem none may be rejected by the check of the solution merely because its
tolerances are tight, and a loose one must still give derivatives as good as its solution.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close, relative_error
from tests.support.marks import case
from tests.support.scenarios import (
    CURVED,
    EXPONENTIAL,
    RIDGE,
    SINH,
    curved_residuals,
    curved_solution,
    exponential_minimum,
    exponential_objective,
    ridge_objective,
    ridge_residuals,
    ridge_solution,
    sinh_map,
    sinh_point,
    sinh_residual,
)

PROBLEMS = {
    "fixed_point": (dini.implicit_fixed_point, sinh_map, sinh_point, SINH),
    "root": (dini.implicit_root, sinh_residual, sinh_point, SINH),
    "minimum": (dini.implicit_minimum, exponential_objective, exponential_minimum, EXPONENTIAL),
    "ridge": (dini.implicit_minimum, ridge_objective, ridge_solution, RIDGE),
    "least_squares": (dini.implicit_least_squares, curved_residuals, curved_solution, CURVED),
    "ridge_residuals": (dini.implicit_least_squares, ridge_residuals, ridge_solution, RIDGE),
}


def gradient_descent(rtol, atol):
    return optx.GradientDescent(0.1, rtol, atol)


def adam(rtol, atol):
    optax = pytest.importorskip("optax")
    return optx.OptaxMinimiser(optax.adam(0.02), rtol, atol)


def best_newton(rtol, atol):
    return optx.BestSoFarRootFinder(optx.Newton(rtol, atol))


# How tight a tolerance these reach on rounded values, by themselves.
TIGHTEST = {("ridge", optx.NelderMead): 1e-8}

QUICK = [
    ("fixed_point", optx.FixedPointIteration),
    ("fixed_point", optx.Newton),
    ("fixed_point", optx.LevenbergMarquardt),
    ("root", optx.Newton),
    ("root", optx.Chord),
    ("root", optx.LevenbergMarquardt),
    ("ridge", optx.NelderMead),
    ("least_squares", optx.BFGS),
    ("ridge_residuals", optx.GaussNewton),
]
SLOW = [
    ("minimum", optx.BFGS),
    ("fixed_point", dini.Anderson),
    ("fixed_point", dini.Picard),
    ("fixed_point", optx.Dogleg),
    ("fixed_point", optx.GaussNewton),
    ("root", optx.Dogleg),
    ("root", optx.BFGS),
    ("root", optx.GaussNewton),
    ("root", best_newton),
    ("minimum", optx.DFP),
    ("minimum", optx.LBFGS),
    ("minimum", optx.NonlinearCG),
    ("ridge", gradient_descent),
    ("ridge", adam),
    ("least_squares", optx.LevenbergMarquardt),
    ("least_squares", optx.Dogleg),
    ("least_squares", optx.IndirectLevenbergMarquardt),
    ("least_squares", optx.NelderMead),
    ("ridge_residuals", optx.LevenbergMarquardt),
    ("ridge_residuals", gradient_descent),
]


def _cases():
    for quick, cases in ((True, QUICK), (False, SLOW)):
        for problem, kind in cases:
            yield case(problem, kind, quick=quick, id=f"{problem}-{kind.__name__}")


def run_at(problem, kind, tolerance):
    """(result code, estimated error, z, ∂z/∂args); the tolerance is traced."""
    decorator, equation, _, (guess, args) = PROBLEMS[problem]
    solution = decorator(equation, solver=kind(tolerance, tolerance), max_steps=20_000)

    def value(*args):
        s = solution.with_options(throw=False).solve(guess, *args)
        return s.value, (s.result == optx.RESULTS.successful, s.stats["error"], s.value)

    jacobian, aux = jax.jacrev(value, tuple(range(len(args))), has_aux=True)(*args)
    return *aux, jacobian


@pytest.mark.parametrize(("problem", "kind"), list(_cases()))
def test_solver_is_accepted_and_right_at_every_tolerance(problem, kind):
    _, _, closed, (_, args) = PROBLEMS[problem]
    expected = closed(*args), jax.jacrev(closed, tuple(range(len(args))))(*args)
    run = jax.jit(lambda tolerance: run_at(problem, kind, tolerance))
    for tolerance in (1e-4, 1e-8, 1e-10):
        if tolerance < TIGHTEST.get((problem, kind), 0):
            continue
        accepted, _, z, jacobian = run(tolerance)
        assert accepted, f"rejected at {tolerance}"
        assert relative_error(z, expected[0]) <= 10 * tolerance
        assert relative_error(jacobian, expected[1]) <= 100 * tolerance


# --- Bisection: a bracket as an option -----------------------------------------------------------


def _bracketed(a, lower, upper):
    solution = dini.implicit_root(lambda z, a: z**3 + z - a, solver=optx.Bisection(1e-10, 1e-10))
    return solution.with_options(options={"lower": lower, "upper": upper})(1.0, a)


def test_bisection_with_a_traced_bracket():
    """z³ + z = a = t³ + t has z = t, ∂z/∂a = 1 / (3 t² + 1)."""
    t = jnp.array([0.5, 1.5, 2.0])
    run = jax.jit(jax.vmap(jax.value_and_grad(_bracketed)))
    value, slope = run(t**3 + t, t - 1, t + 2)
    np.testing.assert_allclose(value, t, rtol=1e-12)
    np.testing.assert_allclose(slope, 1 / (3 * t**2 + 1), rtol=1e-10)


def test_bisection_has_no_derivative_in_the_bracket():
    gradients = jax.jit(jax.grad(_bracketed, (1, 2)))(2.0, 0.0, 3.0)
    assert_close(gradients, (jnp.zeros(()), jnp.zeros(())))


def test_bisection_in_a_bracket_without_a_root_fails():
    with pytest.raises(RuntimeError):
        jax.block_until_ready(_bracketed(100.0, 0.0, 1.0))


# --- Traced tolerances, and a solver of another kind ----------------------------------------------


def test_solution_is_solved_again_for_a_new_tolerance_without_compiling():
    traces = []

    def residual(z, a):
        traces.append(1)
        return z**2 - a

    solution = dini.implicit_root(residual)
    counts = []
    for tolerance in (1e-3, 1e-6):
        solver = optx.Newton(jnp.asarray(tolerance), jnp.asarray(tolerance))
        solution.with_options(solver=solver)(1.0, 2.0)
        counts.append(len(traces))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("decorator", "solver"),
    [
        (dini.implicit_root, optx.FixedPointIteration(1e-8, 1e-8)),
        (dini.implicit_root, dini.Anderson(1e-8, 1e-8)),
        (dini.implicit_minimum, optx.Newton(1e-8, 1e-8)),
        (dini.implicit_minimum, optx.LevenbergMarquardt(1e-8, 1e-8)),
        (dini.implicit_least_squares, optx.Newton(1e-8, 1e-8)),
    ],
)
def test_solver_of_another_kind_is_refused_by_name(decorator, solver):
    solution = decorator(lambda z: z**2 - 2, solver=solver)
    with pytest.raises(TypeError, match=type(solver).__name__):
        solution(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("outer", [optx.LevenbergMarquardt, optx.Dogleg])
def test_equation_that_raises_may_be_solved_inside_another_solve(outer):
    """These linearise at a point of zeros first, which no inner solve may mind."""
    inner = dini.implicit_root(lambda z, a: z**3 + z * jnp.array([1e6, 1.0]) - a)

    def outermost(target):
        def residual(a, _):
            return inner(jnp.ones(2), a) - target

        return optx.root_find(residual, outer(1e-10, 1e-10), jnp.ones(2)).value

    assert_close(jax.jacrev(outermost)(jnp.full(2, 2.0)), jnp.diag(jnp.array([1e6 + 12, 13.0])))


def test_every_solver_of_optimistix_is_tried():
    """A solver that Optimistix adds later is missed here."""
    tried = {kind for _, kind in QUICK + SLOW} | {
        optx.Bisection,  # above
        optx.GradientDescent,  # by gradient_descent
        optx.OptaxMinimiser,  # by adam
        optx.BestSoFarRootFinder,  # by best_newton; its fellows are the same wrapper
        optx.BestSoFarFixedPoint,
        optx.BestSoFarLeastSquares,
        optx.BestSoFarMinimiser,
        optx.GoldenSearch,  # scalar searches on an interval
    }
    kinds = (
        optx.AbstractFixedPointSolver,
        optx.AbstractRootFinder,
        optx.AbstractLeastSquaresSolver,
        optx.AbstractMinimiser,
    )
    every = {
        kind
        for name, kind in inspect.getmembers(optx, inspect.isclass)
        if issubclass(kind, kinds) and not name.startswith("Abstract")
    }
    assert every <= tried, every - tried
