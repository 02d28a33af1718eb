"""The adjoints: exact by any linear solver, truncated, and unrolled; ours under Optimistix too."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow_among

N = 5
_random = np.random.default_rng(0)
MATRIX = jnp.asarray(_random.normal(size=(N, N)) / 5)
RIGHT = jnp.asarray(_random.normal(size=N))
_g = _random.normal(size=(N, N))
GRAM = jnp.asarray(_g @ _g.T / N + np.eye(N))
BAND = jnp.asarray(
    np.diag(4 + _random.random(N))
    + np.diag(_random.random(N - 1), 1)
    + np.diag(-_random.random(N - 1), -1)
)


def contraction(z, b):
    return jnp.tanh(MATRIX @ z) + b


def asymmetric(z, b):
    return z - contraction(z, b)


def definite(z, b):
    return GRAM @ z + 0.1 * z**3 - b


def banded(z, b):
    return BAND @ z + 0.1 * jnp.sin(z) - b


def upper(z, b):
    return jnp.triu(BAND + 0.3) @ z + 0.1 * z**3 - b


def diagonal(z, b):
    return z**3 + z - b


def newton(residual, b):
    z = jnp.zeros(N)
    for _ in range(30):
        z = z - jnp.linalg.solve(jax.jacfwd(residual)(z, b), residual(z, b))
    return z


def jacobian(residual, z, b):
    """−(∂zF)⁻¹ ∂bF by NumPy, at a point that Newton's method found."""
    return -np.linalg.solve(jax.jacfwd(residual)(z, b), jax.jacfwd(residual, 1)(z, b))


def both_modes(f):
    return jax.jit(lambda b: (jax.jacrev(f)(b), jax.jacfwd(f)(b)))(RIGHT)


def found(z, b):
    """A solver that was handed the solution."""
    del b
    return jax.lax.stop_gradient(z)


def check_foreign(residual, rtol=1e-9, decorator=dini.custom_root, equation=None, **options):
    z = jax.jit(newton, static_argnums=0)(residual, RIGHT)
    f = decorator(equation or residual, **options)(found)
    expected = jacobian(residual, z, RIGHT)
    assert_close(both_modes(lambda b: f(z, b)), (expected, expected), rtol)


SYMMETRIC = frozenset({lx.symmetric_tag, lx.positive_semidefinite_tag})
SOLVERS = {
    "LU": (asymmetric, lx.LU(), frozenset()),
    "QR": (asymmetric, lx.QR(), frozenset()),
    "SVD": (asymmetric, lx.SVD(), frozenset()),
    "GMRES": (asymmetric, lx.GMRES(1e-10, 1e-10), frozenset()),
    "BiCGStab": (asymmetric, lx.BiCGStab(1e-10, 1e-10), frozenset()),
    "Normal(CG)": (asymmetric, lx.Normal(lx.CG(1e-12, 1e-12)), frozenset()),
    "Auto, any": (asymmetric, lx.AutoLinearSolver(well_posed=None), frozenset()),
    "Auto, ill-posed": (asymmetric, lx.AutoLinearSolver(well_posed=False), frozenset()),
    "Cholesky": (definite, lx.Cholesky(), SYMMETRIC),
    "CG": (definite, lx.CG(1e-12, 1e-12), SYMMETRIC),
    "Tridiagonal": (banded, lx.Tridiagonal(), frozenset({lx.tridiagonal_tag})),
    "Triangular": (upper, lx.Triangular(), frozenset({lx.upper_triangular_tag})),
    "Diagonal": (diagonal, lx.Diagonal(), frozenset({lx.diagonal_tag})),
    "auto, tridiagonal": (banded, "auto", frozenset({lx.tridiagonal_tag})),
    "auto, diagonal": (diagonal, "auto", frozenset({lx.diagonal_tag})),
}


@pytest.mark.parametrize("name", slow_among(SOLVERS, *(set(SOLVERS) - {"GMRES", "Cholesky"})))
def test_linear_solver_gives_the_exact_derivative(name):
    residual, solver, tags = SOLVERS[name]
    check_foreign(residual, linear_solver=solver, tags=tags)


