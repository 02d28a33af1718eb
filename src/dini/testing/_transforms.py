"""The same numbers eagerly, compiled, mapped, scanned and rematerialised, and of one leaf alone."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dini.testing._compare import difference
from dini.testing._map import Arrays, Map, Programs, direction, only, weights, wide
from dini.testing._options import Options
from dini.testing._report import Finding, raised

_LANES = 3


class Lane(NamedTuple):
    """A point, a tangent and a cotangent."""

    xs: Arrays
    vs: Arrays
    ws: Arrays


# What is compared, by name: `value out[0]`, `jvp out[0]`, `vjp theta`.
Parts = dict[str, Array]


def transformed(map_: Map, names: tuple[str, ...], options: Options) -> Iterator[Finding]:
    """Each transformation asked for gives what the compiled function gives at each point."""
    lanes = _lanes(map_, options)
    plain = Programs(map_.programs.fun, compiled=False)
    traced = functools.partial(_parts, map_, options.modes, plain)
    agree = functools.partial(_agree, map_, options)

    if "jit" in names:
        yield agree("jit", "eager and compiled", lambda lane: [traced(*lane)], lanes[:1])
    if "vmap" in names:
        yield agree("vmap", "vmap", _mapped(traced), lanes)
        for how, some in _partly(map_, lanes):
            yield agree("vmap", f"vmap of jit, {how}", _mapped(jax.jit(traced)), some)
    if "scan" in names:
        yield agree("scan", "derivative of a scan", _scanned(map_, options.modes), lanes)
    if "checkpoint" in names:
        fun = Programs(jax.checkpoint(map_.programs.fun), compiled=True)
        kept = functools.partial(_parts, map_, options.modes, fun)
        yield agree("checkpoint", "checkpoint", lambda lane: [kept(*lane)], lanes[:1])


def alone(map_: Map, options: Options) -> Iterator[Finding]:
    """Leaves that stand still, and cotangents that are missing, count as zeros.

    JAX tells a rule of them by a symbolic zero, or by leaving the leaf out of the trace.
    """
    lane = _lanes(map_, options)[0]
    if len(map_.xs) > 1:
        for k, name in enumerate(map_.inputs):
            some = lane._replace(vs=only(lane.vs, k))
            single = jax.jit(functools.partial(_of_input, map_, k, options.modes))
            yield _agree(
                map_, options, "zeros", f"{name} alone", lambda a, run=single: [run(*a)], [some]
            )
    if len(map_.like) > 1 and "rev" in options.modes:
        for k, name in enumerate(map_.outputs):
            some = lane._replace(ws=only(lane.ws, k))
            single = jax.jit(functools.partial(_of_output, map_, k))
            how = f"the cotangent of {name} alone"
            yield _agree(map_, options, "zeros", how, lambda a, run=single: [run(*a)], [some])


def _parts(map_: Map, modes: tuple, programs: Programs, *lane: Arrays) -> Parts:
    xs, vs, ws = lane
    found = _named("value", map_.outputs, programs.value(map_.constants, xs))
    if "fwd" in modes:
        found |= _named("jvp", map_.outputs, programs.jvp(map_.constants, xs, vs)[1])
    if "rev" in modes:
        found |= _named("vjp", map_.inputs, programs.vjp(map_.constants, xs, ws)[1])
    return found


def _of_input(map_: Map, k: int, modes: tuple, *lane: Arrays) -> Parts:
    xs, vs, ws = lane
    f = lambda x: map_.programs.fun(map_.constants, (*xs[:k], x, *xs[k + 1 :]))
    found = {}
    if "fwd" in modes:
        found |= _named("jvp", map_.outputs, jax.jvp(f, (xs[k],), (vs[k],))[1])
    if "rev" in modes:
        found |= _named("vjp", map_.inputs[k : k + 1], jax.vjp(f, xs[k])[1](ws))
    return found


def _of_output(map_: Map, k: int, *lane: Arrays) -> Parts:
    xs, _, ws = lane
    pullback = jax.vjp(lambda xs: map_.programs.fun(map_.constants, xs)[k], xs)[1]
    return _named("vjp", map_.inputs, pullback(ws[k])[0])


def _named(what: str, names: tuple[str, ...], arrays: Arrays) -> Parts:
    return {f"{what} {name}": x for name, x in zip(names, arrays, strict=True)}


def _mapped(program: Callable[..., Parts]) -> Callable:
    """Maps over what differs between the lanes, leaf by leaf; the rest has no leading axis."""

    def run(*lanes: Lane) -> list[Parts]:
        same = jax.tree.map(lambda *x: all(y is x[0] for y in x), *lanes)
        axes = jax.tree.map(lambda s: None if s else 0, same)
        stacked = jax.tree.map(lambda s, *x: x[0] if s else jnp.stack(x), same, *lanes)
        return _unstacked(jax.vmap(program, in_axes=tuple(axes))(*stacked), len(lanes))

    return run


def _scanned(map_: Map, modes: tuple) -> Callable:
    def scan(constants: tuple, xs: Arrays) -> Arrays:
        step = lambda _, x: (None, map_.programs.fun(constants, x))
        return jax.lax.scan(step, None, xs)[1]

    def run(*lanes: Lane) -> list[Parts]:
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *lanes)
        program = functools.partial(_parts, map_, modes, Programs(scan, compiled=False))
        return _unstacked(jax.jit(program)(*stacked), len(lanes))

    return run


def _unstacked(parts: Parts, count: int) -> list[Parts]:
    return [{name: x[i] for name, x in parts.items()} for i in range(count)]


def _lanes(map_: Map, options: Options) -> list[Lane]:
    """Points so close together that a function fit for one is fit for all, yet not the same."""
    random = options.random(7)
    points = [map_.xs, *(map_.nearby(random, np.sqrt(map_.eps)).xs for _ in range(_LANES - 1))]
    return [Lane(xs, direction(map_.xs, random), weights(random, map_.like)) for xs in points]


def _partly(map_: Map, lanes: list[Lane]) -> Iterator[tuple[str, list[Lane]]]:
    """Lanes that differ in everything, in the directions alone, or in one leaf alone."""
    first = lanes[0]
    yield "everything", lanes
    yield "the tangents and cotangents alone", [lane._replace(xs=first.xs) for lane in lanes]
    for k, name in enumerate(map_.inputs if len(map_.xs) > 1 else ()):
        change = lambda lane, k=k: (*first.xs[:k], lane.xs[k], *first.xs[k + 1 :])
        yield f"{name} alone", [first._replace(xs=change(lane)) for lane in lanes]


def _agree(
    map_: Map,
    options: Options,
    check: str,
    how: str,
    run: Callable[..., list[Parts]],
    lanes: list[Lane],
) -> Finding:
    """What the transformed function gives, beside the compiled one, lane by lane."""
    label = Finding(check, how, seed=options.seed)
    try:
        got = run(*lanes)
    except Exception as error:
        return raised(label, error)
    reference = functools.partial(_parts, map_, options.modes, map_.programs)
    for lane, parts in zip(lanes, got, strict=True):
        expected = reference(*lane)
        here = map_._replace(xs=lane.xs)
        for name, x in parts.items():
            again = lambda m, vs, ws, name=name: [wide(reference(m.xs, vs, ws)[name])]
            found = difference(here, x, expected[name], again, options, lane.vs, lane.ws)
            if found is not None:
                return found.finding(label, name)
    return label
