"""Shapes, dtypes and weak types of values, tangents and cotangents."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array

from dini._tree import is_inexact
from dini.testing._map import Map, kind
from dini.testing._options import Options
from dini.testing._report import Finding, Verdict, raised


def types(map_: Map, mode: str, label: Finding) -> Finding:
    """The value keeps its type; a tangent has that of the value, a cotangent that of the leaf."""
    zeros = lambda like: tuple(jnp.zeros(s.shape, s.dtype) for s in like)
    # Where nothing is to be compiled, nothing can be traced either.
    run = jax.eval_shape if map_.programs.compiled else lambda program, *args: program(*args)
    value = run(map_.programs.value, map_.constants, map_.xs)
    if mode == "fwd":
        program, along, names, like = map_.programs.jvp, zeros(map_.xs), map_.outputs, value
    else:
        program, along, names, like = map_.programs.vjp, zeros(value), map_.inputs, map_.xs
    primal, derivative = run(program, map_.constants, map_.xs, along)
    what = "tangent of" if mode == "fwd" else "cotangent of"
    for name, got, expected in zip(names, derivative, like, strict=True):
        if kind(got) != kind(expected):
            return _differs(label, f"the {what} {name}", kind(got), kind(expected))
    for name, got, expected in zip(map_.outputs, primal, value, strict=True):
        kinds = [f"{kind(x)}{' (weak)' * x.weak_type}" for x in (got, expected)]
        if kinds[0] != kinds[1]:
            return _differs(label, f"the value {name} beside a derivative", *kinds)
    return label


def discrete(f: Callable[..., Any], arrays: list[Array], options: Options) -> Iterator[Finding]:
    """Arrays of integers and booleans take tangents, and get cotangents, of dtype float0."""
    if all(is_inexact(x) for x in arrays):
        return
    zero = lambda x: jnp.zeros_like(x) if is_inexact(x) else np.zeros(x.shape, jax.dtypes.float0)
    for mode in options.modes:
        found = Finding("types", f"float0 ({mode})")
        try:
            if mode == "fwd":
                out, dots = jax.jvp(f, arrays, [zero(x) for x in arrays])
                pairs = zip(jtu.tree_leaves(out), jtu.tree_leaves(dots), strict=True)
            else:
                out, pullback = jax.vjp(f, *arrays)
                pairs = zip(arrays, pullback(jtu.tree_map(zero, out)), strict=True)
            wrong = [(x, t) for x, t in pairs if (t.dtype == jax.dtypes.float0) == is_inexact(x)]
        except Exception as error:
            yield raised(found, error)
            continue
        yield _differs(found, "a leaf", *map(kind, wrong[0])) if wrong else found


def _differs(label: Finding, path: str, got: str, expected: str) -> Finding:
    reason = f"is {got}, and must be {expected}"
    return dataclasses.replace(label, verdict=Verdict.FAIL, path=path, reason=reason)
