"""What a custom rule refuses, by the name of the argument, and what it mends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import all_nan, assert_close

X = jnp.array([0.3, -0.7])
MODES = {
    "grad": lambda f: jax.grad(lambda x, n: jnp.sum(jnp.abs(f(x, n))), allow_int=True),
    "jvp": lambda f: lambda x, n: jax.jvp(lambda x: f(x, n), (x,), (x,)),
    "jit of grad": lambda f: jax.jit(jax.grad(lambda x, n: jnp.sum(f(x, n)).real)),
    "jacfwd": jax.jacfwd,
}


def square(x, n):
    """A function whose rule is about to be wrong."""
    return jax.lax.stop_gradient(x["u"] ** 2 * n)


BAD_COTANGENTS = {
    "two cotangents for 1": (lambda ct: (ct, ct, None), "returned 3 cotangents for 2 .*x, n"),
    "no tuple": (lambda ct: {"u": ct}, "must return a tuple with one cotangent .*x, n"),
    "structure": (lambda ct: (ct, None), "cotangent of `x` has another structure"),
    "shape": (lambda ct: ({"u": jnp.sum(ct)}, None), r"cotangent of `x`\['u'\] is float64\[\]"),
    "complex": (lambda ct: ({"u": 1j * ct}, None), r"`x`\['u'\] is complex128\[2\], of another"),
    "integer": (lambda ct: ({"u": jnp.arange(2)}, None), r"`x`\['u'\] is int64\[2\], of another"),
    "integer leaf": (lambda ct: ({"u": ct}, jnp.ones(())), "cotangent of `n` must be None: 3"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", BAD_COTANGENTS)
def test_custom_rule_refuses_a_cotangent(bad, mode):
    rule, message = BAD_COTANGENTS[bad]
    f = dini.custom_rule(square)
    f.defvjp(lambda out, primals, ct: rule(ct))
    with pytest.raises(TypeError, match=f"dini.custom_rule `square`: .*{message}"):
        MODES[mode](lambda x, n: f({"u": x}, 3))(X, 3.0)


BAD_TANGENTS = {
    "no pair": (lambda v: v, r"must return \(out, tangent of out\)"),
    "shape": (lambda v: (v, jnp.sum(v)), r"the tangent of the result is float64\[\]"),
    "complex": (lambda v: (v, 1j * v), r"the tangent of the result is complex128\[2\]"),
    "integer": (lambda v: (v, jnp.arange(2)), r"the tangent of the result is int64\[2\]"),
    "structure": (lambda v: (v, (v, v)), "the tangent of the result"),
}


@pytest.mark.parametrize("bad", BAD_TANGENTS)
def test_custom_rule_refuses_a_tangent(bad):
    rule, message = BAD_TANGENTS[bad]
    f = dini.custom_rule(lambda x: x)
    f.defjvp(lambda primals, tangents: rule(tangents[0]))
    for mode in (jax.jacfwd, jax.jacrev, lambda f: jax.jit(jax.jacrev(f))):
        with pytest.raises(TypeError, match=message):
            mode(f)(X)


BAD_PARTIALS = {
    "count": (lambda x: (x,), "returned 1 partials for 2 .*x, y"),
    "shape": (lambda x: (jnp.ones(3), x), r"partial of `x` is float64\[3\]"),
    "larger than the result": (
        lambda x: (jnp.ones((2, 2)), x),
        r"partial of `x` is float64\[2,2\]",
    ),
    "complex": (lambda x: (x, 1j * x), r"partial of `y` is complex128\[2\], of another kind"),
}


@pytest.mark.parametrize("bad", BAD_PARTIALS)
def test_custom_rule_refuses_a_partial(bad):
    rule, message = BAD_PARTIALS[bad]
    f = dini.custom_rule(lambda x, y: x * y)
    f.defpartials(lambda out, x, y: rule(x))
    for mode in (jax.jacfwd, jax.jacrev):
        with pytest.raises(TypeError, match=message):
            mode(f, (0, 1))(X, 2.0)


def test_custom_rule_refuses_partials_of_more_than_one_array():
    f = dini.custom_rule(lambda x: (x, x))
    f.defpartials(lambda out, x: (x,))
    with pytest.raises(TypeError, match="partials belong to a function that returns one array"):
        jax.jacfwd(f)(X)


def test_custom_rule_refuses_partials_of_a_real_function_of_complex_numbers():
    f = dini.custom_rule(jnp.abs)
    f.defpartials(lambda out, z: (z.conj() / out,))
    with pytest.raises(TypeError, match="of another kind than float64"):
        jax.jvp(f, (1.0 + 2j,), (1.0 + 0j,))


def test_custom_rule_refuses_to_be_differentiated_without_a_rule():
    f = dini.custom_rule(jnp.sin)
    assert f(0.5) == jnp.sin(0.5)
    for mode in (jax.grad, jax.jacfwd, lambda f: jax.jit(jax.grad(f))):
        with pytest.raises(TypeError, match=r"`sin` was differentiated and has no rule"):
            mode(f)(0.5)
    assert jax.grad(lambda x: x * f(jnp.asarray(1)))(2.0) == jnp.sin(1)  # not differentiated


def test_custom_rule_refuses_an_affine_vjp_rule_on_concrete_calls():
    f = dini.custom_rule(lambda x, y: x**2 + y["u"])
    f.defvjp(lambda out, primals, ct: (2 * primals[0] * ct, {"u": ct + 1}))
    modes = (
        jax.grad,
        lambda f: lambda *x: jax.vjp(f, *x)[1](jnp.asarray(3.0)),
        lambda f: lambda *x: jax.jvp(f, x, x),
        jax.jacfwd,
        jax.jacrev,
        jax.hessian,
    )
    for mode in modes:
        with pytest.raises(TypeError, match=r"not linear: the cotangent of `y\['u'\]` is not zero"):
            mode(f)(2.0, {"u": 1.0})


def test_custom_rule_accepts_a_linear_rule_where_it_is_not_finite():
    f = dini.custom_rule(jnp.log)
    f.defvjp(lambda out, primals, ct: (ct / primals[0],))
    assert jnp.isinf(jax.grad(f)(0.0))


# --- VJP rules that cannot be transposed ---


def looped(ct):
    return jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * 2, s[1] + 1), (ct, 0))[0]


def hosted(ct):
    struct = jax.ShapeDtypeStruct(ct.shape, ct.dtype)
    return jax.pure_callback(lambda c: 8 * np.asarray(c), struct, ct, vmap_method="sequential")


@pytest.mark.parametrize("stuck", [looped, hosted])
@pytest.mark.parametrize("compiled", [False, True])
def test_custom_rule_that_cannot_be_transposed_has_reverse_mode_alone(stuck, compiled):
    jit = jax.jit if compiled else (lambda f: f)
    f = dini.custom_rule(lambda x: jax.lax.stop_gradient(8 * x))
    f.defvjp(lambda out, primals, ct: (stuck(ct),))
    loss = lambda x: jnp.sum(f(x) ** 2)
    assert_close(jit(jax.grad(loss))(X), 128 * X, 1e-15)
    assert_close(jit(jax.vmap(jax.grad(loss)))(jnp.stack([X, 2 * X]))[1], 256 * X, 1e-15)
    for mode in (jax.jacfwd, lambda f: lambda x: jax.jvp(f, (x,), (x,))):
        with pytest.raises(TypeError, match=r"no forward mode: .*Give it a jvp rule too"):
            jit(mode(f))(X)
    f.defjvp(lambda primals, tangents: (f(*primals), 8 * tangents[0]))
    assert_close(jit(jax.jacfwd(f))(X), 8 * jnp.eye(2), 1e-15)
    assert_close(jit(jax.grad(loss))(X), 128 * X, 1e-15)


@pytest.mark.parametrize(
    "bend", [jnp.square, jnp.abs, jnp.sin, lambda ct: ct * ct, lambda ct: jnp.where(ct > 0, ct, 0)]
)
def test_custom_rule_that_is_not_linear_has_no_forward_mode(bend):
    f = dini.custom_rule(lambda x: x)
    f.defvjp(lambda out, primals, ct: (bend(ct),))
    for mode in (jax.jacfwd, lambda f: jax.jit(jax.jacfwd(f))):
        with pytest.raises(TypeError, match=r"no forward mode: .*it is not linear in it"):
            mode(f)(X)


def test_custom_rule_lets_the_errors_of_a_rule_through():
    def rule(*_):
        raise ValueError("mine")

    f = dini.custom_rule(lambda x: x)
    f.defvjp(rule)
    for mode in (jax.jacfwd, jax.jacrev):
        with pytest.raises(ValueError, match="mine"):
            mode(f)(X)


def test_custom_rule_with_two_rules_uses_each_in_its_mode():
    f = dini.custom_rule(lambda x: x)
    f.defjvp(lambda primals, tangents: (f(*primals), 2 * tangents[0]))
    f.defvjp(lambda out, primals, ct: (3 * ct,))
    assert jax.jvp(f, (1.0,), (1.0,))[1] == 2
    assert jax.grad(f)(1.0) == 3
    assert jax.jacfwd(f)(1.0) == 2
    assert jax.jacrev(f)(1.0) == 3


# --- Precision and kind ---


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
