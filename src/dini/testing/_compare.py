"""When two numbers that were computed in different ways count as the same."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from dini.testing._map import Arrays, Map, Numbers, kind, number, turned, wide
from dini.testing._options import Options
from dini.testing._report import Finding, Verdict

# How far numbers may differ, in units of what moving the point by a rounding error makes of them.
_NOISE = 30

# Noise of more than this share of the numbers leaves nothing to compare.
_DROWNED = 1e-3

# How often numbers are moved: what is left of a sum that cancels may by chance not move.
_LOOKS = 8


class Comparison(NamedTuple):
    """Which numbers differ, and which of those cannot be told from rounding."""

    wrong: Numbers
    doubtful: Numbers

    @property
    def any_wrong(self) -> bool:
        """Whether any number is wrong beyond doubt."""
        return any(np.any(w) for w in self.wrong)

    @property
    def any_doubtful(self) -> bool:
        """Whether rounding at this point may hide a mistake."""
        return any(np.any(d) for d in self.doubtful)


def compare(
    got: Numbers, expected: Numbers, allowed: Numbers, noise: Callable[[], Numbers]
) -> Comparison:
    """Compares number by number.

    An ill-conditioned function makes more of a rounding error than `allowed`, and so does a sum
    that cancels. How much is seen from what becomes of `got` when the point and the direction move
    by one: `noise()`, asked for only when it matters.
    """
    wrong = [~_same(g, e, a) for g, e, a in zip(got, expected, allowed, strict=True)]
    doubtful = [np.zeros(w.shape, bool) for w in wrong]
    if any(np.any(w) for w in wrong):
        parts = zip(got, expected, allowed, noise(), wrong, strict=True)
        for k, (g, e, a, n, before) in enumerate(parts):
            wrong[k] = ~_same(g, e, a + _NOISE * n)
            scale = np.max(np.abs(e), initial=0.0, where=np.isfinite(e))
            doubtful[k] = before & ~wrong[k] & ~(_NOISE * n <= _DROWNED * scale)
    return Comparison(wrong, doubtful)


def _same(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        near = np.abs(got - expected) <= allowed
    return np.asarray(near | (got == expected) | (np.isnan(got) & np.isnan(expected)))


def rounding(share: float, *numbers: Numbers) -> Numbers:
    """A share of the largest number of each leaf, as what rounding may make of the leaf."""
    sizes = [
        sum(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)) for x in leaf)
        for leaf in zip(*numbers, strict=True)
    ]
    return [np.full(x.shape, share * s) for x, s in zip(numbers[0], sizes, strict=True)]


def noise(
    map_: Map,
    random: np.random.Generator,
    evaluate: Callable[..., Numbers],
    *directions: Arrays,
) -> Numbers:
    """How far `evaluate(map_, *directions)` moves when its numbers move by rounding errors."""
    here = evaluate(map_, *directions)
    seen = [np.zeros(x.shape) for x in here]
    for _ in range(_LOOKS):
        there = evaluate(map_.nearby(random), *(turned(d, random) for d in directions))
        with np.errstate(invalid="ignore"):
            moves = [np.abs(t - h) for t, h in zip(there, here, strict=True)]
        seen = [np.fmax(s, m) for s, m in zip(seen, moves, strict=True)]
    return seen


class Difference(NamedTuple):
    """A number that two ways of computing it disagree on; or what keeps them from comparing."""

    reason: str
    within: str = ""
    got: float | complex | None = None
    expected: float | complex | None = None
    error: float | None = None

    def finding(self, label: Finding, path: str) -> Finding:
        """As a failure of what `label` says was looked at."""
        return dataclasses.replace(
            label,
            verdict=Verdict.FAIL,
            path=path + self.within,
            got=self.got,
            expected=self.expected,
            error=self.error,
            reason=self.reason,
        )


def difference(
    map_: Map,
    got: Array,
    expected: Array,
    again: Callable[..., Numbers],
    options: Options,
    *directions: Arrays,
) -> Difference | None:
    """What distinguishes two arrays that should be the same but for rounding; None for nothing.

    Args:
        map_: the function at the point.
        got: an array.
        expected: what it should be.
        again: how `expected` is computed, `again(map_, *directions)`, here or near.
        options: the tolerance.
        *directions: tangents and cotangents.
    """
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        return Difference(f"is {kind(got)}, and must be {kind(expected)}")
    x, y = wide(got), wide(expected)
    allowed = rounding(options.share(map_), [y])
    random = options.random(8)
    seen = compare([x], [y], allowed, lambda: noise(map_, random, again, *directions))
    if not seen.any_wrong:
        return None
    i = int(np.argmax(seen.wrong[0]))
    numbers = (a.reshape(-1)[i].item() for a in (x, y, allowed[0]))
    return Difference("the two differ", number("", i, expected), *numbers)
