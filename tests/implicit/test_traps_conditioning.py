"""Ill-conditioned, singular and badly scaled equations, and linear solvers that stagnate."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.blunt import returning
from tests.support.compare import assert_close
from tests.support.marks import slow
from tests.support.outcome import (
    assert_nan,
    assert_raises_everywhere,
    assert_right,
    assert_right_or_nan,
    compiled,
    eager,
    lane,
    mapped,
)

# --- Condition numbers ---------------------------------------------------------------------------
# [[1, 2], [3, 6 + δ]] has the determinant δ and the condition number 50/δ; with δ a power of two
# its entries are exact.

CONDITIONS = {1e4: 2.0**-8, 1e8: 2.0**-21, 1e12: 2.0**-34}


def nearly_singular(z, x):
    b, d = x[:2], x[2]
    return jnp.array([z[0] + 2 * z[1], 3 * z[0] + (6 + d) * z[1]]) - b


def nearly_singular_root(x):
    b, d = x[:2], x[2]
    return jnp.array([(6 + d) * b[0] - 2 * b[1], b[1] - 3 * b[0]]) / d


def nearly_flat(z, x):
    """½ zᵀ S z − bᵀ z with S = [[1, 2], [2, 4 + δ]]."""
    b, d = x[:2], x[2]
    return 0.5 * ((z[0] + 2 * z[1]) ** 2 + d * z[1] ** 2) - b @ z


def nearly_flat_minimum(x):
    b, d = x[:2], x[2]
    return jnp.array([(4 + d) * b[0] - 2 * b[1], b[1] - 2 * b[0]]) / d


@pytest.mark.parametrize(
    ("solution", "closed"),
    [
        slow(dini.implicit_root(nearly_singular, throw=False), nearly_singular_root),
        (
            dini.custom_root(nearly_singular, throw=False)(returning(nearly_singular_root)),
            nearly_singular_root,
        ),
        slow(
            dini.custom_minimum(nearly_flat, throw=False)(returning(nearly_flat_minimum)),
            nearly_flat_minimum,
        ),
    ],
    ids=["implicit_root", "custom_root", "custom_minimum"],
)
def test_ill_conditioned_equation_is_right_or_loud(solution, closed):
    guess = jnp.array([0.5, -0.5])
    xs = jnp.stack([jnp.array([1.0, 0.3, d]) for d in CONDITIONS.values()])
    out = mapped(lambda x: solution(guess, x), xs)
    expected = mapped(closed, xs)
    for i, condition in enumerate(CONDITIONS):
        # Rounding alone costs condition · eps; a derivative in δ multiplies by 1/δ once more.
        rtol = max(1e-9, 30 * condition * np.finfo(float).eps)
        check = assert_right if condition < 1e6 else assert_right_or_nan
        check(lane(out, i), lane(expected, i), min(rtol, 1e-6))
    assert_right(eager(lambda x: solution(guess, x), xs[0]), compiled(closed, xs[0]))


# --- Krylov methods ------------------------------------------------------------------------------

N = 12


WEIGHTS = jnp.linspace(1.0, 2.0, N)


def shift_map(z, x):
    """z + x − w·shift(z): short recurrences stall on shifts, and GMRES needs all N steps."""
    return z + x - jnp.roll(z, 1) * WEIGHTS


def shift_point(x):
    return jnp.roll(x / WEIGHTS, -1)


def skewed(condition):
    """An asymmetric matrix with singular values from 1 to 1/condition."""
    random = np.random.default_rng(3)
    u, v = (np.linalg.qr(random.normal(size=(N, N)))[0] for _ in range(2))
    return u @ np.diag(np.logspace(0, -np.log10(condition), N)) @ v.T


@pytest.mark.parametrize(
    "solver",
    [
        slow(lx.GMRES(rtol=1e-10, atol=1e-10, restart=4, max_steps=40)),
        lx.BiCGStab(rtol=1e-10, atol=1e-10, max_steps=40),
    ],
    ids=lambda s: type(s).__name__,
)
def test_stagnating_krylov_method_is_loud(solver):
    x = jnp.linspace(1.0, 3.0, N) ** 2

    def at(throw):
        f = dini.custom_fixed_point(shift_map, linear_solver=solver, throw=throw)
        return functools.partial(f(returning(shift_point)), jnp.ones(N))

    out = jax.jit(lambda x: {"forward": jax.jacfwd(at(False))(x)})(x)
    out |= jax.jit(lambda x: {"reverse": jax.jacrev(at(False))(x)})(x)
    expected = jax.jacfwd(shift_point)(x)
    for jacobian in out.values():
        wrong = np.abs(jacobian - expected) > 1e-6
        assert np.all(np.isnan(jacobian)[wrong])
        assert np.any(np.isnan(jacobian))
    with pytest.raises(Exception, match=r"stagnated|not solved|does not solve"):
        jax.block_until_ready(jax.jit(jax.grad(lambda x: at(True)(x)[0]))(x))


def test_normal_equations_at_condition_1e4_are_never_silently_off():
    """Conjugate gradients on the normal equations see the condition number squared."""
    matrix = skewed(1e4)
    inverse = np.linalg.inv(matrix)

    def solver(init, x):
        del init
        return jax.lax.stop_gradient(jnp.asarray(inverse) @ x)

    for steps in (12, 400):
        linear_solver = lx.Normal(lx.CG(rtol=1e-5, atol=1e-5, max_steps=steps))
        f = dini.custom_root(
            lambda z, x: jnp.asarray(matrix) @ z - x, linear_solver=linear_solver, throw=False
        )(solver)
        jacobian = jax.jacrev(f, 1)(jnp.ones(N), jnp.ones(N))
        for row, expected in zip(np.asarray(jacobian).T, inverse.T, strict=True):
            error = np.max(np.abs(row - expected)) / np.max(np.abs(expected))
            assert np.isnan(error) or error < 1e-5


# --- Singular equations --------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [slow(0.0), 1.0, -300.0])
def test_double_root_is_refused(centre):
    """(z − c)² = a at a = 0: z is right to the tolerance, and its derivative is infinite."""
    f = dini.implicit_root(lambda z, a: (z - centre) ** 2 - a, throw=False)
    out = mapped(lambda a: f(centre + 1.0, a), jnp.array([0.0, 4.0]))
    assert_right(lane(out, 1), compiled(lambda a: centre + jnp.sqrt(a), 4.0))
    assert_nan(lane(out, 0))


@pytest.mark.slow
def test_double_root_of_a_system_is_refused():
    def residual(z, a):
        return jnp.array([z[0] + 2 * z[1] - 5, (z[0] - 2 * z[1] + 3) ** 2 - a])

    f = dini.implicit_root(residual, throw=False)
    assert_nan(compiled(lambda a: f(jnp.array([3.0, 0.5]), a), 0.0))
    expected = compiled(lambda a: jnp.array([1 + jnp.sqrt(a) / 2, 2 - jnp.sqrt(a) / 4]), 4.0)
    assert_right(compiled(lambda a: f(jnp.array([3.0, 0.5]), a), 4.0), expected)


def test_double_root_that_a_foreign_solver_found_has_no_derivative():
    f = dini.custom_root(lambda z, a: z**2 - a)(lambda z, a: 0 * z)
    for transform in (jax.jacrev, jax.jacfwd, jax.hessian):
        with pytest.raises(Exception, match=r"singular|not solved|does not solve"):
            jax.block_until_ready(jax.jit(transform(f, 1))(1.0, 0.0))


@pytest.mark.slow
def test_singular_system_is_loud():
    def residual(z, x):
        return jnp.array([z[0] + z[1], 2 * z[0] + 2 * z[1]]) - x

    x = jnp.array([1.0, 2.0])
    f = dini.implicit_root(residual, throw=False)
    assert_nan(compiled(lambda x: f(jnp.ones(2), x), x))
    g = dini.custom_root(residual)(lambda z, x: jnp.array([x[0], 0 * x[0]]))
    assert_raises_everywhere(lambda x: g(jnp.ones(2), x), x, "singular|not solved|does not solve")


def test_line_of_fixed_points_has_no_derivative():
    """T(z) = (z₀, z₁/2 + a) has (c, 2a) for fixed points, with any c."""
    f = dini.implicit_fixed_point(lambda z, a: jnp.array([z[0], 0.5 * z[1] + a]), throw=False)
    out = compiled(lambda a: f(jnp.ones(2), a), 1.0)
    assert_nan({k: v for k, v in out.items() if k != "value"})


def test_saddle_maximum_and_flat_minimum_are_refused():
    def objective(z, kind, a):
        d = z - a
        return jnp.stack([d[0] ** 2 - d[1] ** 2, -(d @ d), d[0] ** 2, d @ d])[kind]

    def solver(z, kind, a):
        del kind
        return a + 0 * z

    for linear_solver in ("auto", lx.LU()):
        f = dini.custom_minimum(objective, linear_solver=linear_solver, throw=False)(solver)

        @jax.jit
        @jax.vmap
        def program(kind, f=f):
            return eager(lambda a: f(jnp.ones(2), kind, a), 2.0)

        out = program(jnp.arange(4))
        for i in range(3):
            assert_nan(lane(out, i))
        assert_right(lane(out, 3), {"value": 2 * jnp.ones(2), "reverse": jnp.ones(2)})


@pytest.mark.parametrize(("n", "solver"), [(4, lx.CG(1e-8, 1e-8)), (150, "auto")])
@pytest.mark.slow
def test_saddle_whose_hessian_is_not_formed_is_refused(n, solver):
    def objective(z, a):
        return jnp.sum((z - a) ** 2) - 1.5 * (z[1] - a) ** 2

    f = dini.custom_minimum(objective, linear_solver=solver, throw=False)(
        returning(lambda a: a * jnp.ones(n))
    )
    assert_nan(eager(lambda a: f(jnp.ones(n), a), 1.0))
    g = dini.custom_minimum(lambda z, a: -objective(z, a), linear_solver=solver, throw=False)(
        returning(lambda a: a * jnp.ones(n))
    )
    assert_nan(eager(lambda a: g(jnp.ones(n), a), 1.0))


@pytest.mark.parametrize("outer", [jnp.exp, slow(jnp.tanh)])
def test_float32_root_far_from_zero_is_no_fold(outer):
    """A root at 2000 is known to 1e-4 in float32, whatever the curvature there: 1."""
    f = dini.implicit_root(lambda z, a: outer(z - 2000) - a)
    start, a = jnp.float32(2000.0), jnp.float32(0.5)
    value, slope = jax.value_and_grad(f, 1)(start, a)
    inverse = {jnp.exp: jnp.log, jnp.tanh: jnp.arctanh}[outer]
    assert_close(value, 2000 + inverse(0.5), 2e-7)
    assert_close(slope, jax.grad(inverse)(0.5), 1e-3)
    fold = f.with_options(throw=False)
    double = dini.implicit_root(lambda z, a: (z - 1) ** 2 - a, throw=False)
    assert np.isfinite(fold(start, a))
    assert np.isnan(double(jnp.float32(2.3), jnp.float32(0.0)))


@pytest.mark.parametrize("decorator", ["custom_root", "implicit_fixed_point"])
def test_relative_tolerance_alone_accepts_an_exact_zero(decorator):
    if decorator == "custom_root":
        f = dini.custom_root(lambda z, a: a * z, atol=0.0, rtol=1e-8)(lambda z, a: 0 * z)
        assert f(jnp.ones(2), 3.0).tolist() == [0, 0]
    else:
        f = dini.implicit_fixed_point(
            lambda z, a: a * z + jnp.array([0.0, 1.0]), solver=dini.Picard(1e-8, 0.0)
        )
        assert_close(f(jnp.zeros(2), 0.5), jnp.array([0.0, 2.0]), 1e-7)


def test_maximum_of_one_number_is_refused():
    f = dini.custom_minimum(lambda z, a: -((z - a) ** 2), throw=False)(lambda z, a: a + 0 * z)
    assert_nan(eager(lambda a: f(1.0, a), 2.0))


# --- Scale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [slow(None), slow(optx.Newton(1e-8, 1e-8))])
def test_root_does_not_depend_on_the_scale_of_the_residual(solver):
    """Every scale takes the same z, derivatives and verdict: also that it is wrong."""
    f = dini.implicit_root(lambda z, a, scale: scale * (z**2 - a), solver=solver, throw=False)
    scales = jnp.array([1e12, 1.0, 1e-14])
    out = jax.jit(jax.vmap(lambda s: compiled(lambda a: f(1.0, a, s), 2.0)))(scales)
    for i in range(3):
        assert_right(lane(out, i), compiled(jnp.sqrt, 2.0))
    for scale in (1e12, 1e-14):
        assert_right(eager(lambda a, s=scale: f(1.0, a, s), 2.0), compiled(jnp.sqrt, 2.0))
    failed = jax.vmap(lambda s: f(1.0, -2.0, s))(scales)
    assert np.all(np.isnan(failed))


@pytest.mark.parametrize("scale", [1e12, 1e-14])
def test_check_of_a_foreign_root_does_not_depend_on_the_scale(scale):
    """A root off by 1e-3 is refused, one off by 1e-12 is accepted, at any scale of F."""

    def solver(z, a, off):
        return jax.lax.stop_gradient(jnp.sqrt(a) + off + 0 * z)

    f = dini.custom_root(lambda z, a, off: scale * (z**2 - a), throw=False)(solver)
    value, slope = jax.vmap(jax.value_and_grad(f, 1), (None, None, 0))(
        1.0, 2.0, jnp.array([1e-12, 1e-3])
    )
    assert_close(value[0], np.sqrt(2.0))
    assert_close(slope[0], np.sqrt(2.0) / 4)
    assert_nan({"value": value[1], "reverse": slope[1]})


ROWS = jnp.array([1e-10, 1.0, 1e10])
COLUMNS = jnp.array([1e6, 1.0, 1e-6])
TURN = jnp.array([[2.0, -1.0, 0.3], [0.7, 1.5, -0.4], [-0.2, 0.9, 3.0]])


def curved(z, x):
    return TURN @ jnp.sinh(z) - x


def curved_root(x):
    return jnp.arcsinh(jnp.linalg.solve(TURN, x))


@pytest.mark.parametrize(
    ("decorator", "solver"),
    [slow("implicit", lx.GMRES(1e-12, 1e-12)), slow("custom", "auto")],
    ids=["implicit, iterative", "custom, direct"],
)
def test_rows_scaled_differently_give_the_same_answer(decorator, solver):
    def residual(z, x):
        return ROWS * curved(z, x)

    f = dini.implicit_root(residual, linear_solver=solver)
    if decorator == "custom":
        f = dini.custom_root(residual, linear_solver=solver)(returning(curved_root))
    x = jnp.array([1.0, -0.5, 2.0])
    expected = compiled(curved_root, x)
    assert_right(compiled(lambda x: f(jnp.zeros(3), x), x), expected)
    assert_right(eager(lambda x: f(jnp.zeros(3), x), x), expected)


def test_unknowns_of_different_size_give_the_same_tangents():
    def residual(z, x):
        return curved(z / COLUMNS, x)

    f = dini.custom_root(residual, throw=False)(returning(lambda x: COLUMNS * curved_root(x)))
    x = jnp.array([1.0, -0.5, 2.0])
    out = jax.jit(lambda x: (f(jnp.zeros(3), x), jax.jacfwd(f, 1)(jnp.zeros(3), x)))(x)
    assert_close(out[0] / COLUMNS, curved_root(x))
    assert_close(out[1] / COLUMNS[:, None], jax.jacfwd(curved_root)(x), 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e12, 1e-14])
def test_minimum_of_a_rescaled_objective_is_right_or_loud(scale):
    def objective(z, a, scale):
        return scale * (jnp.exp(z) - a * z)

    f = dini.implicit_minimum(objective, throw=False)
    g = dini.implicit_least_squares(
        lambda z, a, scale: scale * jnp.stack([jnp.exp(z) - a, 0 * z]), throw=False
    )
    for h in (f, g):
        out = eager(lambda a, h=h: h(0.1, a, scale), 2.0)
        assert_right_or_nan(out, compiled(jnp.log, 2.0), 1e-7)
