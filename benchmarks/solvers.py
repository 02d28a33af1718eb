"""Success and cost of root finders on standard systems: dini's, Optimistix's and SciPy's.

    python benchmarks/solvers.py [--systems WORD ...] [--solvers WORD ...] [--missing]

A system counts as solved if the point returned is one: Newton's step from it, or for a scalar and
a singular root the distance from the root, is within 1e-6 (1 + |z|) in every unknown. What the
solver says does not matter, except that a success that is none is marked as false. The cost is the
number of evaluations of F and of products with ∂F, counted in F itself.

With words, only the systems ("small: wood") and solvers ("dini Broyden") that contain one are run;
what else was measured before is kept. What the total left no time for is left out, and --missing
makes up for it. benchmarks/solver_tables.py makes the tables in docs/solvers.md.
"""

import argparse
import itertools
import json
import multiprocessing
import queue
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # for tests.support

from contestants import BRACKETS, FIXED_POINTS, MATRIX_FREE, ROOTS, STEPS, TOL, Answer
from counting import Counted
from harness import RESULTS, save
from tests.support import systems

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_enable_async_dispatch", False)  # callbacks may starve otherwise
VERIFIED = 1e-6
COMPILING = 30.0  # seconds that the first solve of a solver has beyond the limit


@dataclass(frozen=True)
class Problem:
    """A system of one class, and where each solve begins: (start, args, bracket, known root)."""

    kind: str
    name: str
    size: int
    fun: Callable
    starts: tuple[tuple, ...]

    @property
    def count(self) -> int:
        """The number of starts."""
        return len(self.starts)

    @property
    def contestants(self) -> dict[str, Callable]:
        """Who takes part."""
        others = {"scalar": BRACKETS, "fixed point": FIXED_POINTS, "large": MATRIX_FREE}
        return others.get(self.kind, ROOTS)


def problems() -> Iterator[Problem]:
    """All of them."""
    classes = {
        "small": systems.minpack() + systems.small(),
        "large": systems.large(),
        "fixed point": systems.fixed_points(),
    }
    for kind, members in classes.items():
        for s in members:
            starts = tuple((z, None, None, s.root) for z in s.starts)
            yield Problem(kind, s.name, s.size, s.fun, starts)
    for family in systems.BRACKETS:
        starts = tuple(
            (np.asarray((i.lower + i.upper) / 2), np.asarray(i.parameter), i[1:3], i.root)
            for i in family.instances
        )
        yield Problem("scalar", family.name, 1, family.fun, starts)


def solve(counted: Counted, run: Callable, start: tuple) -> dict[str, Any]:
    """Runs one solver from one start: the outcome, and the cost."""
    z, args, bracket, root = start
    counted.tally.clear()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = run(counted, z, args, bracket)
            cost = sum(counted.tally.values())
            right = verified(counted, answer, args, root)
    except Exception as error:  # a solver that raises has failed, and the others go on
        return {"outcome": "failed", "cost": sum(counted.tally.values()), "why": repr(error)[:80]}
    outcome = "solved" if right else "false" if answer.said else "failed"
    return {"outcome": outcome, "cost": cost, "reported": answer.reported}


def verified(counted: Counted, answer: Answer, args: Any, root: Any) -> bool:
    """Whether the answer is a solution, by our own reckoning."""
    if not np.all(np.isfinite(answer.z)):
        return False
    error = counted.correction(answer.z, args)
    if root is not None and np.any(error):
        error = answer.z - root
    return bool(np.all(np.abs(error) <= VERIFIED * (1 + np.abs(answer.z))))


def work(pipe: Connection) -> None:
    """A process that solves what it is sent: (problem, [(solver, start), ...])."""
    everything = list(problems())
    pipe.send("ready")
    while True:
        number, todo = pipe.recv()
        problem = everything[number]
        counted = Counted(problem.fun, problem.kind == "fixed point")
        for solver, start in todo:
            pipe.send(solve(counted, problem.contestants[solver], problem.starts[start]))
        jax.clear_caches()


