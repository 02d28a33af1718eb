"""Extrapolation of central differences to step zero, with an error bar that can be believed.

A classical tableau believes two neighbours that agree, and neighbours may agree on a wrong value:
on the far side of a pole or of a kink, or on aliased steps of a fast oscillation. The limit t → 0
decides, so here every candidate must also explain the differences of all smaller steps, up to the
rounding that is seen in them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Orders of the tableau: an entry of column j is exact for polynomials of degree 2j + 2.
_COLUMNS = 4

# The rounding of a good f is half a unit in the last place or a few; this many are allowed for.
_UNITS = 2.0

# What is seen as rounding in a few levels may be this factor more in another one.
_MARGIN = 4.0

# Levels at the fine end from which rounding is seen for all: fewer could agree by chance.
_SEEN = 6

# Levels that a kink is looked for in, from that of the candidate on.
_NEAR = 4

# Scatter beyond this many units of rounding is not rounding alone: f is noisy, or changes within
# the steps. Scatter that falls by so much at smaller steps is no noise: they resolve its cause.
_SUSPECT = 16.0

# A share of f's variation that scatter must not reach: what is left then is no slope.
_DROWNED = 2.0**-8

# What should fall to a half or a quarter with t and stays above this share does not fall.
_SAME = 0.75

# Where f does not change at all below this power of eps, as a share of x, but does above, it was
# rounded inside.
_ROUNDED = 1 / 3

_FEWEST = 5


class Levels(NamedTuple):
    """f at x, and at x ± t v for a falling sequence of K steps, each half the one before.

    Attributes:
        t: the steps, shape (K,).
        ways: from x − tv to x + tv, from x to x + tv, and from x − tv to x, as travelled, in units
            of v, shape (K, 3).
        plus, minus: f's values, shape (K, size); NaN where f is not finite or refuses.
        here: f's value at x, shape (size,).
        eps: the machine epsilon of each value, shape (size,).
        unit: the t at which x + tv differs from x by the size of x.
    """

    t: np.ndarray
    ways: np.ndarray
    plus: np.ndarray
    minus: np.ndarray
    here: np.ndarray
    eps: np.ndarray
    unit: float

    def part(self, levels: int, numbers: np.ndarray) -> "Levels":
        """The first levels alone, of some of the numbers."""
        return Levels(
            self.t[:levels],
            self.ways[:levels],
            self.plus[:levels, numbers],
            self.minus[:levels, numbers],
            self.here[numbers],
            self.eps[numbers],
            self.unit,
        )


class Estimate(NamedTuple):
    """The derivative of each number, its error bar, and whether smaller steps might help."""

    value: np.ndarray
    error: np.ndarray
    doubtful: np.ndarray


def extrapolate(levels: Levels) -> Estimate:
    """The derivative along v of each number: NaN with an infinite error bar where inconclusive."""
    size, count = levels.here.size, levels.t.size
    dtype = np.result_type(levels.plus, levels.here)
    value, error = np.full(size, np.nan, dtype), np.full(size, np.inf)
    doubtful = np.ones(size, bool)
    # Steps so small that a rounded f stands still would speak for a derivative of zero.
    still = (levels.plus == levels.here) & (levels.minus == levels.here)
    rounded = (
        still & (levels.t[:, None] < levels.eps**_ROUNDED * levels.unit) & ~np.all(still, axis=0)
    )
    usable = np.where(np.any(rounded, axis=0), np.argmax(rounded, axis=0), count)
    for number in np.unique(usable):
        which = usable == number
        if number >= _FEWEST:
            with np.errstate(all="ignore"):
                parts = _extrapolate(levels.part(int(number), which))
            value[which], error[which], doubtful[which] = parts
    doubtful &= ~np.all(still, axis=0)
    return Estimate(value, error, doubtful)


def _extrapolate(levels: Levels) -> Estimate:
    t = levels.t[:, None]
    table = _tableau((levels.plus - levels.minus) / levels.ways[:, :1])
    # What rounding f costs at least, and what is seen: the scatter of entries whose truncation
    # error, of size t⁶, is far below it at small steps.
    largest = np.maximum(np.abs(levels.plus), np.abs(levels.minus))
    rounding = _UNITS * levels.eps * np.maximum(largest, np.abs(levels.here))
    scatter = np.maximum(t * np.abs(np.diff(table[2], axis=0, prepend=np.nan)), rounding)
    noise = _from_finer(np.where(np.isnan(scatter), np.inf, scatter))
    kink, jump = _one_sided(levels, noise[-1])

    # Δ: the distance to what smaller steps say, beyond what their own errors explain.
    beyond = _beyond(table[2], np.abs(table[2] - table[1]) + _MARGIN * noise / t)
    last = t.size - 1
    value, error = table[0][last].copy(), np.full(levels.here.size, np.inf)
    # The last two levels only judge.
    for k in range(1, last - 1):
        for j in range(1, min(k - 1, _COLUMNS) + 1):
            candidate = table[j][k]
            gap = np.maximum(
                np.abs(candidate - table[j - 1][k]), np.abs(candidate - table[j][k - 1])
            )
            bar = gap + 2 * noise[k] / t[k] + np.maximum(beyond(k, candidate), 0) + kink[k]
            bar = np.where(np.isfinite(bar) & (noise[k] <= _SUSPECT * noise[last]), bar, np.inf)
            better = bar < error
            value, error = np.where(better, candidate, value), np.where(better, bar, error)
    error = error + levels.eps * np.abs(value)

    floor = rounding[last]
    moves = np.abs(np.stack([levels.plus, levels.minus]) - levels.here)
    variation = np.max(np.where(np.isfinite(moves), moves, 0), axis=(0, 1))
    noisy = noise[last] > _SUSPECT * floor
    drowned = noisy & (noise[last] > _DROWNED * variation)
    # A bar is of use if it is a small share of the derivative, or of what an x of this size makes.
    root = np.sqrt(levels.eps)
    natural = root * (np.abs(levels.here) + variation) / levels.unit
    useless = error > 0.1 * np.abs(value) + natural
    error = np.where(drowned | jump | useless | ~np.isfinite(value), np.inf, error)
    value = np.where(np.isfinite(error), value, np.nan)
    return Estimate(value, error, noisy | ~(error <= root * np.abs(value)))


# Of real numbers, max |c − f| − a is the larger of c − min (f + a) and max (f − a) − c.
def _beyond(finer: np.ndarray, allowed: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
    """(k, c) ↦ the largest |c − f| − a over the levels after k, shape (size,)."""
    if np.iscomplexobj(finer):
        return lambda k, c: np.max(np.abs(c - finer[k + 1 :]) - allowed[k + 1 :], axis=0)
    high = np.minimum.accumulate((finer + allowed)[::-1], axis=0)[::-1]
    low = np.maximum.accumulate((finer - allowed)[::-1], axis=0)[::-1]
    return lambda k, c: np.maximum(c - high[k + 1], low[k + 1] - c)


def _tableau(central: np.ndarray) -> list[np.ndarray]:
    """Richardson's: D(t) = J v + a₁ t² + a₂ t⁴ + ...; column j is free of the first j terms."""
    table = [central]
    for j in range(1, _COLUMNS + 1):
        entry = np.full_like(central, np.nan)
        entry[1:] = (4.0**j * table[-1][1:] - table[-1][:-1]) / (4.0**j - 1)
        table.append(entry)
    return table


