"""Ridge regression in all the call forms that implicit differentiation is used in.

X (n, p) data, y (n,) targets, θ the logarithm of the penalty: argmin_w ½ |X w − y|² + ½ e^θ |w|².
The solvers are NumPy on the host, or rounded: nothing can be differentiated through them. The
oracle is the closed form w = (XᵀX + e^θ)⁻¹ Xᵀ y, whose Jacobian in θ is −(XᵀX + e^θ)⁻¹ e^θ w.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.blunt import blunt, on_host
from tests.support.compare import assert_close

_random = np.random.default_rng(3)
X = jnp.asarray(_random.normal(size=(7, 3)))
Y = jnp.asarray(_random.normal(size=7))
INIT = jnp.zeros(3)
THETA = 0.7
RTOL = 1e-9


def closed(x, y, theta):
    gram = x.T @ x + jnp.exp(theta) * jnp.eye(x.shape[1])
    return jnp.linalg.solve(gram, x.T @ y)


def jacobian_in_theta(x, y, theta):
    gram = x.T @ x + jnp.exp(theta) * jnp.eye(x.shape[1])
    return -jnp.linalg.solve(gram, jnp.exp(theta) * closed(x, y, theta))


def objective(w, x, y, theta):
    return 0.5 * jnp.sum((x @ w - y) ** 2) + 0.5 * jnp.exp(theta) * jnp.sum(w**2)


def optimality(w, x, y, theta):
    return jax.grad(objective)(w, x, y, theta)


@on_host
def host_solver(init, x, y, theta):
    """Normal equations in NumPy."""
    del init
    return np.linalg.solve(x.T @ x + np.exp(theta) * np.eye(x.shape[1]), x.T @ y)


def assert_all_jacobians(solve, rtol=RTOL):
    """Both modes of solve(x, y, theta) in all its arguments, against the closed form's."""
    expected = jax.jacrev(closed, (0, 1, 2))(X, Y, THETA)
    assert_close(expected[2], jacobian_in_theta(X, Y, THETA), 1e-12)
    forward, reverse = jax.jit(
        lambda *a: (jax.jacfwd(solve, (0, 1, 2))(*a), jax.jacrev(solve, (0, 1, 2))(*a))
    )(X, Y, THETA)
    assert_close(forward, expected, rtol)
    assert_close(reverse, expected, rtol)


@pytest.mark.slow
def test_ridge_by_root_jvp_and_root_vjp():
    w, args = closed(X, Y, THETA), (X, Y, THETA)
    expected = jax.jacrev(closed, (0, 1, 2))(*args)
    assert_close(dini.root_jacobian(optimality, w, args, (0, 1, 2)), expected, RTOL)
    tangent = dini.root_jvp(optimality, w, args, (None, None, 1.0))
    assert_close(tangent, expected[2], RTOL)
    rows = [dini.root_vjp(optimality, w, args, e)[2] for e in jnp.eye(3)]
    assert_close(jnp.stack(rows), expected[2], RTOL)


def test_ridge_with_everything_positional():
    solver = dini.custom_root(jax.grad(objective))(host_solver)
    assert_close(solver(INIT, X, Y, THETA), closed(X, Y, THETA), RTOL)
    assert_all_jacobians(lambda x, y, theta: solver(INIT, x, y, theta))


def test_ridge_with_one_parameter_and_captured_data():
    def run(x, y, theta):
        @dini.custom_root(lambda w, t: optimality(w, x, y, t))
        def solver(init, t):
            return host_solver(init, x, y, t)

        return solver(INIT, theta)

    assert_all_jacobians(run)


def test_ridge_with_the_guess_none():
    @dini.custom_root(optimality)
    def solver(init, x, y, theta):
        assert init is None
        return host_solver(INIT, x, y, theta)

    assert_close(jax.jacrev(solver, 3)(None, X, Y, THETA), jacobian_in_theta(X, Y, THETA), RTOL)


