"""Races between functions that compute the same thing: in turn, compile time and errors beside.

A benchmark builds `Entry`s, calls `race`, and hands the rows to `report`, which prints a table and
writes JSON (and, with `plot`, a picture). Times on a shared machine drift: quote the ratios, which
compare runs taken in turn within one process.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Entry:
    """One competitor: its name, and a function of no arguments whose result is the answer.

    `read` makes of the answer what is compared with the reference; None for a yardstick.
    """

    name: str
    run: Callable[[], Any]
    read: Callable[[Any], Any] | None = lambda answer: answer


@dataclass(frozen=True)
class Row:
    """What a race has measured of one competitor; times in milliseconds, ratio to the first."""

    task: str
    size: int
    name: str
    median: float
    ratio: float
    first_call: float
    error: float


def race(
    task: str, size: int, entries: Sequence[Entry], reference: Any, rounds: int = 15
) -> list[Row]:
    """Runs all competitors in turn, `rounds` times; the error is against `reference`, relative.

    The ratio is the median over rounds of the time against that of the first entry in the same
    round, so that a slow moment of the machine does not favour anyone.
    """
    first, errors = [], []
    for entry in entries:
        start = time.perf_counter()
        answer = jax.block_until_ready(entry.run())
        first.append(1e3 * (time.perf_counter() - start))
        read = entry.read
        errors.append(np.nan if read is None else relative_error(read(answer), reference))
    times = np.zeros((rounds, len(entries)))
    for turn in range(rounds):
        for i, entry in enumerate(entries):
            start = time.perf_counter()
            jax.block_until_ready(entry.run())
            times[turn, i] = 1e3 * (time.perf_counter() - start)
    return [
        Row(
            task,
            size,
            entry.name,
            statistics.median(times[:, i]),
            statistics.median(times[:, i] / times[:, 0]),
            first[i],
            errors[i],
        )
        for i, entry in enumerate(entries)
    ]


def relative_error(answer: Any, reference: Any) -> float:
    """The largest difference between two trees, against the largest entry of the reference."""
    pairs = zip(jax.tree.leaves(answer), jax.tree.leaves(reference), strict=True)
    gaps = [(np.max(np.abs(np.asarray(a) - b)), np.max(np.abs(b))) for a, b in pairs]
    return float(max(gap for gap, _ in gaps) / max(scale for _, scale in gaps))


def report(name: str, rows: Sequence[Row]) -> None:
    """Prints the table and writes benchmarks/results/NAME.json, with versions and device."""
    print(
        f"{'task':16}{'n':>6}  {'who':34}{'median ms':>11}{'ratio':>8}{'first ms':>10}{'error':>10}"
    )
    previous = None
    for row in rows:
        if previous not in (None, (row.task, row.size)):
            print()
        previous = (row.task, row.size)
        print(
            f"{row.task:16}{row.size:6d}  {row.name:34}{row.median:11.3f}{row.ratio:8.2f}"
            f"{row.first_call:10.0f}{row.error:10.1e}"
        )
    save(name, [asdict(row) for row in rows])


def save(name: str, rows: Sequence[dict[str, Any]], **about: Any) -> None:
    """Writes the rows, a line each, to benchmarks/results/NAME.json, with versions and device."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = {
        "jax": jax.__version__,
        "device": f"{device.platform} {device.device_kind}",
        "cores": cores,
    } | about
    RESULTS.mkdir(exist_ok=True)
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = f'{{"about": {json.dumps(about)},\n "rows": [\n  {lines}\n]}}\n'
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def measured(name: str) -> list[Row]:
    """The rows in benchmarks/results/NAME.json, none where it does not exist."""
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return [Row(**row) for row in rows]


def against_peers(rows: Sequence[Row]) -> dict[tuple[str, int], float]:
    """By task and size, our time over that of the fastest peer; a yardstick is "product"."""
    cells: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        cells.setdefault((row.task, row.size), {})[row.name] = row.ratio
    ratios = {}
    for key, cell in cells.items():
        peers = [time for name, time in cell.items() if name not in ("dini", "product")]
        if peers:
            ratios[key] = cell["dini"] / min(peers)
    return ratios


def plot(name: str, rows: Sequence[Row]) -> None:
    """Draws error against the ratio of times, a task a row and a size a column, to NAME.png."""
    import matplotlib.pyplot as plt  # noqa: PLC0415  an optional extra
    from matplotlib.ticker import FormatStrFormatter, NullFormatter  # noqa: PLC0415

    tasks, sizes, names = (
        list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("task", "size", "name")
    )
    figure, axes = plt.subplots(
        len(tasks),
        len(sizes),
        figsize=(2.6 * len(sizes) + 2.2, 1.7 * len(tasks) + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    handles = {}
    for row in rows:
        ax = axes[tasks.index(row.task), sizes.index(row.size)]
        k = names.index(row.name)
        error = max(row.error, 1e-17)
        (handles[row.name],) = ax.loglog(row.ratio, error, "os^Dv<>P"[k % 8], color=f"C{k}", ms=6)
    for (i, j), ax in np.ndenumerate(axes):
        ax.axvline(1, color="0.8", lw=1, zorder=0)
        ax.set_title(f"{tasks[i]}, n = {sizes[j]}", fontsize=9, loc="left")
        ax.set_xticks([0.2, 0.5, 1, 2, 5])
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("time, ratio to the first", fontsize=10)
    figure.supylabel("relative error", fontsize=10)
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    figure.savefig(RESULTS / f"{name}.png", dpi=130)
