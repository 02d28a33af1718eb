"""Reverse mode against forward mode, or against differences where that is the only mode."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dini.testing._compare import compare, noise
from dini.testing._explain import SOME, Suspect, Triple, explain
from dini.testing._map import (
    Arrays,
    Block,
    Map,
    Numbers,
    blocks,
    draw,
    is_complex,
    narrow,
    only,
    weights,
)
from dini.testing._options import Options
from dini.testing._oracle import BARS, Expected, Oracle, differences, forward, unknown
from dini.testing._report import Finding, Verdict, doubted


class _Side(NamedTuple):
    """One leaf of ys, and the cotangents that are zero on the others."""

    output: int
    ws: Arrays

    @property
    def w(self) -> Array:
        return self.ws[self.output]


def adjoints(map_: Map, label: Finding, options: Options) -> Iterator[Finding]:
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩, for each pair of leaves on its own.

    J v is that of forward mode, where that is one of the modes, else that of differences.
    """
    oracle_of = functools.partial(
        forward if "fwd" in options.modes else differences, map_, options.analytic
    )
    random = options.random(3)
    for block in blocks(map_.xs):
        values = draw(random, block.indices.shape, is_complex(map_.xs[block.leaf]))
        expected = oracle_of()(block, values)
        for output, like in enumerate(map_.like):
            known = np.isfinite(expected.error[output])
            if np.all(known):
                side = _Side(output, only(weights(random, map_.like), output))
                one = Expected([expected.value[output]], [expected.error[output]])
                yield _adjoint(map_, block, values, side, one, oracle_of, label, options)
            elif like.size:
                yield unknown(map_, block, [~known], label)


def _adjoint(
    map_: Map,
    block: Block,
    values: np.ndarray,
    side: _Side,
    expected: Expected,
    oracle_of: Callable[..., Oracle],
    label: Finding,
    options: Options,
) -> Finding:
    vs = block.tangents(map_.xs, values)
    v = vs[block.leaf]
    (tangent,), (error,) = expected
    cotangent = map_.vjp(side.ws)[block.leaf]
    size = _product(np.abs(cotangent), jnp.abs(v)) + _product(np.abs(tangent), jnp.abs(side.w))
    bar = _product(error, jnp.abs(side.w))
    left, right = _product(cotangent, v), _product(tangent, side.w)

    def both(m: Map) -> Numbers:
        of_rule = _product(m.vjp(side.ws)[block.leaf], v)
        return [of_rule, _product(m.jvp(vs)[side.output], side.w)] if not bar else [of_rule, right]

    random = options.random(4)
    allowed = np.asarray(BARS * bar + options.share(map_) * size)
    gap = lambda: [np.sum(noise(map_, random, both), axis=0)]
    seen = compare([left], [right], [allowed], gap)
    if not seen.any_wrong:
        return doubted(label) if seen.any_doubtful else label
    fails = dataclasses.replace(
        label,
        verdict=Verdict.FAIL,
        path=f"{map_.inputs[block.leaf]} → {map_.outputs[side.output]}",
        got=left.item(),
        expected=right.item(),
        error=bar.item(),
        reason="⟨Jᵀ w, v⟩ is not ⟨w, J v⟩",
    )

    # Every row of the Jacobian where they are few, else their sum wᵀ J alone.
    by_rows = side.w.size <= SOME and not is_complex(side.w)

    view = lambda ys: ys[side.output].reshape(-1)
    if not by_rows:
        view = lambda ys: (ys[side.output] * side.w).sum().real.reshape(1)
    oracle = oracle_of(lambda ys: (view(ys),))
    wss = [_unit(map_, side, i) for i in range(side.w.size)] if by_rows else [side.ws]

    def along(block: Block, values: np.ndarray) -> Triple:
        v = block.tangents(map_.xs, values)[block.leaf]
        (tangent,), (error,) = oracle(block, values)
        return np.array([_product(map_.vjp(ws)[block.leaf], v) for ws in wss]), tangent, error

    rows = np.arange(side.w.size) if by_rows else None
    suspect = Suspect(block, side.output, rows, along)
    return explain(map_, suspect, options.share(map_), fails)


def _unit(map_: Map, side: _Side, index: int) -> Arrays:
    e = np.zeros(side.w.size)
    e[index] = 1
    ws = [jnp.zeros(s.shape, s.dtype) for s in map_.like]
    ws[side.output] = narrow(e.reshape(side.w.shape), side.w)
    return tuple(ws)


def _product(x: np.ndarray, y: Array) -> np.ndarray:
    """Re Σ x y: JAX's pairing of tangents and cotangents, without conjugation."""
    return np.asarray(np.sum(x * np.asarray(y).astype(np.result_type(x, np.float64, y.dtype))).real)
