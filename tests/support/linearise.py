"""An economy's derivatives at its steady state, by JAX alone: what the oracles start from."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

GROUPS = ("lag", "now", "lead", "shock")


class Point:
    """Numbers by name, as attributes and as items."""

    def __init__(self, names, values):
        self._numbers = dict(zip(names, values, strict=True))

    def __getattr__(self, name):
        return self._numbers[name]

    __getitem__ = __getattr__


def _values(residuals):
    return jnp.stack(list(residuals.values() if isinstance(residuals, dict) else residuals))


@functools.cache
def _compiled(economy, equations, steady_state, order):
    """f, or its first or second derivatives in (lag, now, lead, shock), stacked; and the point."""
    n, k = len(economy.VARIABLES), len(economy.SHOCKS)
    names = [economy.VARIABLES] * 3 + [economy.SHOCKS]

    def f(z, p):
        parts = jnp.split(z, [n, 2 * n, 3 * n])
        return _values(equations(*map(Point, names, parts), p))

    for _ in range(order):
        f = jax.jacfwd(f)

    def at_rest(p):
        levels = steady_state(p)
        w = jnp.stack([jnp.asarray(levels[v], float) for v in economy.VARIABLES])
        return f(jnp.concatenate([w, w, w, jnp.zeros(k)]), p), w

    return jax.jit(at_rest)


def _at_rest(economy, p, order, in_levels):
    suffix = "_in_levels" if in_levels else ""
    equations = economy.in_levels if in_levels else economy.equations
    compiled = _compiled(economy, equations, getattr(economy, "steady_state" + suffix), order)
    return [np.asarray(a) for a in compiled(p)]


def residuals(economy, p, in_levels=False):
    """The equations at the steady state: all zero if it is one."""
    return _at_rest(economy, p, 0, in_levels)[0]


def rest(economy, p, in_levels=False):
    """The steady state as a vector."""
    return _at_rest(economy, p, 0, in_levels)[1]


def jacobians(economy, p, in_levels=False):
    """A, B, C, D with A w₊ + B w + C w₋ + D ε = 0 in deviations."""
    n = len(economy.VARIABLES)
    c, b, a, d = np.split(_at_rest(economy, p, 1, in_levels)[0], [n, 2 * n, 3 * n], axis=1)
    return a, b, c, d


def hessian(economy, p, in_levels=False):
    """The second derivatives in (w₋, w, w₊, ε), stacked: (n, 3 n + k, 3 n + k)."""
    return _at_rest(economy, p, 2, in_levels)[0]
