"""Regressions with certified estimates: how the estimates respond to each observation."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.optimize
import sympy

import dini
from tests.support.marks import case
from tests.support.nist import REGRESSIONS

_QUICK = ("Misra1a",)


# With r = y − m(b, x) the estimate solves Jᵀ r = 0, where J = ∂m/∂b. Differentiated,
# ∂b/∂yᵢ = A⁻¹ ∂bmᵢ and ∂b/∂xᵢ = A⁻¹ (rᵢ ∂x∂bmᵢ − ∂xmᵢ ∂bmᵢ), with A = JᵀJ − Σ rᵢ ∂²bmᵢ.
def reference(problem):
    """The estimate and its derivatives to y and x, in 50 digits; those of the model by SymPy."""
    n = len(problem.certified)
    b, x = sympy.symbols(f"b:{n}"), sympy.Symbol("x")
    model = problem.model(b, x, sympy)
    first = [sympy.diff(model, p) for p in b]
    parts = (
        model,
        sympy.diff(model, x),
        sympy.Matrix(first),
        sympy.Matrix([sympy.diff(f, x) for f in first]),
        sympy.Matrix(n, n, lambda i, j: sympy.diff(first[i], b[j])),
    )
    evaluate = sympy.lambdify([*b, x], parts, "mpmath", cse=True)
    with mpmath.workdps(50):
        ys, xs = (list(map(mpmath.mpf, text.split())) for text in (problem.y, problem.x))
        estimate = mpmath.matrix(problem.certified)
        for _ in range(6):
            a, score, by_y, by_x = mpmath.zeros(n, n), mpmath.zeros(n, 1), [], []
            for yi, xi in zip(ys, xs, strict=True):
                m, slope, gradient, across, curvature = evaluate(*estimate, xi)
                a += gradient * gradient.T - (yi - m) * curvature
                score += gradient * (yi - m)
                by_y.append(gradient)
                by_x.append((yi - m) * across - slope * gradient)
            inverse = mpmath.inverse(a)
            estimate += inverse * score
        columns = ([inverse * v for v in vs] for vs in (by_y, by_x))
        return np.array(list(estimate), float), *(
            np.array([list(v) for v in vs], float).T for vs in columns
        )


def estimator(problem):
    """Least squares by SciPy on the host; its derivatives by what the estimate satisfies."""

    def residuals(b, y, x):
        return y - problem.model(b, x, jnp)

    @dini.custom_least_squares(residuals)
    @dini.external(like="start")
    def estimate(start, y, x):
        model = lambda b: problem.model(b, x, np)
        b = scipy.optimize.least_squares(
            lambda b: y - model(b), start, jac="cs", x_scale="jac", xtol=1e-12, max_nfev=2000
        ).x
        for _ in range(200):  # Gauss and Newton's steps, for the last digits
            steps = 1e-30j * np.diag(b)
            jacobian = np.stack([model(b + step).imag for step in steps], axis=1) / 1e-30
            b = b * (1 + np.linalg.lstsq(jacobian, y - model(b))[0])
        return b

    return estimate


@pytest.mark.parametrize(
    "problem", [case(p, id=p.name, quick=p.name in _QUICK) for p in REGRESSIONS]
)
def test_estimates_respond_to_the_data_as_their_condition_says(problem):
    """In both modes, each estimate in units of its own."""
    y, x = problem.data
    estimate, start = estimator(problem), jnp.asarray(problem.start, float)

    def in_units(y, x):
        return estimate(start, y, x) / jnp.asarray(problem.certified)

    value, *expected = reference(problem)
    np.testing.assert_allclose(value, problem.certified, rtol=1e-9)
    np.testing.assert_allclose(in_units(y, x), 1.0, rtol=1e-8)
    for mode in (jax.jacrev, jax.jacfwd):
        for actual, right in zip(jax.jit(mode(in_units, (0, 1)))(y, x), expected, strict=True):
            units = right / np.array(problem.certified)[:, None]
            error = np.abs(actual - units).max(1) / np.abs(units).max(1)
            assert error.max() < 1e-8, (mode, error)


@pytest.mark.slow
@pytest.mark.parametrize("problem", REGRESSIONS[:2], ids=str)
def test_equation_itself_finds_the_certified_estimates(problem):
    y, x = problem.data
    unit = jnp.asarray(problem.certified)
    fit = dini.implicit_least_squares(lambda b, y, x: y - problem.model(b * unit, x, jnp))
    start = jnp.asarray(problem.start) / unit
    _, by_y, _ = reference(problem)
    np.testing.assert_allclose(fit(start, y, x), 1.0, rtol=1e-9)
    actual = jax.jacrev(fit, 1)(start, y, x)
    units = by_y / np.array(problem.certified)[:, None]
    assert np.abs(actual - units).max() < 1e-8 * np.abs(units).max()
