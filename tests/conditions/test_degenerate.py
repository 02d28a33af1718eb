"""Ties, kinks and dependent constraints: loud, or one-sided by choice."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini import conditions
from tests.support.compare import all_nan, assert_close, no_nan
from tests.support.constrained import on_l1_ball, on_simplex, soft_threshold
from tests.support.marks import case


def distance(x, t):
    return 0.5 * jnp.sum((x - t) ** 2)


def projected(projection):
    """min ½ |x − θ|², whose solution is the projection of θ: it is kinked where that is."""

    def make(**options):
        return conditions.projected_gradient(distance, lambda y, _: projection(y), **options)

    return make, projection


def proximal(prox):
    def make(**options):
        return conditions.proximal_gradient(distance, lambda y, _: prox(y), **options)

    return make, prox


def mirrored(projection):
    """With ½ |x|² in the place of an entropy."""

    def make(**options):
        halved = lambda x, _: 0.5 * jnp.sum(x**2)
        return conditions.mirror_descent(distance, lambda y, _: projection(y), halved, **options)

    return make, projection


def bounded():
    """x ≤ 0 as constraints, so that the multiplier of xᵢ is max(θᵢ, 0)."""

    def make(**options):
        return conditions.kkt(distance, inequality=lambda x, _: x, **options)

    return make, lambda t: (jnp.minimum(t, 0), jnp.maximum(t, 0))


def shrink(y):
    """The proximal map of the Euclidean norm, for a group of numbers."""
    return jnp.maximum(1 - 1 / jnp.linalg.norm(y), 0) * y


class Tie(NamedTuple):
    """A condition, its solution in closed form, θ at a tie, and a direction across it."""

    name: str
    condition: tuple
    theta: Any
    across: Any

    def __str__(self):
        return self.name


TIES = [
    Tie("box", projected(lambda y: jnp.clip(y, 0, 1)), [0.3, 1.0, -0.5], [0.0, 1.0, 0.0]),
    Tie("soft threshold", proximal(lambda y: soft_threshold(y, 1.0)), [2.0, -1.0, 0.2], [0, 1, 0]),
    Tie("group", proximal(shrink), [0.6, 0.8], [0.6, 0.8]),
    Tie("simplex", projected(lambda y: on_simplex(y, 1.0)), [1.1, 0.9, 0.5], [0, 0, 1]),
    Tie("l1 ball, an entry", projected(lambda y: on_l1_ball(y, 1.0)), [1.1, -0.9, 0.5], [0, 0, 1]),
    Tie("l1 ball, its rim", projected(lambda y: on_l1_ball(y, 1.0)), [0.5, -0.3, 0.2], [1, -1, 1]),
    Tie("mirror descent", mirrored(lambda y: jnp.clip(y, 0, 1)), [0.3, 1.0, -0.5], [0, 1, 0]),
    Tie("multiplier", bounded(), [-1.0, 0.0, 2.0], [0, 1, 0]),
]
_QUICK = ("multiplier",)
_ONE_SIDED = ("box", "simplex", "multiplier")
STEPS = jnp.array([-1e-5, -1e-9, 0.0, 1e-9, 1e-5])


def around(tie, **options):
    """Solution and tangent along θ̇ = (1, −2, 3), on both sides of the tie; and what is right."""
    make, closed = tie.condition
    condition = make(**options)
    theta, across = jnp.array(tie.theta), jnp.array(tie.across, float)
    dot = jnp.array([1.0, -2.0, 3.0])[: theta.size]
    solve = dini.custom_root(condition, throw=False)(lambda z, t: jax.lax.stop_gradient(z))

    def at(step):
        t = theta + step * across
        return jax.jvp(lambda t: solve(closed(jax.lax.stop_gradient(t)), t), (t,), (dot,))

    expected = lambda step: jax.jvp(closed, (theta + step * across,), (dot,))
    return jax.jit(jax.vmap(at))(STEPS), jax.vmap(expected)(STEPS)


def lane(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


@pytest.mark.parametrize("tie", [case(t, id=t.name, quick=t.name in _QUICK) for t in TIES])
def test_tie_and_what_is_within_the_tolerance_of_it_has_no_derivative(tie):
    actual, expected = around(tie)
    for i in (0, 4):
        assert_close(lane(actual, i), lane(expected, i), 1e-9)
    for i in (1, 2, 3):
        assert all_nan(lane(actual, i)), STEPS[i]


@pytest.mark.slow
@pytest.mark.parametrize("tie", [t for t in TIES if t.name in _ONE_SIDED], ids=str)
def test_one_sided_derivative_is_that_of_a_side(tie):
    """JAX's for a projection at its computed point; that of an active constraint."""
    actual, expected = around(tie, one_sided=True)
    for i in (0, 1, 3, 4):
        side = 4 if tie.name == "multiplier" and i == 1 else i
        assert_close(lane(actual[1], i), lane(expected[1], side), 1e-6)
    assert no_nan(lane(actual, 2))