def _named(init, x, y, theta):
    return host_solver(init, x, y, theta)


@pytest.mark.parametrize("order", [("x", "y", "theta"), ("theta", "x", "y"), ("y", "theta", "x")])
def test_ridge_with_keywords_in_any_order(order):
    solver = dini.custom_root(optimality)(_named)

    def run(theta):
        values = {"x": X, "y": Y, "theta": theta}
        return solver(INIT, **{k: values[k] for k in order})

    expected = jacobian_in_theta(X, Y, THETA)
    forward, reverse = jax.jit(lambda t: (jax.jacfwd(run)(t), jax.jacrev(run)(t)))(THETA)
    assert_close(forward, expected, RTOL)
    assert_close(reverse, expected, RTOL)


def test_ridge_with_the_guess_by_keyword():
    solver = dini.custom_root(optimality)(_named)
    assert_all_jacobians(lambda x, y, theta: solver(theta=theta, y=y, init=INIT, x=x))


def test_ridge_with_keywords_and_positions_mixed():
    @dini.custom_root(optimality)
    def solver(init, x, *, theta, y):
        return host_solver(init, x, y, theta)

    assert_all_jacobians(lambda x, y, theta: solver(INIT, x, y=y, theta=theta))


def test_ridge_with_a_solver_and_a_residual_of_any_keywords():
    def residual(w, **data):
        return optimality(w, data["x"], data["y"], data["theta"])

    @dini.custom_root(residual)
    def solver(init, **data):
        return host_solver(init, data["x"], data["y"], data["theta"])

    assert_all_jacobians(lambda x, y, theta: solver(INIT, theta=theta, x=x, y=y))


def test_ridge_with_defaults_of_its_own():
    def residual(w, x, y, theta=THETA):
        return optimality(w, x, y, theta)

    @dini.custom_root(residual)
    def solver(init, x, y, theta=THETA):
        return host_solver(init, x, y, theta)

    assert_close(jax.jacrev(solver, 2)(INIT, X, Y), jax.jacrev(closed, 1)(X, Y, THETA), RTOL)


def test_ridge_with_auxiliary_output():
    @dini.custom_root(optimality, has_aux=True)
    def solver(init, x, y, theta):
        w = host_solver(init, x, y, theta)
        aux = {"steps": 3, "done": jnp.asarray(True), "why": "exact", "loss": jnp.sum(w**2)}
        return w, aux | {"count": jnp.asarray(7), "none": None}

    w, aux = solver(INIT, X, Y, THETA)
    assert_close(w, closed(X, Y, THETA), RTOL)
    assert aux["steps"] == 3
    assert aux["why"] == "exact"
    assert aux["none"] is None
    assert aux["done"]
    assert aux["count"] == 7
    np.testing.assert_allclose(aux["loss"], np.sum(np.asarray(w) ** 2))
    assert_all_jacobians(lambda x, y, theta: solver(INIT, x, y, theta)[0])


def test_ridge_auxiliary_output_keeps_a_constant_boolean_array():
    @dini.custom_root(optimality, has_aux=True)
    def solver(init, x, y, theta):
        return host_solver(init, x, y, theta), jnp.asarray(True)

    assert isinstance(solver(INIT, X, Y, THETA)[1], jax.Array)


def test_ridge_auxiliary_output_is_constant_for_derivatives():
    @dini.custom_root(optimality, has_aux=True)
    def solver(init, x, y, theta):
        w = host_solver(init, x, y, theta)
        return w, {"loss": jnp.sum(w**2) * theta, "steps": jnp.asarray(3), "done": True}

    def loss(theta):
        return solver(INIT, X, Y, theta)[1]["loss"]

    assert jax.grad(loss)(THETA) == 0
    assert jax.jvp(loss, (THETA,), (1.0,))[1] == 0
    jacobian, aux = jax.jacrev(lambda t: solver(INIT, X, Y, t), has_aux=True)(THETA)
    assert_close(jacobian, jacobian_in_theta(X, Y, THETA), RTOL)
    assert aux["steps"] == 3


