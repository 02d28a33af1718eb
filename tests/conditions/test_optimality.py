"""Derivatives of constrained optima to data and hyperparameters, beside closed forms."""

import jax
import jax.numpy as jnp
import pytest

import dini
from dini.testing import check_rule
from tests.support.battery import real_vector
from tests.support.compare import assert_close
from tests.support.constrained import BOX, LASSO, PROBLEMS, RIDGE, repeated
from tests.support.marks import case
from tests.support.outcome import assert_right, compiled
from tests.support.programmes import INEQUALITIES, PROGRAMMES

_QUICK = ("lasso",)


@pytest.mark.parametrize(
    "problem",
    [case(p, id=p.name, quick=p.name in _QUICK) for p in [*PROBLEMS, *PROGRAMMES]],
)
def test_optimum_agrees_with_its_closed_form(problem):
    """Value, both modes and second order, to every number that enters the problem."""
    q = jax.tree.map(jnp.asarray, problem.q)
    assert_right(compiled(problem.solution(), q), compiled(problem.closed, q), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [INEQUALITIES], ids=str)
def test_optimum_passes_check_rule(problem):
    x, back = real_vector(jax.tree.map(jnp.asarray, problem.q))
    solution = problem.solution()
    report = check_rule(lambda x: real_vector(solution(back(x)))[0], x, order=1, transforms=())
    assert report.verdict == "pass", report


@pytest.mark.slow
@pytest.mark.parametrize("problem", [LASSO, INEQUALITIES], ids=str)
def test_derivatives_at_a_known_optimum(problem):
    q = jax.tree.map(jnp.asarray, problem.q)
    z = problem.closed(q)
    tangent = jax.tree.map(jnp.cos, q)
    expected, push = jax.linearize(problem.closed, q)
    pull = jax.linear_transpose(push, q)
    assert_close(dini.root_jvp(problem.condition, z, (q,), (tangent,)), push(tangent), 1e-9)
    (back,) = dini.root_vjp(problem.condition, z, (q,), jax.tree.map(jnp.sin, expected))
    assert_close(back, pull(jax.tree.map(jnp.sin, expected))[0], 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [LASSO, INEQUALITIES], ids=str)
def test_jacobian_at_a_known_optimum(problem):
    q = jax.tree.map(jnp.asarray, problem.q)
    jacobian = dini.root_jacobian(problem.condition, problem.closed(q), (q,))
    assert_close(jacobian, jax.jacobian(problem.closed)(q), 1e-9)


@pytest.mark.slow
def test_optimum_by_the_equation_itself():
    """The condition as an equation for an Optimistix solver."""
    solution = dini.implicit_root(LASSO.condition)
    q = jax.tree.map(jnp.asarray, LASSO.q)
    assert_close(solution(LASSO.closed(q) + 0.01, q), LASSO.closed(q), 1e-9)


@pytest.mark.slow
def test_one_step_of_projected_gradient_is_the_first_term_of_neumanns_series():
    """F = T − z, so that the map of the series is T: a contraction where the Hessian is below 2."""
    rough = BOX.solution(adjoint=dini.Neumann(200))
    q = jax.tree.map(jnp.asarray, BOX.q | {k: 0.2 * BOX.q[k] for k in "Qp"})
    assert_close(rough(q), BOX.closed(q), 1e-9)
    actual = jax.jvp(lambda p: rough(q | {"p": p}), (q["p"],), (jnp.ones(4),))[1]
    expected = jax.jvp(lambda p: BOX.closed(q | {"p": p}), (q["p"],), (jnp.ones(4),))[1]
    assert_close(actual, expected, 1e-6)


def test_residual_of_a_stationary_point_is_the_gradient():
    q = jax.tree.map(jnp.asarray, RIDGE.q)
    x = jnp.array([0.3, -0.7, 1.1, 2.0])
    gradient = q["A"].T @ (q["A"] @ x - q["b"]) + q["ridge"] * x
    assert_close(RIDGE.condition(x, q), gradient, 1e-14)


@pytest.mark.slow
def test_solver_that_stops_early_is_refused():
    q = jax.tree.map(jnp.asarray, LASSO.q)
    few = repeated(LASSO.condition.functions[0], LASSO.condition.functions[1], steps=3)
    decorated = dini.custom_root(LASSO.condition)(few)
    with pytest.raises(RuntimeError, match="not solved"):
        jax.block_until_ready(decorated(LASSO.guess, q))
