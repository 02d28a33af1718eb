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


def assert_both_modes_match(f, x, seed=0, rtol=1e-7, **options):
    """Forward mode against differences along a random direction, reverse mode against forward mode.

    The error bar of the differences must be below rtol. All numbers come from one program.
    """
    flat, unravel = ravel_pytree(x)
    random = np.random.default_rng(seed)
    v = unravel(random.normal(size=flat.shape))
    u = random.normal(size=sum(s.size for s in jax.tree.leaves(jax.eval_shape(f, x))))

    def vector(x):
        return ravel_pytree(f(x))[0]

    @jax.jit
    def program(x):
        return jax.jvp(vector, (x,), (v,)), jax.grad(lambda x: vector(x) @ u)(x)

    (_, forward), reverse = program(x)
    expected, error = directional(lambda x: program(x)[0][0], x, v, **options)
    size = np.max(np.abs(expected))
    assert error <= rtol * size, f"the differences are no oracle: error bar {error / size:.1e}"
    gap = np.max(np.abs(forward - expected))
    assert gap <= rtol * size, f"forward mode is off by {gap / size:.1e}: {forward}, {expected}"
    left = u @ np.asarray(forward)
    right = np.asarray(ravel_pytree(reverse)[0]) @ np.asarray(ravel_pytree(v)[0])
    scale = np.abs(u) @ np.abs(forward)
    assert abs(left - right) <= 1e-9 * scale, f"reverse and forward mode differ: {right}, {left}"