def _from_finer(scatter: np.ndarray) -> np.ndarray:
    """The largest scatter at smaller steps, at the last few levels in any case; shape (K, size)."""
    seen = np.maximum.accumulate(scatter[::-1], axis=0)[::-1]
    start = np.minimum(np.arange(len(scatter)) + 1, max(len(scatter) - _SEEN, 0))
    return seen[start]


def _one_sided(levels: Levels, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the difference of the slopes to the two sides, and whether f(x) fits its neighbours.

    The difference of the one-sided quotients is G(t) = t f'' + b t³ + ..., which extrapolated by
    its own orders, 2 G(t) − G(2t) and so on, falls to zero with t⁵, unless x is a kink. And
    f(x + t) − 2 f(x) + f(x − t) falls with t² (at a kink with t), unless f jumps at x.
    """
    t = levels.t[:, None]
    ahead = (levels.plus - levels.here) / levels.ways[:, 1:2]
    gap = ahead - (levels.here - levels.minus) / levels.ways[:, 2:]
    limit = np.full(gap.shape, np.nan, gap.dtype)
    limit[1:] = 2 * gap[1:] - gap[:-1]
    limit[1:] = (8 * limit[1:] - limit[:-1]) / 7
    # A few levels are enough to fall into rounding; much finer ones are on one side of a near kink,
    # and one may be zero by chance: the second smallest of four.
    size = np.where(np.isnan(limit), np.inf, np.abs(limit) / 2)
    size = np.concatenate([size, np.full((_NEAR - 1, *size.shape[1:]), np.inf)])
    near = np.stack([size[k : k + len(limit)] for k in range(_NEAR)])
    kink = np.sort(near, axis=0)[1]
    second = np.abs(t * gap)
    jump = (second[-1] > _SAME * second[-2]) & (second[-1] > _MARGIN**2 * noise)
    return kink, jump
