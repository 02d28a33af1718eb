"""Derivatives at a root that is already known: root_jvp, root_vjp, root_jacobian."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import dini
from tests.support.compare import all_nan, assert_close
from tests.support.marks import slow
from tests.support.scenarios import (
    LINEAR,
    SQUARE,
    linear_residual,
    linear_root,
    square_residual,
)

ARGS = LINEAR[1]
TANGENTS = ({"shift": jnp.asarray(0.7), "slope": jnp.array([-0.3, 0.5, 1.1])}, jnp.asarray(-0.4))
COTANGENT = {"u": jnp.array([0.8, -1.2]), "v": jnp.asarray(0.5)}


@pytest.fixture(scope="module")
def root():
    return linear_root(*ARGS)


def powers(z, a, n, b):
    """x^n = a, x y = b, with a Python integer n."""
    x = 1.0
    for _ in range(n):
        x = x * z["x"]
    return {"f": x - a, "g": z["x"] * z["y"] - b}


def powers_root(a, n, b):
    return {"x": a ** (1 / n), "y": b / a ** (1 / n)}


POWERS = (2.0, 3, 5.0)


# --- root_jvp ------------------------------------------------------------------------------------


def test_root_jvp_agrees_with_the_closed_form(root):
    actual = dini.root_jvp(linear_residual, root, ARGS, TANGENTS)
    assert_close(actual, jax.jvp(linear_root, ARGS, TANGENTS)[1], 1e-12)


@pytest.mark.parametrize("still", [0, 1])
def test_root_jvp_takes_none_for_no_tangent(root, still):
    given = [t if i != still else None for i, t in enumerate(TANGENTS)]
    zeros = [t if i != still else jax.tree.map(jnp.zeros_like, t) for i, t in enumerate(TANGENTS)]
    actual = dini.root_jvp(linear_residual, root, ARGS, given)
    assert_close(actual, jax.jvp(linear_root, ARGS, tuple(zeros))[1], 1e-12)


def test_root_jvp_of_all_none_is_zero(root):
    actual = dini.root_jvp(linear_residual, root, ARGS, (None, None))
    assert_close(actual, jax.tree.map(jnp.zeros_like, root))


def test_root_jvp_keeps_integer_arguments_as_they_are():
    a, n, b = POWERS
    actual = dini.root_jvp(powers, powers_root(a, n, b), (a, n, b), (0.3, None, -0.2))
    expected = jax.jvp(lambda a, b: powers_root(a, n, b), (a, b), (0.3, -0.2))[1]
    assert_close(actual, expected, 1e-12)


def test_root_jvp_of_a_complex_root():
    (a,), t = SQUARE[1], jnp.array([0.3 - 0.2j, 1.0 + 0.5j])
    assert_close(dini.root_jvp(square_residual, jnp.sqrt(a), (a,), (t,)), t / (2 * jnp.sqrt(a)))


def test_root_jvp_refuses_a_wrong_number_of_tangents(root):
    with pytest.raises(ValueError, match="tangents"):
        dini.root_jvp(linear_residual, root, ARGS, TANGENTS[:1])


# --- root_vjp ------------------------------------------------------------------------------------


def test_root_vjp_agrees_with_the_closed_form(root):
    actual = dini.root_vjp(linear_residual, root, ARGS, COTANGENT)
    assert_close(actual, jax.vjp(linear_root, *ARGS)[1](COTANGENT), 1e-12)


def test_root_vjp_gives_none_to_integer_arguments():
    a, n, b = POWERS
    cotangent = {"x": 0.4, "y": -1.1}
    actual = dini.root_vjp(powers, powers_root(a, n, b), (a, n, b), cotangent)
    pullback = jax.vjp(lambda a, b: powers_root(a, n, b), a, b)[1]
    expected = pullback(jax.tree.map(jnp.asarray, cotangent))
    assert actual[1] is None
    assert_close((actual[0], actual[2]), expected, 1e-12)


def test_root_vjp_of_a_complex_root_is_the_transpose():
    (a,), ct = SQUARE[1], jnp.array([0.3 - 0.2j, 1.0 + 0.5j])
    expected = jax.vjp(jnp.sqrt, a)[1](ct)
    assert_close(dini.root_vjp(square_residual, jnp.sqrt(a), (a,), ct), expected)


# --- root_jacobian -------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [slow(0), 1, slow((0,)), (1, 0)])
def test_root_jacobian_counts_argnums_within_args(root, argnums):
    actual = dini.root_jacobian(linear_residual, root, ARGS, argnums)
    assert_close(actual, jax.jacfwd(linear_root, argnums)(*ARGS), 1e-12)


def test_root_jacobian_counts_from_the_end_too(root):
    del root
    f, z, args = lambda z, a, b: z - a * b, 6.0, (2.0, 3.0)
    assert_close(dini.root_jacobian(f, z, args, -1), 2.0)
    assert_close(dini.root_jacobian(f, z, args, (0, -1)), (3.0, 2.0))
    with pytest.raises(IndexError):
        dini.root_jacobian(f, z, args, 2)


def test_python_numbers_take_the_dtype_of_what_they_belong_to():
    f = lambda z, a: z**2 - a
    z, a = jnp.float32(2.0), jnp.float32(4.0)
    assert_close(dini.root_jvp(f, z, (a,), (1,)), 0.25, 1e-6)
    (cotangent,) = dini.root_vjp(f, z, (a,), 1.0)
    assert cotangent.dtype == jnp.float32


def test_root_jacobian_of_a_complex_root_in_many_arguments():
    f = lambda z, a: z - a[0] - 1j * a[1] ** 2
    jacobian = dini.root_jacobian(f, 1 + 4j, (jnp.array([1.0, 2.0]),))
    assert_close(jacobian, jnp.array([1.0 + 0j, 4j]))


def test_error_names_the_residual():
    def supply_and_demand(z, a):
        return z - a

    with pytest.raises(Exception, match=r"known root of .*supply_and_demand"):
        dini.root_jvp(supply_and_demand, 1.0, (2.0,), (1.0,))


def test_root_jacobian_of_many_arguments_and_few_unknowns():
    w = jnp.arange(1.0, 9.0)
    actual = dini.root_jacobian(lambda z, w: z**2 - w @ w, jnp.linalg.norm(w), (w,))
    assert_close(actual, w / jnp.linalg.norm(w), 1e-12)


def test_root_jacobian_beside_an_integer_argument():
    a, n, b = POWERS
    actual = dini.root_jacobian(powers, powers_root(a, n, b), POWERS, (0, 2))
    assert_close(actual, jax.jacrev(powers_root, (0, 2))(*POWERS), 1e-12)


# --- What all three share ------------------------------------------------------------------------


def _calls(residual, z, args, tangents, cotangent, **options):
    return {
        "root_jvp": lambda: dini.root_jvp(residual, z, args, tangents, **options),
        "root_vjp": lambda: dini.root_vjp(residual, z, args, cotangent, **options),
        "root_jacobian": lambda: dini.root_jacobian(residual, z, args, **options),
    }


THREE = ("root_jvp", "root_vjp", "root_jacobian")


@pytest.mark.parametrize("which", THREE)
def test_known_root_that_is_none_raises(which, root):
    wrong = root | {"v": root["v"] + 1e-3}
    call = _calls(linear_residual, wrong, ARGS, TANGENTS, COTANGENT)[which]
    with pytest.raises(RuntimeError, match=r"not solved|does not solve"):
        jax.block_until_ready(call())


@pytest.mark.parametrize("which", THREE)
def test_known_root_that_is_none_gives_nan_without_throw(which, root):
    wrong = root | {"v": root["v"] + 1e-3}
    call = _calls(linear_residual, wrong, ARGS, TANGENTS, COTANGENT, throw=False)[which]
    assert all_nan(call())


@pytest.mark.parametrize("which", THREE)
def test_known_root_is_checked_by_the_tolerances_given(which, root):
    near = root | {"v": root["v"] + 1e-5}
    right = _calls(linear_residual, root, ARGS, TANGENTS, COTANGENT)[which]()
    call = _calls(linear_residual, near, ARGS, TANGENTS, COTANGENT, rtol=1e-3, atol=1e-3)[which]
    assert_close(call(), right, 1e-4)


@pytest.mark.parametrize("which", THREE)
def test_known_root_takes_the_linear_solve_options(which, root):
    options = {"linear_solver": lx.GMRES(1e-12, 1e-12)}
    right = _calls(linear_residual, root, ARGS, TANGENTS, COTANGENT)[which]()
    call = _calls(linear_residual, root, ARGS, TANGENTS, COTANGENT, **options)[which]
    assert_close(call(), right, 1e-9)


@pytest.mark.parametrize("which", THREE)
def test_known_root_refuses_aux(which, root):
    call = _calls(linear_residual, root, ARGS, TANGENTS, COTANGENT, has_aux=True)[which]
    with pytest.raises(TypeError, match="aux"):
        call()


@pytest.mark.parametrize("which", THREE)
def test_known_root_where_the_jacobian_is_singular_raises(which):
    z, args = jnp.zeros(2), (jnp.zeros(2),)
    call = _calls(lambda z, a: z**2 - a, z, args, (jnp.ones(2),), jnp.ones(2))[which]
    with pytest.raises(RuntimeError):
        jax.block_until_ready(call())


def test_known_roots_under_jit_and_vmap():
    def both(a, t, ct):
        x = jnp.sqrt(a)
        (pulled,) = dini.root_vjp(square_residual, x, (a,), ct)
        return (
            dini.root_jvp(square_residual, x, (a,), (t,)),
            pulled,
            dini.root_jacobian(square_residual, x, (a,)),
        )

    a, t, ct = jnp.array([1.0, 4.0, 9.0]), jnp.array([1.0, -1.0, 0.5]), jnp.array([2.0, 1.0, -3.0])
    actual = jax.jit(jax.vmap(both))(a, t, ct)
    slope = 1 / (2 * jnp.sqrt(a))
    assert_close(actual, (t * slope, ct * slope, slope), 1e-12)


@pytest.mark.slow
def test_root_vjp_differentiates_to_second_order():
    """With z the root as a function of the arguments, root_vjp is its gradient, to every order."""

    def gradient(args):
        return dini.root_vjp(linear_residual, linear_root(*args), args, COTANGENT)

    def objective(args):
        return sum(jnp.vdot(COTANGENT[k], z) for k, z in linear_root(*args).items())

    actual = jax.jit(jax.jacfwd(gradient))(ARGS)
    assert_close(actual, jax.hessian(objective)(ARGS), 1e-10)


def test_known_root_captures_arrays_that_are_differentiated():
    def f(k):
        return dini.root_jvp(lambda z, a: z**2 - a * k, jnp.sqrt(2 * k), (2.0,), (1.0,))

    # z = √(a k), ∂z/∂a = ½ √(k / a), and that in k.
    np.testing.assert_allclose(f(3.0), 0.5 * np.sqrt(3 / 2), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(f)(3.0), 0.25 / np.sqrt(6), rtol=1e-12)
