"""Constrained problems: projections, proximal maps, solvers without derivatives, closed forms."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dini
from dini import conditions
from tests.support.blunt import blunt

# --- Projections and proximal maps ---------------------------------------------------------------


def soft_threshold(y, width):
    """The proximal map of width · |.|₁."""
    return jnp.sign(y) * jnp.maximum(jnp.abs(y) - width, 0)


def on_simplex(y, total):
    """The nearest point with x ≥ 0 and Σ x = total."""
    falling = jnp.sort(y)[::-1]
    excess = (jnp.cumsum(falling) - total) / jnp.arange(1, y.size + 1)
    return jnp.maximum(y - excess[jnp.sum(falling > excess) - 1], 0)


def on_l1_ball(y, radius):
    """The nearest point with Σ |x| ≤ radius."""
    inside = jnp.sum(jnp.abs(y)) <= radius
    return jnp.where(inside, y, jnp.sign(y) * on_simplex(jnp.abs(y), radius))


# --- Data ----------------------------------------------------------------------------------------


def _random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


FEATURES = _random(3, 8, 4)
TARGET = FEATURES @ [2.0, -1.0, 0.0, 0.1] + 0.2 * _random(4, 8)
REGRESSION = {"A": FEATURES, "b": TARGET, "lam": 1.0}
HESSIAN = FEATURES.T @ FEATURES / 4 + np.eye(4)
QUADRATIC = {"Q": HESSIAN, "p": np.array([2.0, -1.0, 0.5, 0.3])}


def squares(x, q):
    """½ |A x − b|², and a ridge where there is one."""
    r = q["A"] @ x - q["b"]
    return 0.5 * r @ r + 0.5 * q.get("ridge", 0.0) * x @ x


def quadratic(x, q):
    """½ xᵀQx − pᵀx, whether or not Q is symmetric."""
    return 0.5 * x @ q["Q"] @ x - q["p"] @ x


# --- Solvers -------------------------------------------------------------------------------------


def repeated(f, projection, steps=4000):
    """Projected or proximal gradient steps of a safe length, in a loop, without derivatives.

    For a quadratic f. `projection` takes the length of the step, of a proximal map, as its third.
    """

    def solver(init, q):
        length = 0.9 / jnp.linalg.norm(jax.hessian(f)(init, q), 2)

        def step(_, x):
            return projection(x - length * jax.grad(f)(x, q), q, length)

        return blunt(jax.lax.fori_loop(0, steps, step, init), digits=14)

    return solver


# --- Closed forms, with the active set of the solution -------------------------------------------


def saddle_point(hessian, linear, rows, right):
    """x and the multipliers of min ½ xᵀHx − cᵀx with rows x = right."""
    n, zeros = len(linear), jnp.zeros((len(rows), len(rows)))
    system = jnp.block([[hessian, rows.T], [rows, zeros]])
    solution = jnp.linalg.solve(system, jnp.concatenate([linear, right]))
    return solution[:n], solution[n:]


def spread(values, where):
    """The values at the indices `where`, in a vector of four with zeros elsewhere."""
    return jnp.zeros(4).at[np.array(where)].set(values)


class Constrained(NamedTuple):
    """A problem: its decorated solver, its parameters, and its closed form in a neighbourhood.

    `holds` says of the solution that the closed form's active set is the right one.
    """

    name: str
    condition: Any
    solver: Any
    guess: Any
    q: dict
    closed: Any

    def __str__(self):
        return self.name

    def solution(self, **options):
        decorated = dini.custom_root(self.condition, **options)(self.solver)
        return lambda q: decorated(self.guess, q)


def _lasso(q):
    support = np.array([0, 1])
    a, sign = q["A"][:, support], jnp.array([1.0, -1.0])
    gram = a.T @ a + q.get("ridge", 0.0) * jnp.eye(2)
    return spread(jnp.linalg.solve(gram, a.T @ q["b"] - q["lam"] * sign), support)


def _soft(y, q, length=1.0):
    return soft_threshold(y, length * q["lam"])


def _simplex(y, q, *_):
    return on_simplex(y, q["total"])


def _on_the_simplex(q):
    where = np.array([0, 1, 3])
    hessian = ((q["Q"] + q["Q"].T) / 2)[np.ix_(where, where)]
    x, _ = saddle_point(hessian, q["p"][where], jnp.ones((1, 3)), jnp.reshape(q["total"], 1))
    return spread(x, where)


def _box(y, q, *_):
    return jnp.clip(y, q["lower"], q["upper"])


def _in_the_box(q):
    """The first is at its upper end, the second at its lower one."""
    fixed = jnp.stack([q["upper"][0], q["lower"][1]])
    symmetric = (q["Q"] + q["Q"].T) / 2
    rest = q["p"][2:] - symmetric[2:, :2] @ fixed
    return jnp.concatenate([fixed, jnp.linalg.solve(symmetric[2:, 2:], rest)])


def _l1_ball(y, q, *_):
    return on_l1_ball(y, q["radius"])


def _on_the_l1_ball(q):
    support, sign = np.array([0, 1]), jnp.array([[1.0, -1.0]])
    a = q["A"][:, support]
    x, _ = saddle_point(a.T @ a, a.T @ q["b"], sign, jnp.reshape(q["radius"], 1))
    return spread(x, support)


def _entropy(x, *_):
    return jnp.sum(x * jnp.log(x) - x)


def _softmax(y, *_):
    return jax.nn.softmax(y)


def _inside_the_simplex(q):
    symmetric = (q["Q"] + q["Q"].T) / 2
    return saddle_point(symmetric, q["p"], jnp.ones((1, 4)), jnp.ones(1))[0]


def _ridge(q):
    return jnp.linalg.solve(q["A"].T @ q["A"] + q["ridge"] * jnp.eye(4), q["A"].T @ q["b"])


ZERO = np.zeros(4)
RIDGE = Constrained(
    "ridge",
    conditions.stationary(squares),
    lambda init, q: blunt(_ridge(q)),
    ZERO,
    REGRESSION | {"ridge": 0.3},
    _ridge,
)
LASSO = Constrained(
    "lasso",
    conditions.proximal_gradient(squares, _soft),
    repeated(squares, _soft),
    ZERO,
    REGRESSION,
    _lasso,
)
ELASTIC_NET = LASSO._replace(name="elastic net", q=REGRESSION | {"ridge": 0.3})
SIMPLEX = Constrained(
    "simplex",
    conditions.projected_gradient(quadratic, _simplex),
    repeated(quadratic, _simplex),
    ZERO,
    QUADRATIC | {"total": 1.3},
    _on_the_simplex,
)
BOX = Constrained(
    "box",
    conditions.projected_gradient(quadratic, _box),
    repeated(quadratic, _box),
    ZERO,
    QUADRATIC | {"lower": np.zeros(4), "upper": np.full(4, 0.4)},
    _in_the_box,
)
L1_BALL = Constrained(
    "l1 ball",
    conditions.projected_gradient(squares, _l1_ball),
    repeated(squares, _l1_ball),
    ZERO,
    {"A": FEATURES, "b": TARGET, "radius": 2.2},
    _on_the_l1_ball,
)
MIRROR = Constrained(
    "mirror descent",
    conditions.mirror_descent(quadratic, _softmax, _entropy),
    lambda init, q: blunt(_inside_the_simplex(q), digits=14),
    ZERO,
    {"Q": HESSIAN, "p": HESSIAN @ [0.3, 0.1, 0.4, 0.2] + 0.1},
    _inside_the_simplex,
)

PROBLEMS = [RIDGE, LASSO, ELASTIC_NET, SIMPLEX, BOX, L1_BALL, MIRROR]
