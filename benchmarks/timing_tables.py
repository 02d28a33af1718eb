"""Makes the tables in docs/timings.md from benchmarks/results/matrix.json and dsge.json.

python benchmarks/timing_tables.py
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness import Row, against_peers, measured
from page import markdown, put

PAGE = Path(__file__).parents[1] / "docs/timings.md"
MANY = ", 256 of them"
MODES = ("value", "jvp", "gradient")
SIZES = {"": (10, 50, 200, 500), MANY: (10,)}
HEAD = [*(f"n = {n}" for n in SIZES[""]), "256 of n = 10"]


class Matrices:
    """Times of functions of matrices: each task is a function and a mode."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.functions = list(dict.fromkeys(map(_function, rows)))

    def peers(self, function: str) -> list[str]:
        """Who else computes it."""
        names = dict.fromkeys(row.name for row in self.rows if _function(row) == function)
        return [name for name in names if name not in ("dini", "product")]

    def error(self, function: str, of: Iterable[str]) -> str:
        """The largest of any of these; nothing of none."""
        errors = [r.error for r in self.rows if _function(r) == function and r.name in of]
        return f"{max(errors):.0e}" if errors else ""

    def table(self, functions: Iterable[str], numbers: Mapping[tuple[str, int], float]) -> str:
        """Value, jvp and gradient of each function at each size."""
        cell = lambda name, n: " · ".join(_short(numbers.get((f"{name}: {m}", n))) for m in MODES)
        lines = [["", *HEAD]]
        for function in functions:
            cells = [cell(function + many, n) for many, sizes in SIZES.items() for n in sizes]
            lines.append([function, *cells])
        return markdown(lines)

    def tables(self) -> str:
        """Against the best peer, with the errors of all; and in products."""
        ratios = against_peers(self.rows)
        products = {(r.task, r.size): r.ratio for r in self.rows if r.name == "dini"}
        errors = [["", "ours", "theirs", "peers"]]
        for function in self.functions:
            peers = self.peers(function)
            both = [self.error(function, names) for names in (["dini"], peers)]
            errors.append([function, *both, ", ".join(peers)])
        mean = statistics.geometric_mean(ratios.values())
        above = sum(ratio > 1.1 for ratio in ratios.values())
        return (
            "### Our time over that of the fastest peer: value · jvp · gradient\n\n"
            f"{self.table(filter(self.peers, self.functions), ratios)}\n"
            f"The geometric mean of the {len(ratios)} ratios is {mean:.2f}; "
            f"{above} are above 1.1.\n\n"
            f"### The largest error of any size and mode\n\n{markdown(errors)}\n"
            "### Our time over that of one matrix product: value · jvp · gradient\n\n"
            f"{self.table(self.functions, products)}"
        )


def models(rows: Sequence[Row]) -> str:
    """Each contestant of each race, in units of the first."""
    lines, shown = [["", "who", "time", "error"]], ""
    for row in rows:
        error = "" if math.isnan(row.error) else f"{row.error:.0e}"
        title = row.task if row.task != shown else ""
        lines.append([title, row.name, _short(row.ratio), error])
        shown = row.task
    return f"### Smets and Wouters' model\n\n{markdown(lines)}"


def _function(row: Row) -> str:
    return row.task.rsplit(": ", 1)[0].removesuffix(MANY)


def _short(x: float | None) -> str:
    return "–" if x is None else f"{x:#.2g}" if x < 10 else f"{x:.0f}"


def tables() -> str:
    """Those of what was measured."""
    return f"{Matrices(measured('matrix')).tables()}\n{models(measured('dsge'))}"


if __name__ == "__main__":
    put(PAGE, tables())
