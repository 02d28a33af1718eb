"""Forward mode against differences of values."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from dini.testing._compare import compare, noise
from dini.testing._explain import SOME, Suspect, Triple, explain
from dini.testing._map import Block, Map, Numbers, blocks, draw, is_complex
from dini.testing._options import Options
from dini.testing._oracle import BARS, Expected, Oracle, differences, unknown
from dini.testing._report import Finding, Verdict, doubted

# Directions that are tried before differences that come to no conclusion are left at that.
_ATTEMPTS = 3


def tangents(map_: Map, label: Finding, options: Options) -> Iterator[Finding]:
    """J v against differences, for each leaf on its own."""
    oracle = differences(map_, options.analytic)
    for place, block in enumerate(blocks(map_.xs)):
        yield _tangent(map_, block, oracle, label, options, options.random(1, place))


def _tangent(
    map_: Map,
    block: Block,
    oracle: Oracle,
    label: Finding,
    options: Options,
    random: np.random.Generator,
) -> Finding:
    left = [np.ones(s.shape, bool) for s in map_.like]
    suspect = [np.zeros(s.shape, bool) for s in map_.like]
    doubtful, vague = False, 0.0
    for _ in range(_ATTEMPTS):
        values = draw(random, block.indices.shape, is_complex(map_.xs[block.leaf]))
        vs = block.tangents(map_.xs, values)
        got, expected = map_.jvp(vs), oracle(block, values)
        allowed = [
            BARS * e + options.share(map_) * np.abs(v)
            for v, e in zip(expected.value, expected.error, strict=True)
        ]
        known = [np.isfinite(e) for e in expected.error]
        parts = zip(known, got, expected.value, strict=True)
        value = [np.where(k, v, g) for k, g, v in parts]
        seen = compare(got, value, allowed, lambda vs=vs: noise(map_, random, Map.jvp, vs))
        # Wrong along two directions, at other steps: no bar that was too small by chance.
        again = [s & w for s, w in zip(suspect, seen.wrong, strict=True)]
        if any(np.any(w) for w in again):
            return _wrong(map_, block, again, label, options)
        doubtful |= seen.any_doubtful
        vague = max(vague, _relative(expected))
        suspect = [s | w for s, w in zip(suspect, seen.wrong, strict=True)]
        left = [u & ~(k & ~w) for u, k, w in zip(left, known, seen.wrong, strict=True)]
        if not any(np.any(u) for u in left):
            return doubted(label) if doubtful else dataclasses.replace(label, error=vague)
    return unknown(map_, block, left, label)


def _wrong(map_: Map, block: Block, wrong: Numbers, label: Finding, options: Options) -> Finding:
    output = next(k for k, w in enumerate(wrong) if np.any(w))
    size = wrong[output].size
    first = np.flatnonzero(wrong[output])[: SOME // 2]
    some = np.union1d(first, np.arange(min(size, SOME if size <= SOME else SOME // 2)))
    view = lambda ys: (ys[output].reshape(-1)[some],)
    oracle = differences(map_, options.analytic, view)

    def along(block: Block, values: np.ndarray) -> Triple:
        (value,), (error,) = oracle(block, values)
        got = map_.jvp(block.tangents(map_.xs, values))[output].reshape(-1)[some]
        return got, value, error

    fails = dataclasses.replace(
        label,
        verdict=Verdict.FAIL,
        path=f"{map_.inputs[block.leaf]} → {map_.outputs[output]}",
        reason="not the derivative along a random tangent",
    )
    return explain(map_, Suspect(block, output, some, along), options.share(map_), fails)


def _relative(expected: Expected) -> float:
    """The largest error bar, in units of the largest number of its leaf."""
    found = 0.0
    for value, error in zip(expected.value, expected.error, strict=True):
        size = np.max(np.abs(value), initial=0.0, where=np.isfinite(error))
        if size > 0:
            found = max(found, np.max(error, initial=0.0, where=np.isfinite(error)) / size)
    return float(found)
