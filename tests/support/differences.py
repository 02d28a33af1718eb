"""Derivatives from differences of function values, with an error bar."""

import jax
import numpy as np
from jax.flatten_util import ravel_pytree


def directional(f, x, v, step=0.05, halvings=5):
    """d/dt f(x + t v) at 0 by Richardson extrapolation of central differences (Ridders' method).

    Returns:
        The derivative, a vector of f's numbers, and an estimate of its largest error.
    """
    flat, unravel = ravel_pytree(x)
    flat_v, _ = ravel_pytree(v)

    def at(t):
        return np.asarray(ravel_pytree(f(unravel(flat + t * flat_v)))[0])

    best, error, rows = None, np.inf, []
    for i in range(halvings):
        h = step * 0.5**i
        row = [(at(h) - at(-h)) / (2 * h)]
        for j in range(i):
            factor = 4.0 ** (j + 1)
            row.append((factor * row[j] - rows[-1][j]) / (factor - 1))
            gap = max(np.max(np.abs(row[-1] - row[-2])), np.max(np.abs(row[-1] - rows[-1][j])))
            if gap < error:
                best, error = row[-1], gap
        rows.append(row)
    return best, error


def assert_jvp_matches(f, x, v, rtol=1e-7, **options):
    """f's forward derivative along v against differences; the error bar must be below rtol."""
    expected, error = directional(jax.jit(f), x, v, **options)
    actual = np.asarray(ravel_pytree(jax.jit(lambda x, v: jax.jvp(f, (x,), (v,))[1])(x, v))[0])
    size = np.max(np.abs(expected))
    assert error <= rtol * size, f"the differences are no oracle: error bar {error / size:.1e}"
    assert np.max(np.abs(actual - expected)) <= rtol * size, (actual, expected, error)
    return actual


def assert_both_modes_match(f, x, seed=0, rtol=1e-7, **options):
    """Forward mode against differences, reverse mode against forward mode, along random vectors."""
    flat, unravel = ravel_pytree(x)
    random = np.random.default_rng(seed)
    v = unravel(random.normal(size=flat.shape))
    jv = assert_jvp_matches(f, x, v, rtol=rtol, **options)
    u = random.normal(size=jv.shape)

    def weighted(x):
        return ravel_pytree(f(x))[0] @ u

    ju = np.asarray(ravel_pytree(jax.jit(jax.grad(weighted))(x))[0])
    left, right = u @ jv, ju @ np.asarray(ravel_pytree(v)[0])
    scale = np.abs(u) @ np.abs(jv)
    assert abs(left - right) <= 1e-9 * scale, (left, right)
