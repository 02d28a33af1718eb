"""How far to step: by the method's order, the leaf's precision and the leaf's size."""

import math
from typing import NamedTuple

import numpy as np

from dini.numeric._function import Direction, Function

# The truncation error of each method falls with this power of the step.
ORDERS = {"forward": 1, "central": 2, "five_point": 4}

# Numbers whose best steps differ by no more than this share one difference: with the smallest of
# the steps, none loses more than this factor in roundoff.
_SHARED = 4.0

# Within a leaf, numbers of the tangent smaller than this share of the largest would be lost in the
# rounding of x + t v.
_BAND = 2.0**-20


def check_step(step: float | None) -> None:
    """Refuses a step that is no positive number; None leaves it to the method."""
    if step is not None and not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be a positive number, got {step!r}")


class Group(NamedTuple):
    """Leaves, or parts of them, that move together.

    Attributes:
        direction: their tangents; all others stand still.
        unit: the t at which x + t v differs from x by about the size of x.
        eps: the machine epsilon of the least precise number that is involved.
    """

    direction: Direction
    unit: float
    eps: float

    def step(self, order: int) -> float:
        """The t that balances truncation against roundoff: t = eps^(1/(order + 1)) unit.

        Truncation is of size t^order and roundoff of size eps / t, in units of |f| and of `unit`;
        their sum is least near there (Press and others, Numerical Recipes, section 5.7). A power of
        two, so that t v is exact.
        """
        return 2.0 ** round(math.log2(self.eps ** (1 / (order + 1)) * self.unit))


def leaf_size(x: np.ndarray) -> float:
    """The size of a leaf: its largest finite number, or 1 where all are zero."""
    return float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0)) or 1.0


def groups(function: Function, direction: Direction) -> list[Group]:
    """Splits a direction into parts that can each be stepped well.

    J v is linear in v, so J v = Σ J v_g for v = Σ v_g. A leaf near 1e9 beside one near 1e-9 admits
    no step that moves the first and does not throw the second out of its domain: each gets its own
    difference. Leaves that agree share one, which costs no more evaluations for a hundred leaves
    than for one, and the rounding of f enters once.
    """
    parts = []
    for i, v in direction.items():
        size, eps = np.abs(v), function.leaf_eps(i)
        while np.any(size):
            largest = np.max(size)
            band = size > _BAND * largest
            unit = leaf_size(function.x[i]) / largest
            parts.append((i, np.where(band, v, 0), unit, eps))
            size = np.where(band, 0, size)
    # By the step of a central difference, in which precision counts as well.
    parts.sort(key=lambda part: part[2] * part[3] ** (1 / 3))
    found: list[Group] = []
    first = 0.0
    for i, v, unit, eps in parts:
        t = unit * eps ** (1 / 3)
        if found and t <= _SHARED * first and i not in found[-1].direction:
            last = found[-1]
            merged = {**last.direction, i: v}
            found[-1] = Group(merged, min(unit, last.unit), max(eps, last.eps))
        else:
            found.append(Group({i: v}, float(unit), eps))
            first = t
    return found
