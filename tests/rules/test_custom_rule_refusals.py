"""What a custom rule refuses, by the name of the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from tests.support.compare import assert_close

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
