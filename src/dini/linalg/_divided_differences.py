"""Divided differences of a scalar function, at points that may be close or the same."""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

_NOISE = 64  # how many times the rounding of f(x) may exceed eps(|f| + |x f'|)


def divided_differences(
    f: Callable[[Array], Array], x: Float[Array, " n"], order: int
) -> Inexact[Array, "..."]:
    """f[x_i, x_j, …] for all tuples of order + 1 points: an array of order + 1 axes of length n.

    Each is taken in one of two ways: as a quotient of those of one order less, exact but for
    rounding, which grows as the points close up, or as an integral of a derivative of f over what
    the points span, which is exact where they coincide. The one of the smaller error is taken, and
    the integral only where it agrees with the quotient.

    Args:
        f: an elementwise function; its derivative of that order must exist where points coincide.
        x: real points.
        order: 0 or more.

    References: Genocchi–Hermite formula; McCurdy, Ng and Parlett, Accurate computation of divided
    differences of the exponential function (1984).
    """
    table = f(x)
    eps = jnp.finfo(x.dtype).eps
    error = eps * (jnp.abs(table) + jnp.abs(x * _derivative(f)(x)))
    derivative = f
    for k in range(1, order + 1):
        derivative = _derivative(derivative)
        points = [
            jnp.expand_dims(x, [a for a in range(k + 1) if a != axis]) for axis in range(k + 1)
        ]
        quotient, rounding, gap = _quotient(table, error, points)
        integral, truncation = _integral(derivative, points)
        truncation = truncation + 4 * eps * jnp.abs(integral)
        closer = (truncation <= rounding) & (jnp.abs(integral - quotient) <= _NOISE * rounding)
        closer = jnp.where(gap > 0, closer & jnp.isfinite(rounding), True)
        table = jnp.where(closer, integral, quotient)
        error = jnp.where(closer, truncation, rounding)
    return table


def _derivative(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


# f[…] = (f[… without a] − f[… without b])/(x_b − x_a) for any two of the points: the farthest.
def _quotient(table: Array, error: Array, points: list[Array]) -> tuple[Array, Array, Array]:
    """The quotient, its error by rounding, and the distance of the two points."""
    difference = sum_of_errors = gap = jnp.zeros((), error.dtype)
    for a, b in itertools.combinations(range(len(points)), 2):
        wider = jnp.abs(points[b] - points[a]) > jnp.abs(gap)
        pair = lambda t, a=a, b=b: (jnp.expand_dims(t, a), jnp.expand_dims(t, b))
        (one, other), (error_one, error_other) = pair(table), pair(error)
        difference = jnp.where(wider, one - other, difference)
        sum_of_errors = jnp.where(wider, error_one + error_other, sum_of_errors)
        gap = jnp.where(wider, points[b] - points[a], gap)
    safe = jnp.where(gap == 0, 1, gap)
    return difference / safe, sum_of_errors / jnp.abs(safe), jnp.abs(gap)


# f[x_0, …, x_k] = ∫ f⁽ᵏ⁾(Σ t_l x_l) dt over the simplex t ≥ 0, Σ t = 1 (Genocchi–Hermite), by the
# k + 2 nodes of a rule of degree 3 (Grundmann and Möller 1978, s = 1). It differs by e from that of
# degree 1, f⁽ᵏ⁾(mean)/k!, and halving the distances divides e by 4 and its own error by 16: e²/|f|.
def _integral(derivative: Callable, points: list[Array]) -> tuple[Array, Array]:
    """The integral, and its error by truncation."""
    k, total = len(points) - 1, sum(points)
    mean = derivative(total / (k + 1))
    outer = sum(derivative((total + 2 * x) / (k + 3)) for x in points)
    weights = (k + 3) ** 3 / math.factorial(k + 3) / 4, (k + 1) ** 3 / math.factorial(k + 2) / 4
    integral = weights[0] * outer - weights[1] * mean
    size = jnp.abs(integral)
    error = jnp.abs(integral - mean / math.factorial(k))
    return integral, error * error / jnp.where(size == 0, 1, size)
