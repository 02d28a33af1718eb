"""Makes the tables in docs/solvers.md from benchmarks/results/solvers.json.

python benchmarks/solver_tables.py
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from page import markdown, put

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/solvers.json", ROOT / "docs/solvers.md"

FAMILIES = {"dini": "dini", "optx": "Optimistix", "scipy": "SciPy"}
CLASSES = {
    "small": "Small systems",
    "far": "Small systems from far away",
    "large": "Large systems",
    "scalar": "Scalar equations with a bracket",
    "fixed point": "Fixed points",
}
SIGNS = {"failed": "–", "false": "false", "stopped": "slow"}


class Solve(NamedTuple):
    """One solve: the start is the index of the starting point, or of the scalar equation."""

    kind: str
    system: str
    start: int
    solver: str
    outcome: str
    cost: int

    @property
    def problem(self) -> tuple[str, str, int]:
        """What was solved."""
        return self.kind, self.system, self.start

    @property
    def family(self) -> str:
        """Whose solver it is."""
        return self.solver.split()[0]


def solves(rows: Iterable[dict[str, Any]]) -> Iterator[Solve]:
    """One for each start; those of a small system but the first are a class of their own."""
    for row in rows:
        name = f"{row['system']}, {row['size']}" if row["class"] in ("small", "large") else ""
        for k, pair in enumerate(zip(row["outcomes"], row["costs"], strict=True)):
            kind = "far" if row["class"] == "small" and k else row["class"]
            yield Solve(kind, name or row["system"], k, row["solver"], *pair)


class Tables:
    """All solves of one run, and what can be said of them."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.about = data["about"]
        self.all = list(solves(data["rows"]))
        self.solvers = sorted(
            dict.fromkeys(s.solver for s in self.all),
            key=lambda s: list(FAMILIES).index(s.split()[0]),
        )
        self.costs = {(s.problem, s.solver): s.cost for s in self.all if s.outcome == "solved"}

    def problems(self, kind: str) -> list[tuple[str, str, int]]:
        """The problems of a class, in order."""
        return list(dict.fromkeys(s.problem for s in self.all if s.kind == kind))

    def solved(self, kind: str, solver: str) -> list[tuple[str, str, int]]:
        """The problems of a class that one solver solves."""
        return [p for p in self.problems(kind) if (p, solver) in self.costs]

    def taking_part(self, kind: str, family: str | None = None) -> list[str]:
        """The solvers that a class has, of one family or all."""
        present = {s.solver for s in self.all if s.kind == kind}
        return [s for s in self.solvers if s in present and family in (None, s.split()[0])]

    def best(self, problem: tuple[str, str, int], solvers: Iterable[str]) -> tuple[int, str] | None:
        """The lowest cost at which any of these solves the problem, and whose it is."""
        return min(
            ((self.costs[problem, s], s) for s in solvers if (problem, s) in self.costs),
            default=None,
        )

    def ratio(self, kind: str, one: str, other: str) -> float:
        """The geometric mean of cost against cost, where both solve; infinite where none."""
        pairs = [
            (self.costs[p, one], self.costs[p, other])
            for p in self.solved(kind, one)
            if (p, other) in self.costs
        ]
        return _mean([a / b for a, b in pairs])

    def overview(self) -> str:
        """Solver by class: solved, false successes, and cost against the cheapest of all."""
        lines = [["solver", *CLASSES.values()]]
        lines.append(["problems", *(str(len(self.problems(kind))) for kind in CLASSES)])
        for solver in self.solvers:
            cells = [self._cell(kind, solver) for kind in CLASSES]
            lines.append([_label(solver), *cells])
        for family, name in FAMILIES.items():
            together = [
                sum(bool(self.best(p, self.taking_part(kind, family))) for p in self.problems(kind))
                for kind in CLASSES
            ]
            lines.append([f"all of {name}", *(f"**{n}**" for n in together)])
        return markdown(lines)

    def _cell(self, kind: str, solver: str) -> str:
        everyone = self.taking_part(kind)
        if solver not in everyone:
            return ""
        done = self.solved(kind, solver)
        false = sum(
            s.kind == kind and s.solver == solver and s.outcome == "false" for s in self.all
        )
        cheapest = [self.best(p, everyone) for p in done]
        extra = _mean(
            [self.costs[p, solver] / b[0] for p, b in zip(done, cheapest, strict=True) if b]
        )
        text = f"{len(done)} (× {extra:.1f})" if done else "0"
        return text + (f", {false} false" if false else "")

    def verdicts(self) -> str:
        """Of each class, which of ours is cheapest, against the cheapest peer.

        Those are compared that solve half of the class at least.
        """
        lines = [["class", "ours", "its closest peer", "cost against it", "where both solve"]]
        for kind, title in CLASSES.items():
            half = len(self.problems(kind)) / 2
            able = [s for s in self.taking_part(kind) if len(self.solved(kind, s)) >= half]
            ours = [s for s in able if s in self.taking_part(kind, "dini")]
            peers = [s for s in able if s not in ours]
            rivals = {
                one: max((self.ratio(kind, one, p), p) for p in peers) for one in ours if peers
            }
            if rivals:
                one = min(rivals, key=lambda s: rivals[s])
                ratio, peer = rivals[one]
                both = len(set(self.solved(kind, one)) & set(self.solved(kind, peer)))
                lines.append([title, _label(one), _label(peer), f"{ratio:.2f}", str(both)])
        return markdown(lines)

    def table(self, kind: str) -> str:
        """Costs of ours, and of the cheapest of each other family, system by system."""
        ours = self.taking_part(kind, "dini")
        others = [f for f in FAMILIES if f != "dini"]
        lines = [["system", *map(_label, ours), *(f"cheapest of {FAMILIES[f]}" for f in others)]]
        outcomes = {(s.problem, s.solver): s.outcome for s in self.all}
        for problem in self._grouped(kind):
            _, system, start = problem[0]
            cells = [self._group(problem, s, outcomes) for s in ours]
            for family in others:
                solvers = self.taking_part(kind, family)
                ranked = [
                    (sum((p, s) not in self.costs for p in problem), self._sum(problem, s), s)
                    for s in solvers
                ]
                missed, cost, solver = min(ranked, default=(len(problem), 0, ""))
                failed = "–" if any((p, s) in outcomes for p in problem for s in solvers) else "?"
                done = missed < len(problem)
                cells.append(f"{cost} ({_label(solver, short=True)})" if done else failed)
            lines.append([system if not start else f"{system}, start {start + 1}", *cells])
        return markdown(lines)

    def _grouped(self, kind: str) -> list[list[tuple[str, str, int]]]:
        """Problems by row of the table: the scalar equations of a family are one."""
        if kind != "scalar":
            return [[p] for p in self.problems(kind)]
        systems = dict.fromkeys(p[1] for p in self.problems(kind))
        return [[p for p in self.problems(kind) if p[1] == name] for name in systems]

    def _sum(self, group: list[tuple[str, str, int]], solver: str) -> int:
        return sum(self.costs.get((p, solver), 0) for p in group)

    def _group(self, group: list[tuple[str, str, int]], solver: str, outcomes: dict) -> str:
        done = [p for p in group if (p, solver) in self.costs]
        if len(group) == 1 and not done:
            return SIGNS.get(outcomes.get((group[0], solver), ""), "?")
        missed = len(group) - len(done)
        return str(self._sum(group, solver)) + (f", {missed} not solved" if missed else "")

    def page(self) -> str:
        """All of it."""
        missing = self.about["missing"]
        warning = f"**Incomplete: {missing} measurements are missing.**\n" if missing else ""
        parts = [warning] * bool(warning) + [self.overview(), self.verdicts()]
        for kind, title in CLASSES.items():
            parts.append(f"### {title}\n\n{self.table(kind)}")
        return "\n".join(parts)


def _mean(ratios: list[float]) -> float:
    """The geometric mean; infinite of nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.inf


def _label(solver: str, short: bool = False) -> str:
    family, name = solver.split(" ", 1)
    return f"{name}" if short or family == "dini" else f"{FAMILIES[family]} {name}"


def tables() -> str:
    """Those of what was measured."""
    return Tables(json.loads(RESULTS.read_text(encoding="utf-8"))).page()


if __name__ == "__main__":
    put(PAGE, tables())
