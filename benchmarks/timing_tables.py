"""Makes the tables in docs/timings.md from benchmarks/results/matrix.json and dsge.json.

python benchmarks/timing_tables.py
"""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from page import markdown, put

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results", ROOT / "docs/timings.md"
MODES = ("value", "jvp", "gradient")
SIZES = {"": (10, 50, 200, 500), ", 256 of them": (10,)}
HEAD = [*(f"n = {n}" for n in SIZES[""]), "256 of n = 10"]

Rows = list[dict]


def read(name: str) -> Rows:
    """What one benchmark has measured."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


class Matrices:
    """Times of functions of matrices: of one contestant, in one mode, at one size."""

    def __init__(self, rows: Rows) -> None:
        self.cells: dict[tuple, dict[str, dict]] = {}
        for row in rows:
            task, mode = row["task"].rsplit(": ", 1)
            self.cells.setdefault((task, mode, row["size"]), {})[row["name"]] = row
        tasks = dict.fromkeys(task for task, *_ in self.cells)
        self.tasks = [task for task in tasks if not task.endswith("of them")]

    def peers(self, task: str) -> list[str]:
        """Who else computes it."""
        names = [name for (of, *_), cell in self.cells.items() if of == task for name in cell]
        return [name for name in dict.fromkeys(names) if name not in ("dini", "product")]

    def against_peers(self) -> dict[tuple, float]:
        """Our time over that of the fastest peer, cell by cell."""
        ratios = {}
        for key, cell in self.cells.items():
            others = [row["ratio"] for name, row in cell.items() if name not in ("dini", "product")]
            if others:
                ratios[key] = cell["dini"]["ratio"] / min(others)
        return ratios

    def error(self, task: str, of: Iterable[str]) -> str:
        """The largest of any of these."""
        errors = [
            row["error"]
            for (name, *_), cell in self.cells.items()
            for who, row in cell.items()
            if name.removesuffix(", 256 of them") == task and who in of
        ]
        return f"{max(errors):.0e}"

    def row(self, task: str, numbers: dict[tuple, float]) -> list[str]:
        """Value, jvp and gradient at each size."""
        return [
            " · ".join(_short(numbers.get((task + many, mode, n))) for mode in MODES)
            for many, sizes in SIZES.items()
            for n in sizes
        ]

    def tables(self) -> str:
        """Against the best peer, with the errors of all; and in products."""
        ratios = self.against_peers()
        raced = filter(self.peers, self.tasks)
        lines = [["", *HEAD], *([task, *self.row(task, ratios)] for task in raced)]
        errors = [["", "ours", "theirs", "peers"]]
        for task in self.tasks:
            peers = self.peers(task)
            theirs = self.error(task, peers) if peers else ""
            errors.append([task, self.error(task, ["dini"]), theirs, ", ".join(peers)])
        mean = statistics.geometric_mean(ratios.values())
        above = sum(ratio > 1.1 for ratio in ratios.values())
        products = {key: cell["dini"]["ratio"] for key, cell in self.cells.items()}
        times = [["", *HEAD], *([task, *self.row(task, products)] for task in self.tasks)]
        return (
            "### Our time over that of the fastest peer: value · jvp · gradient\n\n"
            f"{markdown(lines)}\nThe geometric mean of the {len(ratios)} ratios is {mean:.2f}; "
            f"{above} are above 1.1.\n\n"
            f"### The largest error of any size and mode\n\n{markdown(errors)}\n"
            "### Our time over that of one matrix product: value · jvp · gradient\n\n"
            f"{markdown(times)}"
        )


def models(rows: Rows) -> str:
    """Each contestant of each race, in units of the first."""
    lines = [["", "who", "time", "error"]]
    for before, row in zip([None, *rows], rows, strict=False):
        title = "" if before and before["task"] == row["task"] else row["task"]
        error = "" if row["error"] != row["error"] else f"{row['error']:.0e}"
        lines.append([title, row["name"], _short(row["ratio"]), error])
    return f"### Smets and Wouters' model\n\n{markdown(lines)}"


def _short(x: float | None) -> str:
    return "–" if x is None else f"{x:#.2g}" if x < 10 else f"{x:.0f}"


def tables() -> str:
    """Those of what was measured."""
    return f"{Matrices(read('matrix')).tables()}\n{models(read('dsge'))}"


if __name__ == "__main__":
    put(PAGE, tables())
