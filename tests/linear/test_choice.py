"""The choice of a linear solver, and the Krylov method that falls back."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import dini
from dini.linear import choose
from tests.support.compare import assert_close
from tests.support.outcome import assert_nan

RTOL = 1e-10


@pytest.mark.parametrize(
    ("size", "tags", "kind"),
    [
        (3, (), lx.AutoLinearSolver),
        (128, (), lx.AutoLinearSolver),
        (100_000, (lx.tridiagonal_tag,), lx.AutoLinearSolver),
        (100_000, (lx.diagonal_tag,), lx.AutoLinearSolver),
    ],
)
def test_small_and_structured_systems_are_solved_directly(size, tags, kind):
    assert isinstance(choose("auto", size, frozenset(tags), RTOL), kind)


def test_large_systems_are_solved_by_krylov_methods_with_a_fallback():
    definite = frozenset({lx.positive_semidefinite_tag})
    kinds = {
        (257, frozenset()): (lx.BiCGStab, lx.LU),
        (4097, frozenset()): (lx.BiCGStab, lx.GMRES),
        (257, definite): (lx.CG, lx.LU),
    }
    for (size, tags), (first, second) in kinds.items():
        solver = choose("auto", size, tags, RTOL)
        assert isinstance(vars(solver)["first"], first)
        assert isinstance(vars(solver)["second"], second)


def test_a_solver_that_is_named_is_taken():
    solver = lx.QR()
    assert choose(solver, 10_000, frozenset(), RTOL) is solver
    with pytest.raises(ValueError, match=r'"auto" or a Lineax solver.*\'lu\''):
        choose("lu", 3, frozenset(), RTOL)


N = 150
WEIGHTS = jnp.linspace(1.0, 2.0, N)
SLOPES = jnp.linspace(-0.3, 0.3, N)


def residual(z, x, shift):
    """z + a little of its neighbour, or nothing but a cyclic shift, which stalls BiCGStab."""
    mild = z + SLOPES * jnp.roll(z, 1)
    return jnp.where(shift, WEIGHTS * jnp.roll(z, 1), mild) - x


@pytest.mark.parametrize("shift", [False, True])
def test_krylov_method_and_its_fallback_are_exact(shift):
    matrix = np.asarray(jax.jacfwd(lambda z: residual(z, 0.0, shift))(jnp.zeros(N)))
    x = jnp.sin(1.0 + jnp.arange(N))
    inverse = np.linalg.inv(matrix)
    point = jnp.asarray(inverse @ np.asarray(x))
    f = dini.custom_root(residual)(lambda z, x, shift: jax.lax.stop_gradient(z))
    v = jnp.cos(jnp.arange(N) * 0.7)

    @jax.jit
    def program(x):
        g = lambda x: f(point, x, shift)
        return jax.jvp(g, (x,), (v,))[1], jax.vjp(g, x)[1](v)[0]

    v_ = np.asarray(v)
    assert_close(program(x), (inverse @ v_, inverse.T @ v_), 1e-6)


def test_singular_large_system_is_loud():
    f = dini.custom_root(lambda z, x: z - jnp.roll(z, 1) - x, throw=False)(lambda z, x: 0 * x)
    out = jax.jit(jax.grad(lambda x: f(jnp.zeros(N), x)[0]))(jnp.zeros(N))
    assert_nan({"reverse": out})
