"""Classic problems in both modes, against differences of their tightly converged solution."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

import dini
from dini.testing import check_rule
from tests.support.blunt import blunt, newton
from tests.support.marks import slow


def check_both_modes(f, x, **options):
    """As a function of one vector."""
    flat, unravel = ravel_pytree(x)
    check_rule(lambda v: f(unravel(v)), flat, order=1, transforms=(), **options)


# --- Minima --------------------------------------------------------------------------------------


def rosenbrock(z, p):
    """The extended Rosenbrock function with a linear term, in four unknowns."""
    valley = jnp.sum(p["b"] * (z[1:] - z[:-1] ** 2) ** 2)
    return valley + jnp.sum((p["a"] - z[:-1]) ** 2) + p["tilt"] @ z


ROSENBROCK = {"a": 1.0, "b": 20.0, "tilt": jnp.array([0.1, -0.2, 0.3, 0.1])}


def test_rosenbrock_minimum():
    solution = dini.implicit_minimum(rosenbrock, solver=optx.BFGS(1e-9, 1e-9), max_steps=1000)
    check_both_modes(lambda p: solution(jnp.ones(4), p), ROSENBROCK)


@pytest.mark.slow
def test_rosenbrock_minimum_by_a_foreign_solver():
    solver = newton(jax.grad(rosenbrock))
    solution = dini.custom_minimum(rosenbrock)(solver)
    check_both_modes(lambda p: solution(jnp.ones(4), p), ROSENBROCK)


@pytest.mark.slow
def test_rosenbrock_least_squares():
    """The residuals of Rosenbrock's function, and one more: the minimum is not zero."""

    def residuals(z, p):
        return (jnp.sqrt(p["b"]) * (z[1] - z[0] ** 2), p["a"] - z[0], z[0] * z[1] - p["c"])

    solution = dini.implicit_least_squares(residuals)
    p = {"a": 1.0, "b": 20.0, "c": 0.5}
    check_both_modes(lambda p: solution(jnp.ones(2), p), p)


# --- Roots ---------------------------------------------------------------------------------------


def trigonometric(z, t):
    """Spedicato's trigonometric system, n − Σ cos zⱼ + i (1 − cos zᵢ) − sin zᵢ = tᵢ."""
    n = z.size
    i = jnp.arange(1.0, n + 1)
    return n - jnp.sum(jnp.cos(z)) + i * (1 - jnp.cos(z)) - jnp.sin(z) - t


TRIGONOMETRIC = trigonometric(jnp.linspace(0.3, 0.9, 5), 0.0)


@pytest.mark.slow
def test_trigonometric_system():
    solution = dini.implicit_root(trigonometric)
    check_both_modes(lambda t: solution(jnp.full(5, 0.6), t), TRIGONOMETRIC)


@pytest.mark.slow
def test_trigonometric_system_by_a_foreign_solver():
    solution = dini.custom_root(trigonometric)(newton(trigonometric))
    guess = jnp.linspace(0.35, 0.85, 5)
    check_both_modes(lambda t: solution(guess, t), TRIGONOMETRIC)


# --- Implicit time steps -------------------------------------------------------------------------


def pendulum(y, p):
    return jnp.array([y[1], -p["gravity"] * jnp.sin(y[0]) - p["friction"] * y[1]])


def midpoint_map(z, y, h, p):
    """z = y + h f((y + z)/2)."""
    return y + h * pendulum((y + z) / 2, p)


def _integrated(step):
    def run(p):
        def body(y, _):
            return step(y, y, 0.1, p), y

        return jax.lax.scan(body, p["start"], length=5)

    return run


PENDULUM = {"gravity": 9.81, "friction": 0.3, "start": jnp.array([1.2, 0.0])}


@pytest.mark.slow
def test_implicit_midpoint_steps_as_fixed_points():
    step = dini.implicit_fixed_point(midpoint_map)
    check_both_modes(_integrated(step), PENDULUM)


@pytest.mark.slow
def test_implicit_midpoint_steps_as_roots():
    step = dini.implicit_root(
        lambda z, *args: z - midpoint_map(z, *args), solver=optx.Newton(1e-9, 1e-9)
    )
    check_both_modes(_integrated(step), PENDULUM)


