"""What is reported of a solution holds: sizes, rates, counts, and a bound of the error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import matplotlib.pyplot as plt
import mpmath
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.marks import case, slow, slow_among

N = 5


def residual(z, m, b):
    return m @ z + 0.1 * z**2 - b


def as_given(z, m, b):
    del m, b
    return z


FOREIGN = {
    name: dini.custom_root(residual, linear_solver=solver, rtol=1e-2, atol=1e-2)(as_given)
    for name, solver in {"direct": "auto", "iterative": lx.GMRES(1e-6, 1e-6)}.items()
}


def problem(rng):
    """A system of condition 1 to 1e10 with a root, and a point near it."""
    left, right = (np.linalg.qr(rng.normal(size=(N, N)))[0] for _ in range(2))
    scales = np.logspace(0, -rng.uniform(0, 10), N) * 10 ** rng.uniform(-2, 2)
    m, z = left @ np.diag(scales) @ right, rng.normal(size=N)
    inverse = np.linalg.inv(m + 0.2 * np.diag(z))
    off = min(10 ** rng.uniform(-13, -6), 1e-3 / np.linalg.norm(inverse, 2)) * rng.normal(size=N)
    # No nearer than float64 lets F tell.
    rounding = np.finfo(float).eps * (np.abs(m) @ np.abs(z)) * rng.normal(size=N)
    return m, m @ z + 0.1 * z**2, z, off + inverse @ rounding


def exact(m, b, z, cotangent):
    """The root near z and the gradients there, to 60 digits."""
    with mpmath.workdps(60):
        tenth, m, b, z = mpmath.mpf(0.1), *(mpmath.matrix(x.tolist()) for x in (m, b, z))
        for _ in range(8):
            jacobian = m + mpmath.diag([2 * tenth * x for x in z])
            step = mpmath.lu_solve(jacobian, m * z + tenth * mpmath.matrix([x**2 for x in z]) - b)
            z = z - step
        assert mpmath.norm(step) < mpmath.mpf(10) ** -40
        costate = mpmath.lu_solve(jacobian.T, mpmath.matrix(cotangent.tolist()))
        return np.array(z.T.tolist()[0]), {"m": -costate * z.T, "b": costate}


@pytest.mark.parametrize("count", [case(4, quick=True), case(200, quick=False)])
def test_gradient_error_bound_holds_and_is_sharp(count):
    rng = np.random.default_rng(count)
    for i in range(count):
        m, b, z, off = problem(rng)
        cotangent = rng.normal(size=N)
        root, gradient = exact(m, b, z, cotangent)
        f = FOREIGN["direct" if i % 2 else "iterative"]
        d = dini.diagnose(f, np.float64(root) + off, m, b, cotangent=cotangent)
        for name, right in gradient.items():
            flat = np.array(right.tolist()).reshape(-1)
            error = float(np.max(np.abs(np.ravel(d.gradient[name]) - flat)))
            assert error <= d.gradient_error[name] <= 100 * error, (i, name, error)


@pytest.mark.slow
def test_gradient_error_bound_knows_of_rounding():
    """sin z = t holds to the last digit at z = 1.5, and z is not exact."""
    arc_sine = dini.custom_root(lambda z, t: jnp.sin(z) - t)(lambda z, t: jax.lax.stop_gradient(z))
    t = jnp.sin(1.5)
    d = dini.diagnose(arc_sine, jnp.asarray(1.5), t)
    assert d.residual == 0
    with mpmath.workdps(40):
        error = float(d.gradient["t"]) - 1 / mpmath.sqrt(1 - mpmath.mpf(float(t)) ** 2)
    assert 0 < abs(error) <= float(d.gradient_error["t"]) <= 100 * abs(error)


@pytest.mark.parametrize("n", [slow(1), slow(2), 40])
def test_condition_is_that_of_the_jacobian(n):
    a = np.random.default_rng(n).normal(size=(n, n)) * np.logspace(0, 3, n)
    f = dini.custom_root(lambda z, a: a @ z)(lambda z, a: jnp.zeros(n))
    estimate = dini.diagnose(f, jnp.zeros(n), a).condition
    assert 0.2 <= estimate / np.linalg.cond(a, 1) <= 1 + 1e-6


@pytest.mark.parametrize("size", [slow(0.9), 1.1])
def test_contraction_is_the_spectral_radius(size):
    """Of a matrix that is not normal, with a complex pair of largest eigenvalues."""
    turn = jnp.array([[0.0, -4.0], [0.25, 0.0]]) * size
    f = dini.implicit_fixed_point(lambda z, a: turn @ z + a, solver=optx.Newton(1e-9, 1e-9))
    d = dini.diagnose(f, jnp.zeros(2), jnp.ones(2))
    np.testing.assert_allclose(d.contraction, size, rtol=0.05)
    assert ("does not converge" in str(d)) == (size > 1)


EQUATIONS = {
    "fixed point": dini.implicit_fixed_point(lambda z, a: jnp.cos(z) * a),
    "root": dini.implicit_root(lambda z, a: z**3 + z - a),
    "minimum": dini.implicit_minimum(lambda z, a: jnp.sum(z**4 / 4 + z**2 / 2 - a * z)),
    "least squares": dini.implicit_least_squares(lambda z, a: jnp.stack([z**3 + z - a, z - a])),
}


@pytest.mark.parametrize("kind", slow_among(EQUATIONS, "fixed point", "root", "least squares"))
def test_history_tells_every_step(kind):
    f, z = EQUATIONS[kind], jnp.array([0.9, 0.2])
    d = dini.diagnose(f, z, jnp.array([0.5, 1.5]))
    assert d.solved
    assert d.steps == f.solve(z, jnp.array([0.5, 1.5])).stats["num_steps"]
    assert d.history.shape == (d.steps, 2)
    assert np.all(np.isfinite(d.history))
    assert d.history[-1, 0] < 1e-3 * d.history[0, 0]
    if kind == "minimum":
        slope = jax.grad(f.fn)(z, jnp.array([0.5, 1.5]))
        np.testing.assert_allclose(d.history[0, 0], np.max(np.abs(slope)), rtol=1e-12)
    ax = d.plot()
    assert len(ax.lines) == 2
    plt.close(ax.figure)


def test_cost_counts_the_evaluations():
    f = dini.implicit_fixed_point(lambda z, a: 0.5 * z + a, solver=dini.Picard(1e-6, 1e-6))
    d = dini.diagnose(f, 0.0, 1.0)
    assert d.evaluations == d.steps == 20


def test_report_names_parameters_and_tells_what_was_found():
    class Model(eqx.Module):
        rate: jax.Array

        @dini.implicit_root
        def price(self, z, shocks, *, power):
            return z**power + self.rate * z - shocks["now"] * shocks["then"]

    shocks = {"now": jnp.array([1.0, 2.0]), "then": jnp.array([3.0, 4.0])}
    d = dini.diagnose(Model(jnp.asarray(0.5)).price, jnp.ones(2), shocks, power=3)
    value = lambda m, s: jnp.sum(m.price(jnp.ones(2), s, power=3))
    of_model, of_shocks = jax.grad(value, (0, 1))(Model(jnp.asarray(0.5)), shocks)
    assert d.gradient.keys() == {"self", "shocks"}
    np.testing.assert_allclose(d.gradient["self"].rate, of_model.rate, rtol=1e-12)
    for name in shocks:
        np.testing.assert_allclose(d.gradient["shocks"][name], of_shocks[name], rtol=1e-12)
    text = str(d)
    for part in ("Model.price", "accepted", "shocks['now']", "self.rate", "2 unknowns", "steps"):
        assert part in text


def test_what_was_refused_is_reported_and_not_raised():
    f = dini.implicit_root(lambda z, a: z**2 + a)
    d = dini.diagnose(f, 1.0, 1.0)
    assert not d.solved
    assert "refused" in str(d)
    assert np.isfinite(d.value)
    assert d.residual >= 1


def test_foreign_solver_leaves_no_history():
    d = dini.diagnose(FOREIGN["direct"], jnp.zeros(N), jnp.eye(N), jnp.zeros(N))
    assert d.steps is None
    assert d.evaluations is None
    with pytest.raises(ValueError, match="no history"):
        d.plot()
    assert "steps" not in str(d)


def test_truncated_series_is_bounded_too():
    f = dini.implicit_fixed_point(lambda z, a: 0.5 * z + a**2, adjoint=dini.Neumann(4))
    d = dini.diagnose(f, 0.0, 1.5)
    np.testing.assert_allclose(d.gradient["a"], 3 * (1 + 1 / 2 + 1 / 4 + 1 / 8), rtol=1e-12)
    error = 6 - float(d.gradient["a"])
    assert error <= d.gradient_error["a"] <= 10 * error
    np.testing.assert_allclose(d.adjoint_residual, 1 / 16)


SOLVERS = {
    "krylov": (dini.implicit_root(lambda z, a: z**3 + z - a), 200, "BiCGStab, with LU"),
    "given": (EQUATIONS["root"].with_options(linear_solver=lx.QR()), 2, "QR, as given"),
    "tags": (EQUATIONS["root"].with_options(tags=lx.diagonal_tag), 2, "a structure"),
    "definite": (
        dini.implicit_minimum(lambda z, a: jnp.sum((z - a) ** 2 * (1 + z**2))),
        150,
        "CG, with LU to fall back on: 150 unknowns, definite",
    ),
}


@pytest.mark.parametrize("name", slow_among(SOLVERS, "given", "tags", "definite"))
def test_linear_solver_is_told_with_the_reason(name):
    f, n, words = SOLVERS[name]
    d = dini.diagnose(f, jnp.full(n, 0.4), jnp.full(n, 0.5))
    assert words in d.linear_solver
    assert d.adjoint_residual < 1e-6


def test_what_is_not_decorated_is_refused():
    with pytest.raises(TypeError, match="decorated by"):
        dini.diagnose(jnp.sin, 1.0)


def test_second_look_compiles_nothing():
    f, z = EQUATIONS["root"], np.array([0.9, 0.2])
    dini.diagnose(f, z, np.array([0.5, 1.5]))
    before = len(COMPILED)
    assert before > 0
    dini.diagnose(f, 2 * z, np.array([0.7, 1.1]))
    assert len(COMPILED) == before


COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kwargs: COMPILED.append(event) if "backend_compile" in event else None
)


def test_progress_calls_back_after_each_step():
    seen = []
    f = dini.implicit_fixed_point(
        lambda z, a: 0.5 * z + a, solver=dini.Picard(1e-6, 1e-6), progress=lambda *x: seen.append(x)
    )
    value, slope = jax.value_and_grad(f, 1)(0.0, 1.0)
    jax.effects_barrier()
    np.testing.assert_allclose([value, slope], 2.0, rtol=1e-5)
    assert [step for step, _ in sorted(seen)] == list(range(1, 21))
    np.testing.assert_allclose([moved for _, moved in sorted(seen)][:19], 0.5 ** np.arange(19))


def test_progress_prints_at_most_once_a_second(capsys):
    EQUATIONS["root"].with_options(progress=True)(jnp.ones(2), jnp.ones(2))
    jax.effects_barrier()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "step 1, moved by" in lines[0]


def test_no_progress_is_no_callback():
    f = EQUATIONS["root"].with_options(throw=False)
    assert "callback" not in str(jax.make_jaxpr(lambda a: f(jnp.ones(2), a))(jnp.ones(2)))
