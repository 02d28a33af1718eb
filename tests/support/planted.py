"""Derivatives that are wrong on purpose, each in one way, and right ones at hard points."""

from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

import dini

_random = np.random.default_rng(5)
A = jnp.asarray(_random.normal(size=(3, 3)))
X = jnp.array([0.3, -0.2, 0.9])
LARGE = jnp.asarray(_random.normal(size=100_000))
Z = jnp.array([0.3 + 0.4j, -1.2 + 0.1j])
FAINT = {"a": jnp.array([1.3, -0.4]), "b": jnp.asarray(2e3)}
SMALL = {"a": jnp.array([1.3, -0.4]), "b": jnp.asarray(2e-9)}


class Planted(NamedTuple):
    """A wrong rule.

    Attributes:
        kind: what is wrong with it.
        f: the function that has it.
        args: where it is looked at.
        check: the check that should find it.
        words: what the report should say.
        modes, order: the modes and the order that the rule gives.
    """

    kind: str
    f: Any
    args: tuple
    check: str
    words: str
    modes: tuple[str, ...] = ("fwd", "rev")
    order: int = 2


def _jvp(value, rule):
    """A function by `jax.custom_jvp`: value(x), and rule(x, v) as its tangent."""

    @jax.custom_jvp
    def f(x):
        return value(x)

    @f.defjvp
    def _(primals, tangents):
        return f(*primals), rule(*primals, *tangents)

    return f


def _vjp(value, rule):
    """A function by `jax.custom_vjp`: value(x), and rule(x, ct) as its cotangent."""

    @jax.custom_vjp
    def f(x):
        return value(x)

    f.defvjp(lambda x: (value(x), x), lambda x, ct: (rule(x, ct),))
    return f


def _by_cotangent(value, rule):
    """A function by `dini.custom_rule`: value(x), and rule(x, ct) as its cotangent."""

    @dini.custom_rule
    def f(x):
        return value(x)

    f.defvjp(lambda out, primals, ct: (rule(*primals, ct),))
    return f


def mixed(x):
    return jnp.sin(A @ x)


def slope(x, v):
    return jnp.cos(A @ x) * (A @ v)


def scaled(p):
    return jnp.sin(p["a"]) + jnp.cos(1e9 * p["b"])


def scaled_slope(p, v):
    return jnp.cos(p["a"]) * v["a"] - 1e9 * jnp.sin(1e9 * p["b"]) * v["b"]


def faint(p):
    return jnp.sin(p["a"]) + 1e-9 * p["b"]


def _primal_off():
    @jax.custom_jvp
    def f(x):
        return mixed(x)

    f.defjvp(lambda primals, tangents: (mixed(*primals) * (1 + 1e-6), slope(*primals, *tangents)))
    return f