@pytest.mark.slow
def test_definite_solver_serves_a_minimum_whose_hessian_it_is_told_nothing_about():
    def objective(z, b):
        return 0.5 * z @ GRAM @ z + 0.025 * jnp.sum(z**4) - b @ z

    for solver in (lx.Cholesky(), lx.CG(1e-12, 1e-12)):
        check_foreign(
            jax.grad(objective),
            decorator=dini.custom_minimum,
            equation=objective,
            linear_solver=solver,
        )


def test_untagged_operator_is_refused_by_a_definite_solver():
    with pytest.raises(ValueError, match="definite"):
        check_foreign(definite, linear_solver=lx.CG(1e-10, 1e-10))


# --- Preconditioners -----------------------------------------------------------------------------
# With an exact inverse GMRES is done after one step, and with its transpose it is not.


def inverse(b):
    z = newton(asymmetric, b)
    return jnp.linalg.inv(jax.jacfwd(asymmetric)(z, b))


ONE_STEP = lx.GMRES(1e-9, 1e-9, restart=2, max_steps=2)
FORMS = {
    "operator": lx.MatrixLinearOperator,
    "function": lambda p: lambda v: p @ v,
}


@pytest.mark.parametrize("form", slow_among(FORMS, "function"))
def test_preconditioner_is_used_and_transposed_for_the_adjoint(form):
    p = FORMS[form](inverse(RIGHT))
    check_foreign(asymmetric, linear_solver=ONE_STEP, preconditioner=p)
    check_foreign(asymmetric, adjoint=dini.Implicit(ONE_STEP, p))


@pytest.mark.slow
def test_preconditioner_that_is_transposed_by_mistake_is_loud():
    p = inverse(RIGHT)
    for wrong in (p.T, None):
        options = {"preconditioner": None if wrong is None else lx.MatrixLinearOperator(wrong)}
        f = dini.custom_fixed_point(contraction, linear_solver=ONE_STEP, throw=False, **options)
        z = newton(asymmetric, RIGHT)
        for columns in both_modes(lambda b, f=f, z=z: f(found)(z, b)):
            assert np.any(np.isnan(columns))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.slow
def test_preconditioner_may_depend_on_what_is_differentiated(form):
    """It is no part of the derivative, of any order."""
    z = newton(asymmetric, RIGHT)

    def f(b, p=None):
        solver = "auto" if p is None else lx.GMRES(1e-10, 1e-10, restart=3, max_steps=6)
        p = None if p is None else FORMS[form](p)
        solution = dini.custom_root(asymmetric, linear_solver=solver, preconditioner=p)(found)
        return jnp.sum(solution(z, b) ** 2)

    def conditioned(b):
        return f(b, jnp.linalg.inv(jax.jacfwd(asymmetric)(z, b)) * (1 + b[0] - RIGHT[0]))

    @jax.jit
    def program(b):
        return [(jax.grad(g)(b), jax.jacfwd(g)(b), jax.hessian(g)(b)) for g in (conditioned, f)]

    assert_close(*program(RIGHT))


# --- Truncated series ----------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_neumann_sums_exactly_so_many_terms(terms):
    z = newton(asymmetric, RIGHT)
    slope = np.asarray(jax.jacfwd(contraction)(z, RIGHT))
    expected = sum(np.linalg.matrix_power(slope, i) for i in range(terms))
    forms = {
        dini.custom_fixed_point: contraction,
        dini.custom_root: lambda z, b: contraction(z, b) - z,
    }
    for decorator, equation in forms.items():
        f = decorator(equation, adjoint=dini.Neumann(terms))(found)
        assert_close(both_modes(lambda b, f=f: f(z, b)), (expected, expected), 1e-13)


def test_neumann_series_that_diverges_is_loud():
    steep = jnp.asarray(np.diag([2.0, 0.5]))
    z = jnp.array([-1.0, 2.0])

    def f(b, throw, terms=20):
        adjoint = dini.Neumann(terms)
        return dini.custom_fixed_point(lambda z, b: steep @ z + b, adjoint=adjoint, throw=throw)(
            found
        )(z, b)

    for transform in (jax.jacrev, jax.jacfwd):
        assert np.any(np.isnan(jax.jit(transform(lambda b: f(b, False)))(jnp.ones(2))))
        with pytest.raises(Exception, match=r"Neumann|contraction"):
            jax.block_until_ready(jax.jit(transform(lambda b: f(b, True)))(jnp.ones(2)))