class Worker:
    """A process of its own, so that a solve that takes too long can be stopped."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,), daemon=True)
        self.process.start()
        self.pipe.recv()

    def results(
        self, number: int, todo: list[tuple[str, int]], limit: float, end: float
    ) -> Iterator[dict[str, Any] | None]:
        """One result for each in `todo`; None, and no more, where one took too much."""
        self.pipe.send((number, todo))
        before = None
        for solver, _ in todo:
            allowed = limit + (COMPILING if solver != before else 0.0)
            try:
                came = self.pipe.poll(max(0.0, min(allowed, end - time.monotonic())))
                result = self.pipe.recv() if came else None
            except EOFError:  # the system has ended it, for want of memory
                result = None
            before = solver
            yield result
            if result is None:
                self.process.kill()
                return


def serve(tasks: queue.Queue, found: dict, limit: float, end: float) -> None:
    """Takes tasks from the queue until it is empty. Results are by number, solver and start."""
    worker = Worker()
    while (task := tasks.get()) is not None:
        number, problem, todo = task
        while todo and time.monotonic() < end:
            done = 0
            for result in worker.results(number, todo, limit, end):
                outcome = "stopped" if time.monotonic() < end else "not run"
                found[number, *todo[done]] = result or {"outcome": outcome, "cost": 0}
                done += 1
                if result is None:
                    worker = Worker()
            todo = todo[done:]
        found |= {(number, *one): {"outcome": "not run", "cost": 0} for one in todo}
        print(f"{problem.kind:12} {problem.name} ({problem.size})", flush=True)
    worker.process.kill()


def run(
    chosen: list[tuple[int, Problem, str]], limit: float, total: float, workers: int = 2
) -> list[dict[str, Any]]:
    """One row for each problem and solver, with a list of outcomes and one of costs."""
    tasks: queue.Queue = queue.Queue()
    for number, group in itertools.groupby(chosen, key=lambda one: one[0]):
        members = list(group)
        problem = members[0][1]
        todo = [(solver, k) for _, _, solver in members for k in range(problem.count)]
        tasks.put((number, problem, todo))
    for _ in range(workers):
        tasks.put(None)
    found: dict[tuple[int, str, int], dict[str, Any]] = {}
    arguments = (tasks, found, limit, time.monotonic() + total)
    threads = [threading.Thread(target=serve, args=arguments) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [_row(p, s, [found[n, s, k] for k in range(p.count)]) for n, p, s in chosen]
    complete = [row for row in rows if "not run" not in row["outcomes"]]
    if len(complete) < len(rows):
        print(f"time ran out: {len(rows) - len(complete)} of {len(rows)} rows are missing")
    return complete


def _row(problem: Problem, solver: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    odd = [
        (r["reported"], r["cost"]) for r in results if r.get("reported") not in (None, r["cost"])
    ]
    if odd:
        print(f"{solver} on {problem.name} reports another cost than was counted: {odd}")
    return {
        "class": problem.kind,
        "system": problem.name,
        "size": problem.size,
        "solver": solver,
        "outcomes": [r["outcome"] for r in results],
        "costs": [r["cost"] for r in results],
    }


def order() -> list[tuple[int, Problem, str]]:
    """All problems, numbered, each with all who take part."""
    return [(n, p, s) for n, p in enumerate(problems()) for s in p.contestants]


def _key(row: dict[str, Any]) -> tuple:
    return row["class"], row["system"], row["size"], row["solver"]


def _named(name: str, words: list[str]) -> bool:
    return not words or any(word in name for word in words)


def main() -> None:
    """Runs and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=10, help="seconds a solve may take")
    parser.add_argument("--total", type=float, default=600, help="seconds for everything")
    parser.add_argument("--systems", nargs="*", default=[], help="words in 'class: system'")
    parser.add_argument("--solvers", nargs="*", default=[], help="words in the solver's name")
    parser.add_argument("--missing", action="store_true", help="only what is not yet measured")
    given = parser.parse_args()
    path = RESULTS / "solvers.json"
    known: dict[tuple, dict[str, Any]] = {}
    if path.exists() and (given.systems or given.solvers or given.missing):
        known = {_key(row): row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    chosen = [
        (n, p, s)
        for n, p, s in order()
        if _named(f"{p.kind}: {p.name}", given.systems) and _named(s, given.solvers)
        if not (given.missing and (p.kind, p.name, p.size, s) in known)
    ]
    known |= {_key(row): row for row in run(chosen, given.limit, given.total)}
    keys = [(p.kind, p.name, p.size, s) for _, p, s in order()]
    rows = [known[key] for key in keys if key in known]
    missing = len(keys) - len(rows)
    save("solvers", rows, tolerance=TOL, verified=VERIFIED, steps=STEPS, missing=missing)


if __name__ == "__main__":
    main()
