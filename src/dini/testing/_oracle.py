"""What a derivative should be: differences of values, or another mode already checked."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dini.numeric import complex_step_jvp, ridders_jvp
from dini.testing._map import Arrays, Block, Map, Numbers, wide
from dini.testing._options import ROUNDING
from dini.testing._report import Finding, Verdict

# Error bars are estimates: how many of them a number may be off.
BARS = 4


class Expected(NamedTuple):
    """J v and its error bars; a bar is infinite where nothing is known."""

    value: Numbers
    error: Numbers


# The derivative of a block along values (n,), in units of the block's size.
Oracle = Callable[[Block, np.ndarray], Expected]


# What of ys is looked at, a linear function of them.
View = Callable[[Any], Any]

_all: View = lambda ys: ys


def differences(map_: Map, analytic: bool, view: View = _all) -> Oracle:
    """J v by Ridders' method, or by complex steps for a function that is analytic."""

    def oracle(block: Block, values: np.ndarray) -> Expected:
        leaf = map_.xs[block.leaf]
        whole = block.indices.size == leaf.size
        vs = block.tangents(map_.xs, values)[block.leaf]

        def of_part(part: Array) -> Arrays:
            x = part if whole else _with_part(leaf, block.indices, part)
            try:
                ys = map_.value((*map_.xs[: block.leaf], x, *map_.xs[block.leaf + 1 :]))
                return view(ys)
            except RuntimeError as error:  # a solve that fails further away
                raise ArithmeticError(str(error)) from error

        cut = lambda a: a if whole else a.reshape(-1)[block.indices]
        primals, tangents = (cut(leaf),), (cut(vs),)
        if analytic:
            _, tangent = complex_step_jvp(of_part, primals, tangents)
            value = [wide(t) for t in tangent]
            error = [ROUNDING * map_.eps * np.max(np.abs(v), initial=0.0) + 0 * v for v in value]
            return Expected(value, [np.where(np.isnan(e), np.inf, e) for e in error])
        with _quiet():
            _, tangent, error = ridders_jvp(of_part, primals, tangents)
        return Expected([wide(t) for t in tangent], [wide(e) for e in error])

    return oracle


def _with_part(leaf: Array, indices: np.ndarray, part: Array) -> Array:
    x = np.array(leaf, part.dtype).reshape(-1)  # on the host, where no shape needs compiling
    x[indices] = part
    return jnp.asarray(x.reshape(leaf.shape))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps JAX from logging the host functions that refuse a point far away."""
    logger = logging.getLogger("jax")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def forward(map_: Map, analytic: bool, view: View = _all) -> Oracle:
    """J v by forward mode."""
    del analytic

    def oracle(block: Block, values: np.ndarray) -> Expected:
        tangent = map_.jvp(block.tangents(map_.xs, values))
        value = [np.asarray(t) for t in view(tuple(tangent))]
        return Expected(value, [np.zeros(v.shape) for v in value])

    return oracle


def unknown(map_: Map, block: Block, left: Numbers, label: Finding) -> Finding:
    """The finding that differences know nothing of some numbers."""
    count, total = (sum(int(np.sum(u)) for u in left), sum(u.size for u in left))
    reason = (
        f"differences come to no conclusion at {count} of {total} numbers: is there a kink or a "
        "pole near the point, or noise?"
    )
    return dataclasses.replace(
        label, verdict=Verdict.INCONCLUSIVE, path=map_.inputs[block.leaf], reason=reason
    )