def test_neumann_needs_a_term():
    with pytest.raises(ValueError, match="at least one term"):
        dini.Neumann(0)


# --- With Optimistix -----------------------------------------------------------------------------

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def overdetermined(z, b):
    """Small enough for z − ∇ ½ |r|² to be a contraction, as the Neumann series needs."""
    return 0.7 * jnp.concatenate([asymmetric(z, b), 0.3 * z[:2]])


def half_square(z, b):
    return 0.5 * jnp.sum(overdetermined(z, b) ** 2)


UNDER_OPTIMISTIX = {
    "fixed_point": (optx.fixed_point, contraction, optx.FixedPointIteration(**TIGHT), asymmetric),
    "our solver": (optx.fixed_point, contraction, dini.Anderson(**TIGHT), asymmetric),
    "root_find": (
        optx.root_find,
        lambda z, b: -asymmetric(z, b),
        optx.Newton(**TIGHT),
        asymmetric,
    ),
    "minimise": (optx.minimise, half_square, optx.BFGS(**TIGHT), jax.grad(half_square)),
    "least_squares": (
        optx.least_squares,
        overdetermined,
        optx.LevenbergMarquardt(**TIGHT),
        jax.grad(half_square),
    ),
}


@pytest.mark.parametrize("name", slow_among(UNDER_OPTIMISTIX, "minimise"))
@pytest.mark.parametrize(
    "adjoint", [dini.Implicit(), dini.Neumann(80)], ids=lambda a: type(a).__name__
)
def test_our_adjoint_works_under_optimistix(name, adjoint):
    search, equation, solver, residual = UNDER_OPTIMISTIX[name]

    def f(b):
        return search(equation, solver, jnp.zeros(N), b, adjoint=adjoint, max_steps=1000).value

    expected = jacobian(residual, jax.jit(newton, static_argnums=0)(residual, RIGHT), RIGHT)
    rtol = 1e-9 if isinstance(adjoint, dini.Implicit) else 1e-5
    assert_close(both_modes(f), (expected, expected), rtol)


DECORATED = {
    "fixed point": (dini.implicit_fixed_point, contraction, asymmetric),
    "root": (dini.implicit_root, asymmetric, asymmetric),
    "least squares": (dini.implicit_least_squares, overdetermined, jax.grad(half_square)),
}


@pytest.mark.parametrize("name", slow_among(DECORATED, "root", "least squares"))
@pytest.mark.parametrize(
    "adjoint",
    [optx.ImplicitAdjoint(), optx.RecursiveCheckpointAdjoint()],
    ids=lambda a: type(a).__name__,
)
def test_optimistix_adjoint_works_under_our_decorators(name, adjoint):
    decorator, equation, residual = DECORATED[name]
    f = decorator(equation, adjoint=adjoint)
    z, actual = jax.jit(lambda b: (f(jnp.zeros(N), b), jax.jacrev(f, 1)(jnp.zeros(N), b)))(RIGHT)
    assert_close(actual, jacobian(residual, z, RIGHT), 1e-7)


def test_optimistix_adjoint_works_on_a_tree_under_a_minimum():
    def objective(z, a):
        return jnp.exp(z["x"]) - a * z["x"] + (z["y"] - z["x"]) ** 2

    f = dini.implicit_minimum(objective, adjoint=optx.ImplicitAdjoint())
    slope = jax.jit(jax.jacfwd(lambda a: f({"x": 0.0, "y": 0.0}, a)))(2.0)
    assert_close(slope, {"x": 0.5, "y": 0.5}, 1e-7)


def test_unrolling_a_foreign_solver_is_refused():
    f = dini.custom_root(asymmetric, adjoint=optx.RecursiveCheckpointAdjoint())(found)
    with pytest.raises(TypeError, match="foreign solver is never differentiated"):
        jax.grad(lambda b: f(jnp.zeros(N), b).sum())(RIGHT)