def test_ridge_as_a_fixed_point_of_a_gradient_step():
    step = 0.9 / float(np.linalg.norm(np.asarray(X), 2) ** 2 + np.exp(THETA))

    def gradient_step(w, x, y, theta):
        return w - step * optimality(w, x, y, theta)

    solver = dini.custom_fixed_point(gradient_step)(host_solver)
    assert_all_jacobians(lambda x, y, theta: solver(INIT, x, y, theta))


@pytest.mark.slow
def test_ridge_as_an_equation_of_each_kind():
    equations = {
        dini.implicit_root: optimality,
        dini.implicit_fixed_point: lambda w, *a: w - 0.04 * optimality(w, *a),
        dini.implicit_minimum: objective,
        dini.implicit_least_squares: lambda w, x, y, t: (x @ w - y, jnp.exp(t / 2) * w),
    }
    expected = jacobian_in_theta(X, Y, THETA)
    for decorator, equation in equations.items():
        solution = decorator(equation)
        assert_close(jax.jacrev(solution, 3)(INIT, X, Y, THETA), expected, RTOL)


@pytest.mark.slow
def test_ridge_with_an_intercept_in_a_tree():
    def tree_objective(p, x, y, reg):
        error = x @ p["slope"] + p["intercept"] - y
        return 0.5 * jnp.sum(error**2) + 0.5 * jnp.exp(reg["theta"]) * jnp.sum(p["slope"] ** 2)

    def tree_closed(x, y, reg):
        xm, ym = jnp.mean(x, 0), jnp.mean(y)
        slope = closed(x - xm, y - ym, reg["theta"])
        return {"slope": slope, "intercept": ym - xm @ slope}

    @dini.custom_root(jax.grad(tree_objective))
    def solver(init, x, y, reg):
        assert set(init) == {"slope", "intercept"}
        return blunt(tree_closed(x, y, reg))

    init, reg = {"slope": jnp.zeros(3), "intercept": jnp.asarray(0.0)}, {"theta": THETA}
    expected = jax.jacrev(tree_closed, (0, 1, 2))(X, Y, reg)
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert_close(jax.jit(jacobian(solver, (1, 2, 3)))(init, X, Y, reg), expected, RTOL)


@pytest.mark.slow
def test_ridge_under_jit_vmap_and_inside_another_objective():
    solver = dini.custom_root(optimality)(host_solver)

    @jax.jit
    def validation(theta):
        return jnp.sum((X[:3] @ solver(INIT, X, Y, theta) - Y[:3]) ** 2)

    def oracle(theta):
        return jnp.sum((X[:3] @ closed(X, Y, theta) - Y[:3]) ** 2)

    thetas = jnp.array([-1.0, 0.0, 1.0])
    first = jax.jit(jax.vmap(jax.value_and_grad(validation)))(thetas)
    assert_close(first, jax.vmap(jax.value_and_grad(oracle))(thetas), RTOL)
    second = jax.jit(jax.vmap(jax.hessian(validation)))(thetas)
    assert_close(second, jax.vmap(jax.hessian(oracle))(thetas), RTOL)


def test_ridge_with_a_penalty_for_each_weight():
    def residual(w, penalties):
        return X.T @ (X @ w - Y) + jnp.exp(penalties) * w

    def vector_closed(penalties):
        return jnp.linalg.solve(X.T @ X + jnp.diag(jnp.exp(penalties)), X.T @ Y)

    @dini.custom_root(residual)
    def solver(init, penalties):
        del init
        return blunt(vector_closed(penalties))

    penalties = jnp.array([0.1, -0.5, 1.2])
    expected = jax.jacrev(vector_closed)(penalties)
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert_close(jacobian(solver, 1)(INIT, penalties), expected, RTOL)
