"""Quadratic programmes: a solver on the host, and closed forms on the active set."""

import jax.numpy as jnp
import numpy as np
import scipy.optimize

import dini
from dini import conditions
from tests.support.constrained import QUADRATIC, ZERO, Constrained, quadratic, saddle_point

# --- The solver ----------------------------------------------------------------------------------


def programme(hessian, linear, equalities, inequalities):
    """min ½ xᵀHx − cᵀx with E x = d and G x ≤ h: (x, nu, mu), in NumPy.

    SciPy finds the active set, and linear algebra the digits.
    """
    (e, d), (g, h) = equalities, inequalities
    hessian = (hessian + hessian.T) / 2
    found = scipy.optimize.minimize(
        lambda x: 0.5 * x @ hessian @ x - linear @ x,
        np.zeros(len(linear)),
        jac=lambda x: hessian @ x - linear,
        constraints=[
            {"type": "eq", "fun": lambda x: e @ x - d, "jac": lambda x: e},
            {"type": "ineq", "fun": lambda x: h - g @ x, "jac": lambda x: -g},
        ][: 1 + (len(h) > 0)],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    active = h - g @ found.x < 1e-6
    rows = np.concatenate([e, g[active]])
    system = np.block([[hessian, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
    solution = np.linalg.solve(system, np.concatenate([linear, d, h[active]]))
    x, nu, forces = np.split(solution, [len(linear), len(linear) + len(e)])
    mu = np.zeros(len(h))
    mu[active] = forces
    return x, nu, mu


# --- Programmes in general position --------------------------------------------------------------

LIMITS = {
    "E": np.ones((1, 4)),
    "d": np.array([1.0]),
    "G": np.array([[1.0, 0.2, 0.0, 0.0], [0.0, 1.0, 0.3, 0.0], [0.0, 0.0, -1.0, 0.1]]),
    "h": np.array([0.3, 1.0, 0.7]),
}


def equality(x, q):
    return q["E"] @ x - q["d"]


def inequality(x, q):
    return q["G"] @ x - q["h"]


@dini.external(like="init")
def _with_equalities(init, q):
    del init
    none = np.zeros((0, 4)), np.zeros(0)
    return programme(q["Q"], q["p"], (q["E"], q["d"]), none)[:2]


@dini.external(like="init")
def _with_both(init, q):
    del init
    return programme(q["Q"], q["p"], (q["E"], q["d"]), (q["G"], q["h"]))


def _equality_form(q):
    return saddle_point((q["Q"] + q["Q"].T) / 2, q["p"], q["E"], q["d"])


def _inequality_form(q):
    """The first inequality is active."""
    rows, right = jnp.concatenate([q["E"], q["G"][:1]]), jnp.append(q["d"], q["h"][0])
    x, forces = saddle_point((q["Q"] + q["Q"].T) / 2, q["p"], rows, right)
    return x, forces[:1], jnp.array([1.0, 0.0, 0.0]) * forces[1]


EQUALITIES = Constrained(
    "equality programme",
    conditions.kkt(quadratic, equality=equality),
    _with_equalities,
    (ZERO, np.zeros(1)),
    QUADRATIC | {k: LIMITS[k] for k in "Ed"},
    _equality_form,
)
INEQUALITIES = Constrained(
    "inequality programme",
    conditions.kkt(quadratic, equality=equality, inequality=inequality),
    _with_both,
    (ZERO, np.zeros(1), np.zeros(3)),
    QUADRATIC | LIMITS,
    _inequality_form,
)

# --- The dual of a support vector machine --------------------------------------------------------
# min ½ |Σ αᵢ yᵢ xᵢ|² + ½ ridge |α|² − Σ α  with Σ yᵢ αᵢ = 0 and 0 ≤ α ≤ C.

POINTS = np.array([[2.0, 1.0], [1.2, -0.1], [0.1, 0.3], [-1.5, 0.5], [-0.6, -1.1], [-0.2, 0.2]])
LABELS = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])


def _kernel(q):
    rows = LABELS[:, None] * q["X"]
    return rows @ rows.T + q["ridge"] * np.eye(6)


def _dual(a, q):
    return 0.5 * a @ _kernel(q) @ a - jnp.sum(a)


def _balance(a, *_):
    return LABELS @ a


def _ends(a, q):
    return {"lower": -a, "upper": a - q["C"]}


@dini.external(like="init")
def _machine(init, q):
    del init
    ends = np.concatenate([-np.eye(6), np.eye(6)]), np.append(np.zeros(6), np.full(6, q["C"]))
    a, nu, mu = programme(_kernel(q), np.ones(6), (LABELS[None], np.zeros(1)), ends)
    return a, nu[0], {"lower": mu[:6], "upper": mu[6:]}


AT_ZERO, AT_C, FREE = np.array([0, 3]), np.array([2, 5]), np.array([1, 4])


def _machine_form(q):
    """By the support vectors: those at C, and those on the margin."""
    kernel, a = _kernel(q), jnp.zeros(6).at[AT_C].set(q["C"])
    right = 1 - (kernel @ a)[FREE]
    free, nu = saddle_point(
        kernel[np.ix_(FREE, FREE)], right, LABELS[None, FREE], -(LABELS @ a)[None]
    )
    a = a.at[FREE].set(free)
    force = kernel @ a - 1 + nu * LABELS
    at = lambda where: jnp.zeros(6).at[where].set(1.0)
    return a, nu[0], {"lower": at(AT_ZERO) * force, "upper": -at(AT_C) * force}


SUPPORT_VECTORS = Constrained(
    "support vectors",
    conditions.kkt(_dual, equality=_balance, inequality=_ends),
    _machine,
    (np.zeros(6), np.zeros(()), {"lower": np.zeros(6), "upper": np.zeros(6)}),
    {"X": POINTS, "C": 1.5, "ridge": 0.1},
    _machine_form,
)

PROGRAMMES = [EQUALITIES, INEQUALITIES, SUPPORT_VECTORS]