def _one_entry(x, v):
    return jnp.cos(x) * v * jnp.where(jnp.arange(x.size) == x.size // 3, 1.001, 1.0)


def _wrong_when_mapped():
    @custom_vmap
    def cosine(x):
        return jnp.cos(x)

    @cosine.def_vmap
    def _(size, in_batched, x):
        del size, in_batched
        return jnp.cos(x)[::-1], True

    return _jvp(jnp.sin, lambda x, v: cosine(x) * v)


def _reverse_alone():
    @dini.custom_rule
    def f(x):
        return mixed(x)

    f.defjvp(lambda primals, tangents: (f(*primals), slope(*primals, *tangents)))
    f.defvjp(lambda out, primals, ct: (A @ (jnp.cos(A @ primals[0]) * ct),))
    return f


def _zeros_mistaken():
    @jax.custom_jvp
    def f(x, y):
        return x * y

    def rule(primals, tangents):
        (x, y), (v, w) = primals, tangents
        total = x * y
        is_zero = [type(t) is jax.custom_derivatives.SymbolicZero for t in (v, w)]
        if any(is_zero):
            return total, (w if is_zero[0] else v) * 1.0
        return total, y * v + x * w

    f.defjvp(rule, symbolic_zeros=True)
    return f


def _eager_alone():
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    @f.defjvp
    def _(primals, tangents):
        (x,), (v,) = primals, tangents
        return f(x), v * (jnp.cos(x) if isinstance(x, jax.core.Tracer) else jnp.cos(x) + 1e-3)

    return f


PLANTED = (
    Planted("sign", _jvp(mixed, lambda x, v: -slope(x, v)), (X,), "jvp", "the sign?"),
    Planted("factor", _jvp(mixed, lambda x, v: 2 * slope(x, v)), (X,), "jvp", "a factor?"),
    Planted(
        "small factor",
        _jvp(mixed, lambda x, v: (1 + 1e-7) * slope(x, v)),
        (X,),
        "jvp",
        "a factor?",
    ),
    Planted(
        "transpose",
        _by_cotangent(mixed, lambda x, ct: A @ (jnp.cos(A @ x) * ct)),
        (X,),
        "jvp",
        "the transpose?",
    ),
    Planted("transpose in one mode", _reverse_alone(), (X,), "vjp", "the transpose?"),
    Planted(
        "dropped leaf",
        _jvp(scaled, lambda p, v: jnp.cos(p["a"]) * v["a"]),
        (SMALL,),
        "jvp",
        "zero: is `x['b']` dropped?",
    ),
    Planted(
        "dropped leaf of small effect",
        _jvp(faint, lambda p, v: jnp.cos(p["a"]) * v["a"]),
        (FAINT,),
        "jvp",
        "zero: is `x['b']` dropped?",
    ),
    Planted("primal", _primal_off(), (X,), "value", "got"),
    Planted(
        "second order",
        _jvp(mixed, lambda x, v: slope(jax.lax.stop_gradient(x), v)),
        (X,),
        "second order",
        "x[",
    ),
    Planted("under vmap", _wrong_when_mapped(), (X,), "vmap", "jvp out", order=1),
    Planted("eagerly", _eager_alone(), (0.4,), "jit", "jvp out"),
    Planted("affine tangent", _jvp(mixed, lambda x, v: slope(x, v) + 1e-6), (X,), "linear", "zero"),
    Planted(
        "tangent not linear",
        _jvp(mixed, lambda x, v: slope(x, v) * (1 + 1e-6 * jnp.sum(v**2))),
        (X,),
        "linear",
        "a sum",
    ),
    Planted(
        "affine cotangent",
        _vjp(mixed, lambda x, ct: A.T @ (jnp.cos(A @ x) * ct) + 1e-6),
        (X,),
        "linear",
        "zero",
        ("rev",),
    ),
    Planted(
        "cotangent not linear",
        _vjp(mixed, lambda x, ct: A.T @ (jnp.cos(A @ x) * jnp.clip(ct, -0.6, 0.6))),
        (X,),
        "linear",
        "a sum",
        ("rev",),
    ),
    Planted(
        "dtype of the cotangent",
        _vjp(jnp.sin, lambda x, ct: (jnp.cos(x) * ct).astype(jnp.float32)),
        (X,),
        "types",
        "float32",
        ("rev",),
    ),
    Planted("one entry of 1e5", _jvp(jnp.sin, _one_entry), (LARGE,), "jvp", "x[33333]"),
    Planted(
        "one entry of 1e5, reverse",
        _vjp(lambda x: jnp.sum(jnp.sin(x)), _one_entry),
        (LARGE,),
        "vjp",
        "x[33333]",
        ("rev",),
    ),
    Planted(
        "factor at 1e9",
        _jvp(lambda x: jnp.sin(1e-9 * x), lambda x, v: 2e-9 * jnp.cos(1e-9 * x) * v),
        (1e9,),
        "jvp",
        "a factor?",
    ),
    Planted(
        "factor, 500 numbers in float32",
        _jvp(jnp.tanh, lambda x, v: 1.5 * (1 - jnp.tanh(x) ** 2) * v),
        (LARGE[:500].astype(jnp.float32),),
        "jvp",
        "a factor?",
        ("fwd",),
    ),
    Planted("a leaf alone", _zeros_mistaken(), (2.0, 3.0), "zeros", "alone"),
    Planted(
        "conjugate",
        _jvp(jnp.square, lambda z, v: 2 * z.conj() * v),
        (Z,),
        "jvp",
        "the complex conjugate?",
    ),
)


def many_sizes(x):
    return x[0] * 1e-9 + jnp.sin(1e9 * x[1])


class Right(NamedTuple):
    """A right derivative at a hard point."""

    name: str
    f: Any
    args: tuple
    modes: tuple[str, ...] = ("fwd", "rev")


_left, _, _right = np.linalg.svd(_random.normal(size=(4, 4)))
ILL = jnp.asarray(_left @ np.diag(np.logspace(0, -8, 4)) @ _right)
_B = jnp.asarray(_random.normal(size=4))

RIGHT = (
    Right("by hand", _jvp(mixed, slope), (X,)),
    Right("badly scaled leaves", _jvp(scaled, scaled_slope), (SMALL,)),
    Right("by cotangent", _by_cotangent(mixed, lambda x, ct: A.T @ (jnp.cos(A @ x) * ct)), (X,)),
    Right("near a pole", jnp.tan, (1.57,)),
    Right("next to the edge of the domain", jnp.log, (1e-12,)),
    Right("large numbers", jnp.square, (1e9,)),
    Right("fast oscillation", jnp.sin, (1e6,)),
    Right("beside a kink", jnp.abs, (1e-9,)),
    Right(
        "one leaf of many sizes",
        lambda x: x[0] * 1e-9 + jnp.sin(1e9 * x[1]),
        (jnp.array([1e9, 1e-9, 0.0]),),
    ),
    Right("ill-conditioned solve", jnp.linalg.solve, (ILL, _B)),
    Right("ill-conditioned inverse", jnp.linalg.inv, (ILL,)),
    Right("float32", jax.nn.logsumexp, (LARGE[:1000].astype(jnp.float32),)),
    Right("not holomorphic", lambda z: jnp.abs(z) ** 2 * z, (Z,)),
    Right("constant", lambda x: 0 * x + 1, (X,)),
    Right("flat point", lambda x: jnp.sin(x) ** 2, (jnp.zeros(3),)),
    Right("reverse mode alone", _vjp(jnp.sin, lambda x, ct: jnp.cos(x) * ct), (X,), ("rev",)),
)
