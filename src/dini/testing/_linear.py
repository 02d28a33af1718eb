"""Tangents and cotangents: linear maps, exactly zero at zero."""

import dataclasses
from collections.abc import Callable, Iterator

import jax.numpy as jnp

from dini.testing._compare import compare, noise, rounding
from dini.testing._map import Arrays, Map, Numbers, blocks, draw, is_complex, only, weights
from dini.testing._options import Options
from dini.testing._report import Finding, Verdict

# Directions are scaled up and down by this power of two, where the dtype has the range for it.
_SCALING = 20


def linear(map_: Map, mode: str, label: Finding, options: Options) -> Iterator[Finding]:
    """Zero gives exactly zero, a sum the sum, a multiple the multiple: for each leaf."""
    along = _cotangents if mode == "rev" else _tangents
    evaluate: Callable[[Map, Arrays], Numbers] = Map.vjp if mode == "rev" else Map.jvp
    what = "cotangent" if mode == "rev" else "tangent"
    for path, u, v in along(map_, options):
        wrong = _not_linear(map_, u, v, evaluate, options)
        reason = f"the {what} is not linear: {wrong}"
        fails = dataclasses.replace(label, verdict=Verdict.FAIL, path=path, reason=reason)
        yield fails if wrong else label


def _tangents(map_: Map, options: Options) -> Iterator[tuple[str, Arrays, Arrays]]:
    random = options.random(5)
    for b in blocks(map_.xs):
        shape, complex_ = b.indices.shape, is_complex(map_.xs[b.leaf])
        u, v = (b.tangents(map_.xs, draw(random, shape, complex_)) for _ in range(2))
        yield map_.inputs[b.leaf], u, v


def _cotangents(map_: Map, options: Options) -> Iterator[tuple[str, Arrays, Arrays]]:
    random = options.random(6)
    for k, name in enumerate(map_.outputs):
        u, v = (only(weights(random, map_.like), k) for _ in range(2))
        yield name, u, v


def _not_linear(
    map_: Map,
    u: Arrays,
    v: Arrays,
    evaluate: Callable[[Map, Arrays], Numbers],
    options: Options,
) -> str | None:
    """What it is that does not hold."""
    at_zero = evaluate(map_, _scaled(0, u))
    if any(jnp.any(jnp.isnan(x)) for x in at_zero):
        return "zero gives NaN"
    if any(jnp.any(x != 0) for x in at_zero):
        return "zero does not give zero"
    of_u, of_v = evaluate(map_, u), evaluate(map_, v)
    random = options.random(9)

    def agree(t: Arrays, expected: Numbers, size: float = 1.0) -> bool:
        again = lambda m, t: [x / size for x in evaluate(m, t)]
        allowed = rounding(options.share(map_), of_u, of_v)
        gap = lambda: noise(map_, random, again, t)
        return not compare(again(map_, t), expected, allowed, gap).any_wrong

    both = tuple((x + y).astype(x.dtype) for x, y in zip(u, v, strict=True))
    if not agree(both, [x + y for x, y in zip(of_u, of_v, strict=True)]):
        return "a sum does not give the sum"
    power = min(_SCALING, *(int(jnp.finfo(x.dtype).maxexp) // 6 for x in u))
    for a in (-3.0, 2.0**power, 2.0**-power):
        if not agree(_scaled(a, u), of_u, a):
            return f"{a:.3g} times the direction does not give {a:.3g} times the result"
    return None


def _scaled(a: float, arrays: Arrays) -> Arrays:
    return tuple((a * x).astype(x.dtype) for x in arrays)