def test_tied_constraint_counts_as_active_where_one_sided():
    make, _ = bounded()
    tangents = dini.root_jacobian(
        make(one_sided=True), (jnp.zeros(2), jnp.array([0.0, 1.0])), (jnp.array([0.0, 1.0]),)
    )
    assert_close(tangents, (np.zeros((2, 2)), np.eye(2)), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["box", "multiplier"])
def test_tie_raises(name):
    (tie,) = [t for t in TIES if t.name == name]
    make, closed = tie.condition
    theta = jnp.array(tie.theta)
    with pytest.raises(RuntimeError, match="at a tie or kink"):
        jax.block_until_ready(
            dini.root_vjp(
                make(), closed(theta), (theta,), jax.tree.map(jnp.ones_like, closed(theta))
            )
        )


@pytest.mark.slow
def test_tie_that_a_loose_tolerance_cannot_exclude_has_no_derivative():
    make, closed = projected(lambda y: jnp.clip(y, 0, 1))
    theta = jnp.array([0.3, 1.0 - 1e-4])
    call = lambda **options: dini.root_jvp(
        make(), closed(theta), (theta,), (jnp.ones(2),), throw=False, **options
    )
    assert_close(call(), jnp.ones(2), 1e-12)
    assert all_nan(call(rtol=1e-3, atol=1e-3))


@pytest.mark.slow
def test_solution_that_is_off_a_tie_by_its_error_has_no_derivative():
    """θ is at the kink, and the solution is not quite."""
    make, closed = projected(lambda y: jnp.clip(y, 0, 1))
    theta = jnp.array([0.3, 1.0, -0.5])
    for error in (-1e-9, 1e-9):
        z = closed(theta) + error
        assert all_nan(dini.root_jvp(make(), z, (theta,), (jnp.ones(3),), throw=False))


@pytest.mark.slow
def test_smooth_and_steep_problems_are_not_refused():
    """A small coefficient beside a large penalty; a mirror map with tiny weights."""
    steep = conditions.proximal_gradient(
        lambda x, t: 0.5e6 * jnp.sum((x - t) ** 2), lambda y, _: soft_threshold(y, 1e6)
    )
    theta = jnp.array([1.001, -3.0, 0.7])
    jacobian = dini.root_jacobian(steep, soft_threshold(theta, 1.0), (theta,))
    assert_close(jacobian, np.diag([1.0, 1.0, 0.0]), 1e-6)
    # min ⟨c, x⟩ + Σ x log x over the simplex is softmax(−c).
    entropic = conditions.mirror_descent(
        lambda x, c: c @ x + jnp.sum(x * jnp.log(x)),
        lambda y, _: jax.nn.softmax(y / 2),
        lambda x, _: 2 * jnp.sum(x * jnp.log(x)),
    )
    c = jnp.array([0.0, 3.0, 8.0])
    weights = jax.nn.softmax(-c)
    jacobian = dini.root_jacobian(entropic, weights, (c,))
    assert_close(jacobian, jax.jacobian(lambda c: jax.nn.softmax(-c))(c), 1e-8)