@pytest.mark.slow
def test_implicit_midpoint_steps_by_a_foreign_solver():
    @dini.custom_fixed_point(midpoint_map)
    def step(init, y, h, p):
        z = jax.lax.fori_loop(0, 60, lambda _, z: midpoint_map(z, y, h, p), init)
        return blunt(z, digits=14)

    check_both_modes(_integrated(step), PENDULUM)


def robertson(y, k):
    """Stiff kinetics: rate constants nine orders of magnitude apart."""
    k1, k2, k3 = jnp.exp(k)
    r1, r2, r3 = k1 * y[0], k2 * y[1] ** 2, k3 * y[1] * y[2]
    return jnp.array([-r1 + r3, r1 - r2 - r3, r2])


RATES = jnp.log(jnp.array([0.04, 3e7, 1e4]))


@pytest.mark.slow
def test_robertson_kinetics_by_implicit_euler_steps():
    """Steps of growing length; the second species stays of order 1e-5."""
    step = dini.implicit_root(
        lambda z, y, h, k: z - y - h * robertson(z, k),
        solver=optx.Newton(1e-10, 1e-14),
    )

    def final(k):
        y, _ = jax.lax.scan(
            lambda y, h: (step(y, y, h, k), None),
            jnp.array([1.0, 0.0, 0.0]),
            10.0 ** jnp.arange(-4, 3),
        )
        return y * jnp.array([1.0, 1e5, 1.0])

    check_both_modes(final, RATES)


# --- A nonlinear heat equation -------------------------------------------------------------------

_NODES = 16


def heat(u, p):
    """−(κ(u) u')' = q with κ = 1 + β u² on (0, 1), u(0) = left and −κ u'(1) = cooling · u(1)."""
    h = 1 / _NODES
    full = jnp.concatenate([p["left"][None], u])
    middle = (full[1:] + full[:-1]) / 2
    flux = -(1 + p["beta"] * middle**2) * jnp.diff(full) / h
    right = jnp.append(flux[1:], p["cooling"] * u[-1])
    width = jnp.full(_NODES, h).at[-1].set(h / 2)
    return (right - flux) - width * p["source"]


HEAT = {
    "left": jnp.asarray(0.5),
    "beta": jnp.asarray(0.8),
    "cooling": jnp.asarray(2.0),
    "source": 1 + jnp.sin(jnp.arange(_NODES) / 3.0),
}


@pytest.mark.parametrize(
    "options",
    [slow({}), slow({"tags": frozenset({lx.tridiagonal_tag})})],
    ids=["dense", "tridiagonal"],
)
def test_nonlinear_heat_equation(options):
    solution = dini.implicit_root(heat, solver=optx.Newton(1e-9, 1e-9), **options)
    check_both_modes(lambda p: solution(jnp.full(_NODES, 0.5), p), HEAT)


@pytest.mark.slow
def test_nonlinear_heat_equation_by_picard_iteration():
    """The conductivity lagged by one iterate: a linear solve a step."""

    def lagged(u, p):
        jacobian = jax.jacfwd(lambda v: _with_conductivity_of(u, v, p))(u)
        return jnp.linalg.solve(jacobian, -_with_conductivity_of(u, jnp.zeros_like(u), p))

    def _with_conductivity_of(u, v, p):
        h = 1 / _NODES
        at = jnp.concatenate([p["left"][None], u])
        full = jnp.concatenate([p["left"][None], v])
        flux = -(1 + p["beta"] * ((at[1:] + at[:-1]) / 2) ** 2) * jnp.diff(full) / h
        right = jnp.append(flux[1:], p["cooling"] * v[-1])
        width = jnp.full(_NODES, h).at[-1].set(h / 2)
        return (right - flux) - width * p["source"]

    solution = dini.implicit_fixed_point(lagged)
    root = dini.implicit_root(heat, solver=optx.Newton(1e-9, 1e-9))
    guess = jnp.full(_NODES, 0.5)
    np.testing.assert_allclose(solution(guess, HEAT), root(guess, HEAT), rtol=1e-10)
    check_both_modes(lambda p: solution(guess, p), HEAT, rtol=1e-8)
