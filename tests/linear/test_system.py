"""One linear system: solved and checked, both ways; and the guard around a value."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from dini.linear import LinearConfig, System, guarded
from tests.support.compare import assert_close

MATRIX = jnp.array([[2.0, -1.0, 0.3], [0.7, 1.5, -0.4], [-0.2, 0.9, 3.0]])
RIGHT = jnp.array([1.0, -2.0, 0.5])
OK = jnp.asarray(False)


def system(matrix, **options):
    matrix = jnp.asarray(matrix)
    struct = jax.ShapeDtypeStruct(RIGHT.shape, RIGHT.dtype)
    eps = float(jnp.finfo(RIGHT.dtype).eps)
    weight = jnp.ones_like(RIGHT)
    return System(LinearConfig(throw=False, **options), lambda v: matrix @ v, struct, eps, weight)


@pytest.mark.parametrize("solver", ["auto", lx.GMRES(1e-12, 1e-12)])
def test_inverse_is_linear_and_transposable(solver):
    s = system(MATRIX, solver=solver)

    @jax.jit
    def program(b):
        def f(b):
            return s.inverse(s.factorise(), b, OK)

        return f(b), jax.jacfwd(f)(b), jax.jacrev(f)(b)

    inverse = np.linalg.inv(MATRIX)
    assert_close(program(RIGHT), (inverse @ RIGHT, inverse, inverse))


@pytest.mark.parametrize("solver", ["auto", lx.GMRES(1e-12, 1e-12)])
def test_solution_scales_with_its_right_hand_side(solver):
    s = system(MATRIX, solver=solver)
    solve = jax.jit(lambda b: s.inverse(s.factorise(), b, OK))
    x = solve(RIGHT)
    for size in (1e-300, 1e300):
        np.testing.assert_allclose(solve(size * RIGHT) / size, x, rtol=1e-13)
    assert not np.any(solve(0 * RIGHT))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_right_hand_side_that_is_not_finite_gives_nan_throughout(bad):
    s = system(MATRIX)
    assert np.all(np.isnan(s.inverse(s.factorise(), RIGHT.at[1].set(bad), OK)))


def test_failed_equation_gives_nan_throughout():
    s = system(MATRIX)
    for b in (RIGHT, 0 * RIGHT):
        assert np.all(np.isnan(s.inverse(s.factorise(), b, jnp.asarray(True))))


@pytest.mark.parametrize(
    "matrix",
    [
        0 * MATRIX,
        MATRIX.at[2].set(MATRIX[0]),
        MATRIX.at[2].set(0.3 * MATRIX[0] + 0.7 * MATRIX[1]),  # singular but for rounding
        MATRIX * np.nan,
    ],
)
def test_singular_matrix_gives_nan(matrix):
    s = system(matrix)
    f = lambda b: s.inverse(s.factorise(), b, OK)
    assert np.all(np.isnan(f(RIGHT)))
    assert np.all(np.isnan(jax.vjp(f, RIGHT)[1](RIGHT)[0]))


def test_direct_solver_is_factorised_once_and_an_iterative_one_not_at_all():
    assert system(MATRIX, solver=lx.LU()).factorise() is not None
    assert system(MATRIX, solver=lx.GMRES(1e-8, 1e-8)).factorise() is None


# --- guarded -------------------------------------------------------------------------------------


def test_guard_is_the_identity_where_nothing_failed():
    tree = {"x": jnp.arange(3.0), "n": jnp.arange(2), "z": jnp.asarray(1 + 2j)}
    for throw in (True, False):
        same = guarded(tree, OK, "failed", throw)
        assert all(
            np.array_equal(same[k], tree[k]) and same[k].dtype == tree[k].dtype for k in tree
        )


@pytest.mark.parametrize("order", [0, 1, 2])
def test_guard_holds_for_every_derivative(order):
    """The second derivative of a guarded x is zero; where it failed, it is NaN or an error."""

    def f(x, throw):
        return guarded(x, x < 0, "it failed", throw) ** 2

    for mode in (jax.jacfwd, jax.jacrev):
        g = f
        for _ in range(order):
            g = mode(g)
        assert_close(jax.jit(g, static_argnums=1)(3.0, False), (9.0, 6.0, 2.0)[order])
        assert np.isnan(jax.jit(g, static_argnums=1)(-3.0, False))
        with pytest.raises(Exception, match="it failed"):
            jax.block_until_ready(jax.jit(g, static_argnums=1)(-3.0, True))