# --- Points that are no KKT points ---------------------------------------------------------------


def programme(x, t):
    return 0.5 * jnp.sum((x - t) ** 2)


def walls(x, *_):
    """x₁ ≤ 1 twice over, and x₁ + x₂ ≤ 5."""
    return jnp.array([x[0] - 1, 2 * x[0] - 2, x[0] + x[1] - 5])


def test_points_that_are_no_kkt_points_are_refused():
    """A feasible one with the wrong sign, one outside, one not stationary; and the right one."""
    condition = conditions.kkt(programme, inequality=lambda x, t: walls(x)[np.array([0, 2])])
    solve = dini.custom_root(condition, throw=False)(lambda z, t: z)
    points = {
        "right": ([1.0, 0.5], [2.0, 0.0], [3.0, 0.5]),
        "wrong sign": ([1.0, 0.5], [-0.5, 0.0], [0.5, 0.5]),
        "outside": ([3.0, 0.5], [0.0, 0.0], [3.0, 0.5]),
        "not stationary": ([1.0, 0.5], [1.0, 0.0], [3.0, 0.5]),
        "slack with a force": ([0.5, 0.5], [1.0, 0.0], [1.5, 0.5]),
    }
    x, mu, theta = (jnp.array(p) for p in zip(*points.values(), strict=True))
    dot = jnp.array([1.0, 1.0])
    (x_out, _), (x_dot, mu_dot) = jax.jit(
        jax.vmap(lambda x, mu, t: jax.jvp(lambda t: solve((x, mu), t), (t,), (dot,)))
    )(x, mu, theta)
    assert_close(x_dot[0], jnp.array([0.0, 1.0]), 1e-12)
    assert_close(mu_dot[0], jnp.array([1.0, 0.0]), 1e-12)
    assert all_nan((x_out[1:], x_dot[1:], mu_dot[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("mu", [(1.0, 0.5, 0.0), (2.0, 0.0, 0.0)])
def test_dependent_active_constraints_are_refused(mu):
    """The multipliers are not unique: shared between the two, or with the second at a tie."""
    z = jnp.array([1.0, 0.5]), jnp.array(mu)
    condition = conditions.kkt(programme, inequality=walls)
    theta = jnp.array([3.0, 0.5])
    assert all_nan(dini.root_jvp(condition, z, (theta,), (jnp.ones(2),), throw=False))


@pytest.mark.slow
def test_lasso_with_equal_columns_is_refused():
    """Its solution is not unique."""
    a = jnp.array([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]])
    condition = conditions.proximal_gradient(
        lambda x, b: 0.5 * jnp.sum((a @ x - b) ** 2), lambda y, b: soft_threshold(y, 0.1)
    )
    b = jnp.array([1.0, 2.0, 0.7])
    total = (a[:, 0] @ b - 0.1) / (a[:, 0] @ a[:, 0])
    z = total * jnp.array([0.3, 0.7])
    assert jnp.max(jnp.abs(condition(z, b))) < 1e-14
    assert all_nan(dini.root_jvp(condition, z, (b,), (jnp.ones(3),), throw=False))


@pytest.mark.slow
def test_units_of_a_constraint_do_not_matter():
    def solve(unit, theta):
        condition = conditions.kkt(distance, inequality=lambda x, t: unit * (x - 0.3))
        z = jnp.minimum(theta, 0.3), jnp.maximum(theta - 0.3, 0) / unit
        z = jax.lax.stop_gradient(z)
        return dini.custom_root(condition, throw=False)(lambda z, t: z)(z, theta)[0]

    theta = jnp.array([0.299, 0.7])
    for_unit = jax.vmap(lambda unit: jax.jacfwd(lambda t: solve(unit, t))(theta))
    jacobians = jax.jit(for_unit)(jnp.array([1e-5, 1.0, 1e5]))
    assert_close(jacobians, np.tile(np.diag([1.0, 0.0]), (3, 1, 1)), 1e-9)
