"""Equations with a solution in closed form, each under every decorator that fits.

The Jacobians in the unknown are asymmetric where the kind of problem allows it, so that a missing
transpose shows; the unknowns are trees where that costs nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import dini
from tests.support.battery import Scenario
from tests.support.blunt import newton, on_host, picard, returning

# --- Roots ---------------------------------------------------------------------------------------


def scalar_residual(z, a, b):
    """b z² = a with a > 0, b > 0."""
    return b * z**2 - a


def scalar_root(a, b):
    return jnp.sqrt(a / b)


SCALAR = (1.0, (2.0, 0.7))

_A0 = np.array([[3.0, 1.0, -0.4], [-0.6, 2.0, 0.9], [0.3, -1.1, 2.5]])
_A1 = np.array([[0.2, -0.7, 0.1], [0.9, 0.1, -0.3], [0.4, 0.8, -0.5]])


def _matrix(p):
    return _A0 + p["shift"] * _A1 + jnp.outer(p["slope"], jnp.array([0.3, -0.2, 0.5]))


def _right(p, q):
    return jnp.array([1.0, -2.0, 0.5]) * q + p["slope"] ** 2


def linear_residual(z, p, q):
    """A(p) z = b(p, q) with z = {u: (2,), v: ()}, the residual a tree of another structure."""
    f = _matrix(p) @ jnp.append(z["u"], z["v"]) - _right(p, q)
    return (f[0], f[1:])


def linear_root(p, q):
    z = jnp.linalg.solve(_matrix(p), _right(p, q))
    return {"u": z[:2], "v": z[2]}


LINEAR = (
    {"u": jnp.array([0.1, -0.1]), "v": jnp.asarray(0.2)},
    ({"shift": jnp.asarray(0.3), "slope": jnp.array([0.4, -0.2, 0.1])}, jnp.asarray(1.3)),
)


def square_residual(z, a):
    """z² = a in the complex numbers."""
    return z**2 - a


def square_root(a):
    return jnp.sqrt(a)


SQUARE = (
    jnp.array([1.0 + 0.5j, 1.0 - 0.5j]),
    (jnp.array([1.0 + 2.0j, 2.0 - 1.0j]),),
)


def conjugate_residual(z, a, k):
    """w |w|² = a with w = z + k z̄: not holomorphic in z."""
    w = z + k * jnp.conj(z)
    return w * jnp.abs(w) ** 2 - a


def conjugate_root(a, k):
    w = a / (a.real**2 + a.imag**2) ** (1 / 3)
    return (w - k * jnp.conj(w)) / (1 - k**2)


CONJUGATE = (jnp.asarray(1.0 + 0.4j), (jnp.asarray(1.2 + 0.8j), jnp.asarray(0.3)))

# --- Fixed points --------------------------------------------------------------------------------

_B0 = np.array([[1.2, 0.5, -0.3], [-0.4, 1.1, 0.6], [0.2, -0.7, 1.3]])
_C = 0.8 * np.linalg.inv(_B0) + np.array([[0.0, 0.1, 0.0], [0.0, 0.0, -0.1], [0.1, 0.0, 0.0]])


def sinh_residual(z, b, s):
    """(B₀ + s E) sinh(z) = b."""
    e = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    return (_B0 + s * e) @ jnp.sinh(z) - b


def sinh_map(z, b, s):
    """z − C ((B₀ + s E) sinh(z) − b), a contraction with an asymmetric derivative."""
    return z - _C @ sinh_residual(z, b, s)


def sinh_point(b, s):
    e = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    return jnp.arcsinh(jnp.linalg.solve(_B0 + s * e, b))


SINH = (jnp.zeros(3) + 0.1, (jnp.array([0.4, -0.3, 0.5]), jnp.asarray(0.2)))


def affine_map(z, p, q):
    """z − A₀⁻¹ (A(p) z − b(p, q)), on a tree."""
    flat, unravel = ravel_pytree(z)
    f = ravel_pytree(linear_residual(z, p, q))[0]
    return unravel(flat - jnp.asarray(np.linalg.inv(_A0)) @ f)


# --- Minima --------------------------------------------------------------------------------------

_X = np.array([[1.0, 0.2], [-0.5, 1.3], [0.7, -0.8], [0.1, 0.9]])
_Y = np.array([0.5, -1.0, 2.0, 0.3])


def ridge_objective(w, x, y, penalty):
    """½ |X w − y|² + ½ exp(penalty) |w|²."""
    return 0.5 * jnp.sum((x @ w - y) ** 2) + 0.5 * jnp.exp(penalty) * jnp.sum(w**2)


def ridge_residuals(w, x, y, penalty):
    """The residuals whose half square is `ridge_objective`, a tree."""
    return {"data": x @ w - y, "prior": jnp.exp(penalty / 2) * w}


def ridge_solution(x, y, penalty):
    return jnp.linalg.solve(x.T @ x + jnp.exp(penalty) * jnp.eye(2), x.T @ y)


RIDGE = (jnp.zeros(2) + 0.1, (jnp.asarray(_X), jnp.asarray(_Y), jnp.asarray(0.4)))

_M = np.array([[1.0, 0.4, -0.2], [-0.5, 1.2, 0.3], [0.2, -0.3, 0.9]])


def exponential_objective(z, b, c):
    """Σ cᵢ exp(yᵢ) − b·y with y = M z: the minimum has exp(y) = b / c."""
    y = _M @ jnp.append(z["u"], z["v"])
    return jnp.sum(c * jnp.exp(y)) - jnp.sum(b * y)


def exponential_minimum(b, c):
    z = jnp.linalg.solve(_M, jnp.log(b / c))
    return {"u": z[:2], "v": z[2]}


EXPONENTIAL = (
    {"u": jnp.zeros(2) + 0.1, "v": jnp.asarray(0.1)},
    (jnp.array([1.2, 0.7, 1.5]), jnp.array([0.8, 1.1, 1.3])),
)

# --- Least squares -------------------------------------------------------------------------------


def curved_residuals(z, a, b):
    """(s − a, s² − b) with s = exp(z₀ − z₁), and z₀ + z₁ − a b: the residual at the best z is not
    zero, and the second derivatives of r count."""
    s = jnp.exp(z[0] - z[1])
    return (s - a, s**2 - b, z[0] + z[1] - a * b)


def curved_solution(a, b):
    # ds: (s − a) + 2 s (s² − b) = 0, or s³ + p s = q with p = (1 − 2b)/2 > 0 and q = a/2.
    p, q = (1 - 2 * b) / 2, a / 2
    k = jnp.sqrt(p / 3)
    s = 2 * k * jnp.sinh(jnp.arcsinh(q / (2 * k**3)) / 3)
    d, t = jnp.log(s), a * b
    return jnp.array([(t + d) / 2, (t - d) / 2])


CURVED = (jnp.array([0.1, 0.2]), (jnp.asarray(1.7), jnp.asarray(-0.4)))

# --- Non-differentiable solvers ------------------------------------------------------------------


def gradient_of(objective):
    """Half the least squares' gradient, or the objective's, in z."""

    def gradient(z, *args):
        return jax.grad(lambda z: _scalar(objective(z, *args)))(z)

    return gradient


def _scalar(out):
    flat = ravel_pytree(out)[0]
    return (
        flat[0]
        if jnp.ndim(out if not isinstance(out, dict | tuple) else flat) == 0
        else (0.5 * jnp.sum(flat**2))
    )


@on_host
def host_linear_solve(init, p, q):
    """NumPy solves A(p) z = b(p, q)."""
    del init
    slope = p["slope"]
    a = _A0 + p["shift"] * _A1 + np.outer(slope, [0.3, -0.2, 0.5])
    z = np.linalg.solve(a, np.array([1.0, -2.0, 0.5]) * q + slope**2)
    return {"u": z[:2], "v": z[2]}


@on_host
def host_ridge(init, x, y, penalty):
    """NumPy's least squares on the stacked system."""
    del init
    stacked = np.vstack([x, np.exp(penalty / 2) * np.eye(2)])
    return np.linalg.lstsq(stacked, np.append(y, [0.0, 0.0]), rcond=None)[0]


