"""Powell's hybrid method: what it costs, when it forms the Jacobian, where it stops."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.optimize

import dini
from tests.support import large, systems
from tests.support.marks import slow

TOL = 1e-8


def find(fun, z, args=None, rtol=TOL, atol=TOL, max_steps=1000):
    solver = dini.PowellHybrid(rtol, atol)
    return optx.root_find(fun, solver, z, args, max_steps=max_steps, throw=False)


def succeeded(solution):
    return bool(solution.result == optx.RESULTS.successful)


def cost(solution):
    return int(solution.stats["evaluations"]) + int(solution.stats["products"])


def counting(fun):
    """The function, which counts where it is evaluated and where its derivative is applied."""
    tally = Counter()

    def tick(what, v):
        jax.debug.callback(lambda _: tally.update([what]), v[0])  # once for each of a batch

    def product(z, v):
        tick("products", v)
        return jax.jvp(fun, (z,), (v,))[1]

    @jax.custom_jvp
    def counted(z):
        tick("evaluations", z)
        return fun(z)

    @counted.defjvp
    def _(primals, tangents):
        (z,) = primals
        transposed = lambda z, v: jax.vjp(fun, z)[1](v)[0]
        return counted(z), dini.linear_map(product, transposed, z, tangents[0])

    return counted, tally


# (F, start, how many Jacobians)
JACOBIANS = {
    "H-equation": (lambda z: large.chandrasekhar(z, 0.9), jnp.ones(20), 1),
    "helical valley": (lambda z: systems.minpack()[4].fun(z, None), jnp.array([-1.0, 0.0, 0.0]), 2),
}


@pytest.mark.parametrize("name", ["helical valley", slow("H-equation")])
def test_jacobian_is_formed_once_unless_the_updates_fail_and_all_is_counted(name):
    fun, start, jacobians = JACOBIANS[name]
    counted, tally = counting(fun)
    solution = jax.jit(lambda z: find(lambda z, _: counted(z), z))(start)
    jax.effects_barrier()
    assert succeeded(solution)
    assert tally["products"] == solution.stats["products"] == jacobians * start.size
    assert tally["evaluations"] == solution.stats["evaluations"] <= 20
    z = solution.value
    np.testing.assert_allclose(np.linalg.solve(jax.jacfwd(fun)(z), fun(z)), 0, atol=1e-8)


# (F of two unknowns, start, root, code, the cost allowed)
HARD = {
    # ∂F is singular at the start, and the steepest descent leads away from there.
    "singular start": (
        lambda z: jnp.stack([z[0] + z[1] + z[0] * z[1] - 5, z[0] + z[1] + z[0] ** 2 - 4]),
        (0.0, 0.0), (1.0, 2.0), "successful", 80,
    ),
    # ∂F is zero at the root: every step halves the error or does a little better.
    "singular root": (lambda z: z**2, (1.0, 2.0), (0.0, 0.0), "successful", 60),
    "stationary start": (lambda z: z**2 - 4, (0.0, 0.0), None, "singular", 5),
    # |F| rises twentyfold, and then it is zero.
    "Rosenbrock": (large.rosenbrock, (-1.2, 1.0), (1.0, 1.0), "successful", 8),
    # Without a scale for each equation the first dominates all steps.
    "badly scaled": (
        large.powell_badly_scaled, (0.0, 1.0), (1.0981593296998e-5, 9.1061467398667),
        "successful", 40,
    ),
    "minimum that is no root": (
        lambda z: jnp.stack([z[0] ** 2 + 1, z[1] - 1]), (3.0, 0.0), None, "nonlinear_divergence",
        200,
    ),
    "Jacobian not finite": (jnp.sqrt, (0.0, 1.0), None, "nonfinite", 3),
}  # fmt: skip


@functools.cache
def solve_hard():
    """Solves any of `HARD`, by one program."""
    equations = [fun for fun, *_ in HARD.values()]
    fun = lambda z, which: jax.lax.switch(which, equations, z)
    return jax.jit(lambda which, z: find(fun, z, which))


@pytest.mark.parametrize("name", list(HARD))
def test_hard_points_are_passed_or_named(name):
    _, start, root, result, most = HARD[name]
    solution = solve_hard()(list(HARD).index(name), jnp.array(start))
    assert solution.result == getattr(optx.RESULTS, result), solution.stats
    assert cost(solution) <= most
    if root is not None:
        np.testing.assert_allclose(solution.value, root, rtol=1e-7, atol=1e-7)


def test_units_of_equations_and_unknowns_make_no_difference():
    """None at all for equations, if they are powers of two; nor much for unknowns."""

    def fun(z, units):
        equations, unknowns = units
        return equations * large.chandrasekhar(z / unknowns, 0.99)

    run = jax.jit(lambda units: find(fun, units[1], units, atol=1e-300))
    ones, powers = jnp.ones(10), 2.0 ** jnp.arange(-40.0, 40.0, 8.0)
    plain = run((ones, ones))
    assert succeeded(plain)
    for units, most in (((powers, ones), 0), ((powers[::-1], powers), 2)):
        scaled = run(units)
        assert succeeded(scaled)
        assert abs(cost(scaled) - cost(plain)) <= most
        np.testing.assert_allclose(scaled.value / units[1], plain.value, rtol=1e-8)


@pytest.mark.slow
def test_single_precision_ends_at_its_rounding():
    start = jnp.ones(10, jnp.float32)
    solution = find(lambda z, _: large.chandrasekhar(z, 0.9), start, rtol=1e-12, atol=1e-12)
    assert succeeded(solution)
    assert solution.value.dtype == jnp.float32
    exact = find(lambda z, _: large.chandrasekhar(z, 0.9), start.astype(float), rtol=1e-13)
    np.testing.assert_allclose(solution.value, exact.value, rtol=2e-5)


@pytest.mark.slow
def test_standard_systems_cost_less_than_by_minpack_and_no_success_is_false():
    """Of all starts more are solved than by `hybr` with differences, at a lower mean cost."""
    solved, theirs, ratios = 0, 0, {True: [], False: []}
    for system in systems.minpack() + systems.small():
        run = jax.jit(lambda z, fun=system.fun: find(fun, z))
        value = jax.jit(lambda z, fun=system.fun: fun(z, None))
        jacobian = jax.jit(jax.jacfwd(value))
        for number, start in enumerate(system.starts):
            solution = run(jnp.asarray(start))
            ours = correct(system, value, jacobian, solution.value)
            assert ours or not succeeded(solution), (system.name, number)
            peer = scipy.optimize.root(lambda z: np.asarray(value(z)), start, tol=TOL)  # noqa: B023
            solved, good = solved + ours, correct(system, value, jacobian, peer.x)
            theirs += good
            if ours and good:
                ratios[number == 0].append(np.log(cost(solution) / peer.nfev))
    assert theirs >= 40
    assert solved >= theirs + 4
    assert all(np.mean(r) < np.log(0.9) for r in ratios.values()), ratios


def correct(system, value, jacobian, z):
    """Whether z is a root, by Newton's step from it, or by its distance from a singular one."""
    error = z if system.root is not None else np.linalg.lstsq(jacobian(z), value(z))[0]
    return bool(np.all(np.abs(error) <= 1e-6 * (1 + np.abs(z))))
