"""What a rule costs: given as a VJP against given as a JVP, and a linear map against the function.

    python benchmarks/rules.py

Each function runs many times inside one compiled program, so that a call weighs little.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from harness import Entry, race, report

import dini

N, REPEATS = 1000, 300


def value(x):
    """A chain with a sum in it: (n,) to (n,)."""
    return jnp.tanh(x) * jnp.sum(x**2) / N


def tangent(x, v):
    return (1 - jnp.tanh(x) ** 2) * v * jnp.sum(x**2) / N + jnp.tanh(x) * (2 / N) * (x @ v)


def cotangent(x, c):
    return (1 - jnp.tanh(x) ** 2) * c * jnp.sum(x**2) / N + x * (2 / N) * (jnp.tanh(x) @ c)


@dini.custom_rule
def by_jvp(x):
    return value(x)


by_jvp.defjvp(lambda primals, tangents: (by_jvp(*primals), tangent(*primals, *tangents)))


@dini.custom_rule
def by_vjp(x):
    return value(x)


by_vjp.defvjp(lambda _, primals, ct: (cotangent(*primals, ct),))


@jax.custom_jvp
def by_jax(x):
    return value(x)


by_jax.defjvp(lambda primals, tangents: (by_jax(*primals), tangent(*primals, *tangents)))

MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(300, 300))) / 20


def product(a, x):
    return jnp.tanh(a) @ x


def transposed(a, c):
    return c @ jnp.tanh(a)


def mapped(a, x):
    return dini.linear_map(product, transposed, a, x)


def repeated(step, x):
    """`step` many times over, each on the result of the last."""
    return jax.lax.scan(lambda x, _: (step(x), None), x, length=REPEATS)[0]


def forward(f):
    """J v many times over."""

    def step(pair):
        x, v = pair
        out, out_dot = jax.jvp(f, (x,), (v,))
        return x + 1e-3 * out, v + 1e-3 * out_dot

    return jax.jit(lambda x, v: repeated(step, (x, v)))


def gradient(f):
    """Steps down the gradient, in the matrix and in the argument."""

    def step(pair):
        slopes = jax.grad(lambda a, x: jnp.sum(f(a, x) ** 2), (0, 1))(*pair)
        return tuple(p - 1e-6 * s for p, s in zip(pair, slopes, strict=True))

    return jax.jit(lambda a, x: repeated(step, (a, x)))


def main():
    jax.config.update("jax_enable_x64", True)
    x, v = (jnp.asarray(np.random.default_rng(k).normal(size=N)) for k in (1, 2))
    rows = []
    reference = [np.asarray(y) for y in forward(value)(x, v)]
    entries = [
        Entry(name, functools.partial(forward(f), x, v))
        for name, f in {
            "rule as a JVP": by_jvp,
            "rule as a VJP": by_vjp,
            "jax.custom_jvp": by_jax,
            "no rule": value,
        }.items()
    ]
    rows += race("forward mode", N, entries, reference, rounds=41)

    a = MATRIX.astype(x.dtype)
    reference = [np.asarray(y) for y in gradient(product)(a, x[:300])]
    entries = [
        Entry(name, functools.partial(gradient(f), a, x[:300]))
        for name, f in {"plain function": product, "linear_map": mapped}.items()
    ]
    rows += race("gradient", 300, entries, reference, rounds=15)
    report("rules", rows)


if __name__ == "__main__":
    main()