def _all():
    def add(name, decorated, closed, problem, **options):
        guess, args = problem
        return Scenario(name, decorated, closed, guess, args, **options)

    yield add("implicit_root, scalar", dini.implicit_root(scalar_residual), scalar_root, SCALAR)
    yield add("implicit_root, tree", dini.implicit_root(linear_residual), linear_root, LINEAR)
    yield add("implicit_root, vector", dini.implicit_root(sinh_residual), sinh_point, SINH)
    yield add("implicit_root, complex", dini.implicit_root(square_residual), square_root, SQUARE)
    yield add(
        "implicit_root, not holomorphic",
        dini.implicit_root(conjugate_residual),
        conjugate_root,
        CONJUGATE,
    )
    yield add("implicit_fixed_point", dini.implicit_fixed_point(sinh_map), sinh_point, SINH)
    yield add(
        "implicit_fixed_point, tree", dini.implicit_fixed_point(affine_map), linear_root, LINEAR
    )
    yield add(
        "implicit_minimum, ridge", dini.implicit_minimum(ridge_objective), ridge_solution, RIDGE
    )
    yield add(
        "implicit_minimum, tree",
        dini.implicit_minimum(exponential_objective),
        exponential_minimum,
        EXPONENTIAL,
    )
    yield add(
        "implicit_least_squares, ridge",
        dini.implicit_least_squares(ridge_residuals),
        ridge_solution,
        RIDGE,
    )
    yield add(
        "implicit_least_squares, curved",
        dini.implicit_least_squares(curved_residuals),
        curved_solution,
        CURVED,
    )

    yield add(
        "custom_root, scalar",
        dini.custom_root(scalar_residual)(newton(scalar_residual)),
        scalar_root,
        SCALAR,
    )
    yield add(
        "custom_root, tree, on the host",
        dini.custom_root(linear_residual)(host_linear_solve),
        linear_root,
        LINEAR,
    )
    yield add(
        "custom_root, vector",
        dini.custom_root(sinh_residual)(returning(sinh_point)),
        sinh_point,
        SINH,
    )
    yield add(
        "custom_root, complex",
        dini.custom_root(square_residual)(returning(square_root)),
        square_root,
        SQUARE,
    )
    yield add(
        "custom_root, not holomorphic",
        dini.custom_root(conjugate_residual)(returning(conjugate_root)),
        conjugate_root,
        CONJUGATE,
    )
    yield add(
        "custom_root, of a gradient",
        dini.custom_root(jax.grad(exponential_objective))(returning(exponential_minimum)),
        exponential_minimum,
        EXPONENTIAL,
    )
    yield add(
        "custom_fixed_point", dini.custom_fixed_point(sinh_map)(picard(sinh_map)), sinh_point, SINH
    )
    yield add(
        "custom_fixed_point, tree",
        dini.custom_fixed_point(affine_map)(returning(linear_root)),
        linear_root,
        LINEAR,
    )
    yield add(
        "custom_minimum, ridge, on the host",
        dini.custom_minimum(ridge_objective)(host_ridge),
        ridge_solution,
        RIDGE,
    )
    yield add(
        "custom_minimum, tree",
        dini.custom_minimum(exponential_objective)(newton(jax.grad(exponential_objective))),
        exponential_minimum,
        EXPONENTIAL,
    )
    yield add(
        "custom_least_squares, ridge",
        dini.custom_least_squares(ridge_residuals)(returning(ridge_solution)),
        ridge_solution,
        RIDGE,
    )
    yield add(
        "custom_least_squares, curved",
        dini.custom_least_squares(curved_residuals)(returning(curved_solution)),
        curved_solution,
        CURVED,
    )


SCENARIOS = tuple(_all())
