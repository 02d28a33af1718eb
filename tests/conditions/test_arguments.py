"""How a condition is called: trees, keywords, closures, methods, lanes, dtypes, and mistakes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini import conditions
from tests.support.compare import all_nan, assert_close
from tests.support.constrained import on_simplex, soft_threshold


def known(z, *_, **__):
    """A solver that is given the solution for its initial point."""
    return jax.lax.stop_gradient(z)


# --- Trees, keywords, closures, methods ----------------------------------------------------------


@pytest.mark.slow
def test_unknown_is_a_tree_and_arguments_have_keywords():
    """min ½ |u − a|² + ½ |v − b|² with Σ u + v = total and v ≤ cap, which is active."""

    def f(x, a, *, b, **_):
        return 0.5 * jnp.sum((x["u"] - a) ** 2) + 0.5 * (x["v"] - b) ** 2

    def balance(x, *_, total, **__):
        return {"sum": jnp.sum(x["u"]) + x["v"] - total}

    def ceiling(x, *_, cap, **__):
        return [x["v"] - cap]

    def closed(a, b, total, cap):
        nu = (jnp.sum(a) + cap - total) / a.size
        return {"u": a - nu, "v": cap}, {"sum": nu}, [b - nu - cap]

    F = conditions.kkt(f, equality=balance, inequality=ceiling)
    solve = dini.custom_root(F)(known)
    args = jnp.array([0.5, -0.2]), 2.0, 1.0, 0.4
    z = jax.tree.map(jnp.asarray, closed(*args))

    def of(a, b, total, cap):
        return solve(z, a, b=b, total=total, cap=cap)

    assert_close(of(*args), z, 1e-12)
    actual = jax.jit(jax.jacrev(of, (0, 1, 2, 3)))(*args)
    assert_close(actual, jax.jacrev(closed, (0, 1, 2, 3))(*args), 1e-10)


@pytest.mark.slow
def test_functions_of_a_condition_may_capture_what_is_differentiated():
    def shrunk(width, target):
        F = conditions.proximal_gradient(
            lambda x: 0.5 * jnp.sum((x - target) ** 2), lambda y: soft_threshold(y, width)
        )
        return dini.custom_root(F)(known)(soft_threshold(target, width))

    target = jnp.array([2.0, -0.4, -3.0])
    by_width, by_target = jax.jit(jax.jacrev(shrunk, (0, 1)))(1.0, target)
    assert_close(by_width, jnp.array([-1.0, 0.0, 1.0]), 1e-12)
    assert_close(by_target, jnp.diag(jnp.array([1.0, 0.0, 1.0])), 1e-12)


class Bounded(eqx.Module):
    """min ½ |x − target|² with x ≤ cap."""

    target: jax.Array

    def loss(self, x, *_):
        return 0.5 * jnp.sum((x - self.target) ** 2)

    def limits(self, x, cap):
        return x - cap

    def solve(self, _, cap):
        x = jnp.minimum(self.target, cap)
        return jax.lax.stop_gradient((x, self.target - x))

    by_kkt = dini.custom_root(conditions.kkt(loss, inequality=limits))(solve)


def test_functions_of_a_condition_may_be_methods():
    init = jnp.zeros(2), jnp.zeros(2)
    target, cap = jnp.array([0.3, 2.0]), jnp.asarray(1.0)
    solve = lambda target, cap: Bounded(target).by_kkt(init, cap)[0]
    by_target, by_cap = jax.jit(jax.jacrev(solve, (0, 1)))(target, cap)
    assert_close((by_target, by_cap), (np.diag([1.0, 0.0]), np.array([0.0, 1.0])), 1e-12)


# --- Lanes and dtypes ----------------------------------------------------------------------------


def test_lane_that_fails_leaves_the_others_alone():
    """A solver that stops early in one lane, and a tie in another."""

    @dini.custom_root(
        conditions.projected_gradient(
            lambda x, t: 0.5 * (x - t) @ (x - t), lambda y, _: y * (y > 0)
        ),
        throw=False,
    )
    def solve(init, theta):
        return jax.lax.stop_gradient(jnp.maximum(theta, 0)) + init

    theta = jnp.array([[0.4, -1.0], [0.4, -1.0], [0.4, 0.0]])
    init = jnp.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]])
    values = jax.jit(jax.vmap(solve))(init, theta)
    jacobians = jax.jit(jax.vmap(jax.jacrev(solve, 1)))(init, theta)
    assert_close((values[0], jacobians[0]), (np.array([0.4, 0.0]), np.diag([1.0, 0.0])), 1e-12)
    assert all_nan((values[1:], jacobians[1:]))


@pytest.mark.slow
def test_single_precision_is_kept():
    F = conditions.projected_gradient(
        lambda x, t: 0.5 * jnp.sum((x - t) ** 2), lambda y, _: on_simplex(y, jnp.float32(1))
    )
    theta = jnp.array([0.9, 0.5, -0.4], jnp.float32)
    z = on_simplex(theta, jnp.float32(1))
    assert F(z, theta).dtype == jnp.float32
    jacobian = dini.root_jacobian(F, z, (theta,))
    assert jacobian.dtype == jnp.float32
    assert_close(jacobian, np.array([[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]]), 1e-5)


@pytest.mark.slow
def test_mixed_precision_of_unknown_and_multipliers():
    F = conditions.kkt(
        lambda x, t: 0.5 * jnp.sum((x["a"] - t) ** 2) + 0.5 * (x["b"] - t) ** 2,
        equality=lambda x, t: x["a"][0] - 1,
    )
    z = {"a": jnp.array([1.0, 3.0], jnp.float32), "b": jnp.asarray(3.0)}, jnp.asarray(2.0)
    out = F(z, 3.0)
    assert [x.dtype for x in jax.tree.leaves(out)] == [x.dtype for x in jax.tree.leaves(z)]
    (x_dot, nu_dot) = dini.root_jvp(F, z, (3.0,), (1.0,))
    assert_close((x_dot["a"], x_dot["b"], nu_dot), (np.array([0, 1.0]), 1.0, 1.0), 1e-6)


@pytest.mark.slow
def test_unknown_is_complex():
    """The nearest point of the unit disc: t/|t| outside, whose derivative is not holomorphic."""
    onto = lambda y: y / jnp.maximum(jnp.abs(y), 1)
    F = conditions.projected_gradient(
        lambda x, t: 0.5 * jnp.sum(jnp.real((x - t) * jnp.conj(x - t))), lambda y, _: onto(y)
    )
    t, dot = jnp.array([2.0 + 1.0j, 0.3 - 0.2j]), jnp.array([1.0 - 0.5j, 0.7 + 1.0j])
    actual = dini.root_jvp(F, onto(t), (t,), (dot,))
    assert_close(actual, jax.jvp(onto, (t,), (dot,))[1], 1e-10)


@pytest.mark.slow
def test_projection_may_have_reverse_mode_alone():
    @jax.custom_vjp
    def positive(y):
        return jnp.maximum(y, 0)

    positive.defvjp(lambda y: (positive(y), y > 0), lambda active, ct: (ct * active,))
    F = conditions.projected_gradient(
        lambda x, t: 0.5 * jnp.sum((x - t) ** 2), lambda y, _: positive(y)
    )
    t = jnp.array([1.0, -1.0])
    assert_close(dini.root_jacobian(F, positive(t), (t,)), np.diag([1.0, 0.0]), 1e-12)
    t = jnp.array([1.0, 0.0])
    assert all_nan(dini.root_jvp(F, positive(t), (t,), (t,), throw=False))


# --- Mistakes ------------------------------------------------------------------------------------

X = jnp.ones(2)


def _square(x, t):
    return 0.5 * jnp.sum((x - t) ** 2)


def _clipped(y, *_):
    return jnp.clip(y, 0, 1)


MISTAKES = {
    "takes functions": lambda: conditions.projected_gradient(_square, 3.0),
    "one real number": lambda: conditions.stationary(lambda x: x)(X),
    r"returns complex128": lambda: conditions.stationary(lambda x: jnp.sum(x) * 1j)(X),
    r"tuple \(x, nu, mu\)": lambda: conditions.kkt(_square, equality=_clipped, inequality=_clipped)(
        (X, X), X
    ),
    "one multiplier a number": lambda: conditions.kkt(_square, equality=_clipped)((X, X[:1]), X),
    "returns real numbers": lambda: conditions.kkt(_square, inequality=lambda x, t: x + 1j)(
        (X, X), X
    ),
    "floating-point numbers": lambda: conditions.kkt(_square, inequality=lambda x, t: x <= t)(
        (X, X), X
    ),
    "a tree like the unknown": lambda: conditions.proximal_gradient(_square, lambda y, t: y[:1])(
        X, X
    ),
    "mirror_descent": lambda: conditions.mirror_descent(_square, _clipped, lambda x, t: x)(X, X),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistake_is_named(message):
    with pytest.raises(TypeError, match=message):
        MISTAKES[message]()
