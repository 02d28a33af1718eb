"""Precision, complex numbers, residuals and host functions under a custom rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import all_nan, assert_close

X = jnp.array([0.3, -0.7])


@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
@pytest.mark.parametrize(("inner", "outer"), [("float32", "float64"), ("float64", "float32")])
def test_custom_rule_casts_to_the_precision_of_its_primal(kind, inner, outer):
    f = dini.custom_rule(lambda x: jax.lax.stop_gradient(3 * x))
    three = jnp.asarray(3, inner)
    f.defjvp(lambda p, t: (f(*p), three * t[0].astype(inner))) if kind == "jvp" else None
    f.defvjp(lambda out, p, ct: (three * ct.astype(inner),)) if kind == "vjp" else None
    f.defpartials(lambda out, x: (jnp.full_like(x, 3, inner),)) if kind == "partials" else None
    x = X.astype(outer)
    for jacobian in (jax.jacfwd(f)(x), jax.jit(jax.jacrev(f))(x)):
        assert jacobian.dtype == outer
        assert_close(jacobian, 3 * jnp.eye(2, dtype=outer), 1e-7)


def test_custom_rule_casts_a_real_cotangent_to_a_complex_argument():
    f = dini.custom_rule(lambda z: jax.lax.stop_gradient(jnp.real(z)))
    f.defvjp(lambda out, primals, ct: (2 * ct,))
    gradient = jax.grad(f)(1.0 + 1j)
    assert (gradient.dtype, gradient) == (jnp.complex128, 2)


def conjugated(z, a):
    """Not holomorphic."""
    return {"p": a * z * jnp.conj(z) + 1j * z**2, "q": jnp.sum(jnp.abs(z) ** 2)}


def complex_rule(kind):
    f = dini.custom_rule(lambda z, a: jax.lax.stop_gradient(conjugated(z, a)))

    def push(z, a, v, w):
        both = z.conj() * v + z * v.conj()
        return {"p": w * z * z.conj() + a * both + 2j * z * v, "q": jnp.sum(both.real)}

    if kind == "jvp":
        f.defjvp(lambda p, t: (f(*p), push(*p, *t)))
    else:

        @f.defvjp
        def _(_, primals, ct):
            z, a = primals
            c = a * ct["p"]
            back = c * z.conj() + jnp.conj(c * z) + 2j * z * ct["p"] + 2 * ct["q"] * z.conj()
            return back, jnp.sum((ct["p"] * z * z.conj()).real)

    return f


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_custom_rule_of_complex_numbers(kind):
    z, v = jnp.array([1.0 + 2j, -0.4j]), jnp.array([0.3j, 1.0 - 1j])
    ct = {"p": jnp.array([0.2 + 1j, 2.0 - 0.5j]), "q": jnp.asarray(0.7)}

    def all_of(f):
        loss = lambda z, a: jnp.sum(jnp.sin(f(z, a)["p"]).real) + f(z, a)["q"] ** 2
        return jax.jit(
            lambda: {
                "jvp": jax.jvp(f, (z, 0.8), (v, -1.0)),
                "vjp": jax.vjp(f, z, 0.8)[1](ct),
                "hvp": jax.jvp(jax.grad(loss, (0, 1)), (z, 0.8), (v, -1.0)),
                "vmap": jax.vmap(jax.grad(loss), (None, 0))(z, jnp.array([0.1, 0.9])),
            }
        )()

    actual, expected = all_of(complex_rule(kind)), all_of(conjugated)
    for name in expected:
        assert_close(actual[name], expected[name], 1e-14)


def test_custom_rule_partials_of_complex_numbers():
    f = dini.custom_rule(lambda z, a: jax.lax.stop_gradient(a * z**2))
    f.defpartials(lambda out, z, a: (2 * a * z, z**2))
    at, ct = (jnp.array([1.0 + 2j, -0.4j]), 0.7), jnp.array([0.2 + 1j, 2.0 - 0.5j])
    plain = lambda z, a: a * z**2
    assert_close(jax.vjp(f, *at)[1](ct), jax.vjp(plain, *at)[1](ct), 1e-15)
    assert_close(jax.jvp(f, at, at), jax.jvp(plain, at, at), 1e-15)


# --- Residuals and host functions ---


def hidden(fun, *args, calls=None):
    """A NumPy function, which JAX cannot differentiate; notes its calls."""

    def call(*args):
        if calls is not None:
            calls.append(1)
        return jax.tree.map(np.asarray, fun(*map(np.asarray, args)))

    like = jax.eval_shape(fun, *args)
    return jax.pure_callback(call, like, *args, vmap_method="sequential")


A = jnp.array([[2.0, 1.0], [0.3, 3.0]])


def solution(factorise):
    @dini.custom_rule(has_residuals=True)
    def solve(a, b):
        lu = factorise(a)
        return jax.scipy.linalg.lu_solve(lu, b), lu

    @solve.defvjp
    def _(seen, _, ct):
        x, lu = seen
        w = jax.scipy.linalg.lu_solve(lu, ct, trans=1)
        return -jnp.outer(w, x), w

    return solve


def test_custom_rule_reuses_a_factorisation():
    made = []

    def factorise(a):
        made.append(1)
        return jax.scipy.linalg.lu_factor(a)

    solve = solution(factorise)
    loss = lambda solve: lambda a: jnp.sum(solve(a, X) ** 2)
    expected = jax.jit(jax.grad(loss(jnp.linalg.solve)))(A)
    assert_close(jax.grad(loss(solve))(A), expected, 1e-13)
    assert len(made) == 1
    hessian = jax.jit(jax.hessian(loss(jnp.linalg.solve)))(A)
    assert_close(jax.jit(jax.hessian(loss(solve)))(A), hessian, 1e-12)
    assert_close(jax.jit(jax.jacrev(jax.grad(loss(solve))))(A), hessian, 1e-12)


def test_custom_rule_second_derivative_is_nan_where_the_residuals_have_none():
    @dini.custom_rule(has_residuals=True)
    def cube(x):
        slope = hidden(lambda x: 3 * x**2, x)
        return jax.lax.stop_gradient(x**3), slope

    cube.defvjp(lambda seen, primals, ct: (seen[1] * ct,))
    assert jax.grad(cube)(2.0) == 12
    assert jax.jit(jax.jvp, static_argnums=0)(cube, (2.0,), (1.0,))[1] == 12
    for second in (jax.hessian(cube), jax.jit(jax.hessian(cube)), jax.jacfwd(jax.jacfwd(cube))):
        assert all_nan(second(2.0))
    assert all_nan(jax.grad(jax.grad(cube))(2.0))


def test_custom_rule_with_residuals_must_return_a_pair():
    f = dini.custom_rule(has_residuals=True)(jnp.sin)
    with pytest.raises(TypeError, match=r"must return \(out, residuals\)"):
        f(0.5)


@pytest.mark.parametrize("kind", ["jvp", "vjp", "partials"])
@pytest.mark.parametrize("compiled", [False, True])
def test_custom_rule_calls_a_host_function_once(kind, compiled):
    calls = []
    f = dini.custom_rule(lambda x: hidden(lambda x: x**3, x, calls=calls))
    if kind == "jvp":
        f.defjvp(lambda p, t: (f(*p), 3 * p[0] ** 2 * t[0]))
    elif kind == "vjp":
        f.defvjp(lambda out, p, ct: (3 * p[0] ** 2 * ct,))
    else:
        f.defpartials(lambda out, x: (3 * x**2,))
    modes = {
        "value": f,
        "jvp": lambda x: jax.jvp(f, (x,), (x,)),
        "grad": jax.grad(lambda x: jnp.sum(f(x))),
        "value and grad": jax.value_and_grad(lambda x: jnp.sum(f(x))),
        "jacfwd": jax.jacfwd(f),
        "jacrev": jax.jacrev(f),
    }
    counts = {}
    for name, mode in modes.items():
        calls.clear()
        jax.block_until_ready((jax.jit(mode) if compiled else mode)(X))
        jax.effects_barrier()
        counts[name] = len(calls)
    # A compiled program leaves out a value that nothing uses.
    unused = {name for name, count in counts.items() if count == 0}
    assert unused <= ({"grad", "jacfwd", "jacrev"} if compiled else set())
    assert set(counts.values()) <= {0, 1}, counts
