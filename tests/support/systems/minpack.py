"""The fourteen systems of nonlinear equations of Moré, Garbow and Hillstrom, as MINPACK tests them.

Watson's, Wood's and the variably dimensioned function are problems of least squares; as systems
they are the gradient of ½|f|².

Reference: Moré, Garbow and Hillstrom, Testing unconstrained optimization software (1981).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tests.support.systems._system import System


def _stationary(f):
    """The gradient of ½|f|²."""

    @functools.wraps(f)
    def gradient(z, args):
        return jax.grad(lambda z: 0.5 * jnp.sum(f(z, args) ** 2))(z)

    return gradient


def rosenbrock(z, _):
    return jnp.stack([1 - z[0], 10 * (z[1] - z[0] ** 2)])


def powell_singular(z, _):
    """The Jacobian at the root 0 has rank 2."""
    a, b, c, d = z
    return jnp.stack([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2])


def powell_badly_scaled(z, _):
    return jnp.stack([1e4 * z[0] * z[1] - 1, jnp.exp(-z[0]) + jnp.exp(-z[1]) - 1.0001])


def wood(z, _):
    """The gradient of ½|f|², of which MINPACK doubles every other row."""

    def f(z, _):
        a, b, c, d = z
        rows = [10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c]
        return jnp.stack([*rows, 10**0.5 * (b + d - 2), (b - d) / 10**0.5])

    return np.array([1, 2, 1, 2]) * _stationary(f)(z, None)


def helical_valley(z, _):
    """The angle is measured in turns, from −¼ to ¾."""
    a, b, c = z
    turns = jnp.arctan(b / jnp.where(a == 0, 1, a)) / (2 * jnp.pi) + jnp.where(a < 0, 0.5, 0)
    turns = jnp.where(a == 0, jnp.where(b < 0, -0.25, 0.25), turns)
    return jnp.stack([10 * (c - 10 * turns), 10 * (jnp.hypot(a, b) - 1), c])


@_stationary
def watson(z, _):
    t = np.arange(1, 30)[:, None] / 29
    k = np.arange(z.size)
    slope = (k * t ** np.maximum(k - 1, 0)) @ z
    value = (t**k) @ z
    return jnp.append(slope - value**2 - 1, jnp.stack([z[0], z[1] - z[0] ** 2 - 1]))


def chebyquad(z, _):
    """Means of the shifted Chebyshev polynomials 1, …, n over the points, minus their integrals."""
    before, now = jnp.ones_like(z), 2 * z - 1
    means = []
    for _k in range(z.size):
        means.append(jnp.mean(now))
        before, now = now, 2 * (2 * z - 1) * now - before
    k = np.arange(1, z.size + 1)
    integrals = np.where(k % 2, 0.0, -1.0) / np.where(k % 2, 1, k**2 - 1)
    return jnp.stack(means) - integrals


def brown_almost_linear(z, _):
    return (z + jnp.sum(z) - (z.size + 1)).at[-1].set(jnp.prod(z) - 1)


def _mesh(n):
    return np.arange(1, n + 1) / (n + 1)


def _neighbours(z):
    """The entries to the left and to the right, zero beyond the ends."""
    padded = jnp.pad(z, 1)
    return padded[:-2], padded[2:]


def discrete_boundary_value(z, _):
    left, right = _neighbours(z)
    return 2 * z - left - right + (z + _mesh(z.size) + 1) ** 3 / (2 * (z.size + 1) ** 2)


def discrete_integral_equation(z, _):
    t = _mesh(z.size)
    kernel = np.minimum.outer(t, t) * (1 - np.maximum.outer(t, t))
    return z + kernel @ (z + t + 1) ** 3 / (2 * (z.size + 1))


def trigonometric(z, _):
    k = np.arange(1, z.size + 1)
    return z.size + k - jnp.sin(z) - jnp.sum(jnp.cos(z)) - k * jnp.cos(z)


@_stationary
def variably_dimensioned(z, _):
    s = np.arange(1, z.size + 1) @ (z - 1)
    return jnp.append(z - 1, jnp.stack([s, s**2]))


def broyden_tridiagonal(z, _):
    left, right = _neighbours(z)
    return (3 - 2 * z) * z - left - 2 * right + 1


def broyden_banded(z, _):
    """Five neighbours to the left count, and one to the right."""
    q = z * (1 + z)
    padded = jnp.pad(q, (5, 1))
    around = sum(padded[5 + k : 5 + k + z.size] for k in (-5, -4, -3, -2, -1, 1))
    return z * (2 + 5 * z**2) + 1 - around


def minpack() -> tuple[System, ...]:
    """MINPACK's cases that have a root, from as many of its starts: 1, 10 and 100 times the first.

    Watson's, which starts at 0, goes from 10, …, 10 in place of ten times that.
    """
    ramp = _mesh(10) * (_mesh(10) - 1)
    ends = np.arange(1, 11) / 10
    cases = [
        (rosenbrock, [-1.2, 1.0], 3),
        (powell_singular, [3.0, -1.0, 0.0, 1.0], 3),
        (powell_badly_scaled, [0.0, 1.0], 2),
        (wood, [-3.0, -1.0, -3.0, -1.0], 3),
        (helical_valley, [-1.0, 0.0, 0.0], 3),
        *((chebyquad, _mesh(n), 3 if n < 8 else 1) for n in (5, 7, 9)),
        *((brown_almost_linear, np.full(n, 0.5), 3 if n < 30 else 1) for n in (10, 40)),
        (discrete_boundary_value, ramp, 3),
        (discrete_integral_equation, ramp, 3),
        (trigonometric, np.full(10, 0.1), 3),
        (variably_dimensioned, 1 - ends, 3),
        (broyden_tridiagonal, -np.ones(10), 3),
        (broyden_banded, -np.ones(10), 3),
    ]
    systems = [
        System(
            _name(fun),
            fun,
            tuple(factor * np.asarray(z) for factor in (1, 10, 100)[:count]),
            np.zeros(4) if fun is powell_singular else None,
        )
        for fun, z, count in cases
    ]
    systems[5:5] = [System("watson", watson, (np.zeros(n), np.full(n, 10.0))) for n in (6, 9)]
    return tuple(systems)


def _name(fun: Callable) -> str:
    return fun.__name__.replace("_", " ")
