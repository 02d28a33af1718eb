"""Ridders' method: differences of many steps, extrapolated, with an error bar."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import PyTree

from dini.numeric._extrapolation import Estimate, Levels, extrapolate
from dini.numeric._function import Direction, Function, Sample, travelled
from dini.numeric._steps import Group, check_step, groups

# The largest step, in units of the leaf's size.
_LARGEST = 0.25

# The smallest step of a second look moves x by this many units in the last place.
_ULPS = 64

# A leaf may be small by accident, where f's own scale is 1: a second look goes that far up, but by
# no more than this many doublings.
_UPWARDS = 40

_FEWEST = 7


def ridders_jvp(
    f: Callable,
    primals: Sequence[PyTree],
    tangents: Sequence[PyTree],
    step: float | None = None,
) -> tuple[PyTree, PyTree, PyTree]:
    """The directional derivative of f from its values, with an error bar for each number.

    Central differences D(t) = J v + a₁t² + a₂t⁴ + ... of steps that fall by halves, extrapolated to
    t = 0 (Ridders, Advances in Engineering Software 4, 1982, pages 75-76). Of the extrapolations
    from all starting steps one takes, for each number of f's value, that with the smallest bar,
    which is the sum of

    - its distance to its neighbours in the tableau,
    - the rounding of f: what its precision makes, or the scatter that is seen, whichever is more,
    - its distance to what all smaller steps say, as far as rounding does not explain it,
    - half the difference of the slopes to the two sides, where that does not vanish with t.

    So a value found on the far side of a pole or from aliased steps has a large bar, not a small
    one. Where that bar is no use, where f jumps, or where too few points lie within f's domain, the
    method is inconclusive: the value is NaN, the bar infinite. A bar is an estimate all the same:
    what f does between x and its nearest neighbours, or within some units of the rounding of its
    own value, cannot be told from rounding.

    The first look takes steps from 1/4 of the leaf's size down to √eps of it; some 50 evaluations
    for each group of leaves that can share their steps. Where that is not enough, a second look
    goes down to 64 eps, and for a small leaf up to steps of 1/4; up to 200 evaluations. A host
    function that raises a ValueError or an ArithmeticError at a point counts as not finite there.

    Args:
        f: as for [`finite_difference_jvp`][dini.numeric.finite_difference_jvp].
        primals: the point, a tuple of pytrees.
        tangents: the direction v, a tuple of pytrees.
        step: the largest t, if not 1/4 of the leaf's size.

    Returns:
        f(*primals), as f returned it; the tangent, with its structure, shapes and dtypes; and
        the error bars, of the same structure and shapes and of real dtypes. Both have zeros of
        dtype float0 for what is no float.

    Raises:
        TypeError: as `finite_difference_jvp`.
        ValueError: as `finite_difference_jvp`.
    """
    check_step(step)
    function = Function(f, primals, "ridders_jvp")
    value, error = ridders(function, function.direction(tangents), step)
    error = np.where(np.isfinite(function.here.values), error, np.inf)
    return function.out, function.tangent_out(value), function.error_out(error)


def ridders(
    function: Function, direction: Direction, step: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """J v and its error bar, of shape (size,): the sums over the groups of leaves."""
    value = np.zeros_like(function.here.values)
    error = np.zeros(value.shape)
    for group in groups(function, direction):
        part = _estimate(function, group, step)
        value = value + part.value
        error = error + part.error
    return value, error


def _estimate(function: Function, group: Group, step: float | None) -> Estimate:
    top = _exponent(_LARGEST * group.unit if step is None else step)
    bottom = min(_exponent(math.sqrt(group.eps) * group.unit), top - _FEWEST + 1)
    samples: dict[int, tuple[Sample | None, Sample | None]] = {}
    first = extrapolate(_levels(function, group, range(top, bottom - 1, -1), samples))
    size = max(float(np.max(np.abs(v))) for v in group.direction.values())
    upper = max(top, min(_exponent(_LARGEST / size), top + _UPWARDS)) if step is None else top
    # Steps from a leaf that is small by accident may be too small for f to notice.
    doubtful = first.doubtful | ((first.value == 0) & (upper > top))
    if not np.any(doubtful & np.isfinite(function.here.values)):
        return first
    lower = min(bottom, _exponent(_ULPS * group.eps * group.unit))
    levels = _levels(function, group, range(upper, lower - 1, -1), samples)
    second = extrapolate(levels.part(levels.t.size, doubtful))
    value, error, left = first.value.astype(second.value.dtype), first.error, np.array(doubtful)
    value[doubtful], error[doubtful], left[doubtful] = second
    return Estimate(value, error, left)


def _exponent(t: float) -> int:
    return math.floor(math.log2(t))


def _levels(
    function: Function,
    group: Group,
    exponents: range,
    samples: dict[int, tuple[Sample | None, Sample | None]],
) -> Levels:
    """Samples at x ± 2^e v for all the exponents e, keeping what was evaluated in `samples`."""
    ways, values = [], []
    missing = np.full_like(function.here.values, np.nan)
    for e in exponents:
        t = 2.0**e
        if e not in samples:
            samples[e] = _try(function, group.direction, t), _try(function, group.direction, -t)
        plus, minus = samples[e]
        values.append([missing if s is None else s.values for s in (plus, minus)])
        pairs = (plus, minus), (plus, function.here), (function.here, minus)
        ways.append([_way(group.direction, a, b) for a, b in pairs])
    found = np.array(values).reshape(len(exponents), 2, -1)
    found = np.where(np.isfinite(found), found, np.nan)
    steps = np.exp2(np.asarray(exponents, float))
    plus, minus = found[:, 0], found[:, 1]
    here = function.here.values
    return Levels(steps, np.array(ways), plus, minus, here, function.eps, group.unit)


def _way(direction: Direction, a: Sample | None, b: Sample | None) -> float:
    return math.nan if a is None or b is None else travelled(direction, a, b)


def _try(function: Function, direction: Direction, t: float) -> Sample | None:
    """A sample; None where a function of Python floats says that a point is outside its domain."""
    try:
        return function.at(direction, t)
    except (ArithmeticError, ValueError):
        return None
