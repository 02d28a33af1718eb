"""Derivatives of host functions by rules and by equations, in every mode and order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import dini
from dini.testing import check_rule
from tests.support.battery import MODES, Scenario, check_mode
from tests.support.compare import assert_close
from tests.support.marks import case, slow

X = jnp.array([0.3, -0.7, 1.1])
QUICK = {"forward_over_reverse", "grad_of_scan_of_checkpoint", "vmap_of_grad"}


def in_modes(names, quick):
    """Every mode for every name; slow but for some."""
    for name in names:
        for mode in MODES:
            both = name in quick and mode.__name__ in QUICK
            yield case(name, mode, quick=both, id=f"{name}-{mode.__name__}")


def wave(x, p):
    return {"w": jnp.sin(p["a"] * x) * p["b"], "s": jnp.sum(x**2)}


def hosted(kind):
    """`wave` in NumPy, and a rule for it in JAX."""

    @dini.external(out=lambda x, p: {"w": x, "s": jax.ShapeDtypeStruct((), x.dtype)})
    def f(x, p):
        assert isinstance(x, np.ndarray)
        return {"w": np.sin(p["a"] * x) * p["b"], "s": np.sum(x**2)}

    def push(primals, tangents):
        (x, p), (v, q) = primals, tangents
        inner = jnp.cos(p["a"] * x) * (p["a"] * v + q["a"] * x)
        return {"w": inner * p["b"] + jnp.sin(p["a"] * x) * q["b"], "s": 2 * jnp.sum(x * v)}

    if kind in ("jvp", "both"):
        f.defjvp(lambda primals, tangents: (f(*primals), push(primals, tangents)))
    if kind in ("vjp", "both"):

        @f.defvjp
        def _(_, primals, ct):
            x, p = primals
            slope = ct["w"] * p["b"] * jnp.cos(p["a"] * x)
            of_p = {"a": jnp.sum(slope * x), "b": ct["w"] * jnp.sin(p["a"] * x)}
            return slope * p["a"] + 2 * x * ct["s"], of_p

    return f


# a sinh(z) = b, by SciPy's root finder: z = arsinh(b/a).
def balance(z, a, b):
    return a * jnp.sinh(z) - b


@dini.custom_root(balance)
@dini.external(like="z0")
def balanced(z0, a, b, method="hybr"):
    f = lambda z: a * np.sinh(z) - b
    return scipy.optimize.root(f, z0, method=method, options={"xtol": 1e-14}).x


@dini.matrix_function
@dini.external(like="a")
def logm(a):
    return scipy.linalg.logm(a)


@dini.matrix_function
@dini.external(like="a")
def inverse(a):
    return np.linalg.inv(a)


MATRIX = jnp.array([[1.4, 0.3], [-0.2, 0.7]])
P = {"a": 1.3, "b": jnp.array([0.5, -1.0, 2.0])}
SCENARIOS = {
    kind: Scenario(kind, lambda _, x, p, f=f: f(x, p), wave, 0.0, (X, P), 1e-13)
    for kind, f in ((kind, hosted(kind)) for kind in ("jvp", "vjp", "both"))
} | {
    "root": Scenario(
        "root", balanced, lambda a, b: jnp.arcsinh(b / a), jnp.zeros(3), (1.3, X), 1e-9
    ),
    "inverse": Scenario("inverse", lambda _, a: inverse(a), jnp.linalg.inv, 0.0, (MATRIX,), 1e-12),
}


@pytest.mark.parametrize(("name", "mode"), list(in_modes(SCENARIOS, {"vjp", "jvp"})))
def test_host_function_agrees_with_jax_in_every_mode(name, mode):
    check_mode(SCENARIOS[name], mode)


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize("transform", [jax.jacrev, jax.jacfwd, slow(jax.hessian)])
def test_rule_serves_calls_outside_compiled_code(transform, kind):
    total = lambda f: lambda x: jnp.sum(f(x, P)["w"] ** 2) + f(x, P)["s"]
    f, lanes = hosted(kind), jnp.stack([X, 2 * X])
    for batch in (lambda f: f(X), lambda f: jax.vmap(f)(lanes)):
        assert_close(batch(transform(total(f))), batch(transform(total(wave))), 1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, slow(jnp.float64)])
def test_root_keeps_its_precision(dtype):
    b = X.astype(dtype)
    f = lambda b: balanced(jnp.zeros(3, dtype), jnp.asarray(1.3, dtype), b)
    value, slope = jax.jit(lambda b: (f(b), jax.jacrev(f)(b)))(b)
    assert value.dtype == slope.dtype == dtype
    exact = 1 / np.sqrt(1.3**2 + np.asarray(X) ** 2)
    assert_close(slope, jnp.diag(exact).astype(dtype), 1e-6 if dtype == jnp.float32 else 1e-10)


def test_logarithm_has_the_derivative_that_scipy_inverts():
    check_rule(logm, MATRIX, order=1, transforms=(), rtol=1e-10)


def test_function_without_a_rule_says_which_ways_there_are():
    f = dini.external(lambda x: x**2, like="x")
    for mode in (jax.grad, jax.jacfwd, jax.hessian, lambda f: jax.jit(jax.grad(f))):
        with pytest.raises(TypeError, match=r"no rule: defjvp, .*derivative=.*dini.custom_root"):
            mode(f)(2.0)
