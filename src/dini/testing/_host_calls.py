"""How often the host is called."""

import dataclasses
from collections.abc import Callable, Iterator

from dini.testing._map import Map, direction, weights, wide
from dini.testing._options import MODES, Options
from dini.testing._report import Finding, Verdict


def counted(map_: Map, calls: Callable[[], int], options: Options) -> Iterator[Finding]:
    """A derivative calls the host no more often than the value does."""
    random = options.random(12)
    vs, ws = direction(map_.xs, random), weights(random, map_.like)
    programs = {"fwd": lambda: map_.jvp(vs), "rev": lambda: map_.vjp(ws)}

    def count(run: Callable[[], object]) -> int:
        run()  # which compiles
        before = calls()
        run()
        return calls() - before

    most = count(lambda: [wide(y) for y in map_.value(map_.xs)])
    for mode in options.modes:
        label = Finding("host calls", MODES[mode])
        made = count(programs[mode])
        reason = f"the derivative calls the host {made} times, the value {most} times"
        fails = dataclasses.replace(label, verdict=Verdict.FAIL, reason=reason)
        yield fails if made > most else label
