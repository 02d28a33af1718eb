"""Which number of a derivative is wrong, and in what way."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dini.testing._map import Block, Map, is_complex, number
from dini.testing._oracle import BARS, Expected, unit
from dini.testing._report import Finding, Verdict

# At most so many columns of the Jacobian are looked at, once a mistake is known to be there.
_COLUMNS = 32

# How well a multiple, or the transpose, must fit to be named.
_FITS = 0.01


class Columns(NamedTuple):
    """∂ys/∂x for some numbers x of one block, shape (columns, numbers of one leaf of ys).

    `indices` says which numbers; `units` the direction of each, 1 or 1j.
    """

    indices: np.ndarray
    units: np.ndarray
    got: np.ndarray
    expected: np.ndarray
    error: np.ndarray


# (block, values) ↦ J v as the rule under test has it, and as it should be, on one leaf of ys.
Pair = Callable[[Block, np.ndarray], tuple[np.ndarray, Expected]]


def explain(
    map_: Map, block: Block, output: int, pair: Pair, allowed: float, finding: Finding
) -> Finding:
    """The finding with the number that is most wrong, and the ratio and its likely meaning.

    Args:
        map_: the function.
        block: the numbers among which the mistake is.
        output: the leaf of ys that shows it.
        pair: what is, and what should be, on that leaf.
        allowed: the relative error that is none.
        finding: what is known so far; it stays as it is where single columns show no mistake.
    """
    unit_sizes = (1.0, 1.0j) if is_complex(map_.xs[block.leaf]) else (1.0,)
    found = _narrowed(block, pair, allowed)
    columns = _columns(block, found, unit_sizes, pair)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(columns.got - columns.expected)
        share = gap / (BARS * columns.error + allowed * np.abs(columns.expected) + 1e-300)
    share = np.where(np.isfinite(columns.error), np.where(np.isnan(share), np.inf, share), 0)
    j, i = np.unravel_index(np.argmax(share), share.shape)
    if not share[j, i] > 1:
        return finding
    place = number(map_.inputs[block.leaf], int(columns.indices[j]), map_.xs[block.leaf])
    onto = number(map_.outputs[output], int(i), map_.like[output])
    ratio, reason = _likely(columns, map_.inputs[block.leaf])
    wrong = np.count_nonzero(share > 1)
    if not reason and wrong < share.size:
        reason = f"{wrong} of the {share.size} numbers looked at are wrong"
    return Finding(
        finding.check,
        finding.transform,
        Verdict.FAIL,
        reason,
        f"{place} → {onto}",
        _plain(columns.got[j, i]),
        _plain(columns.expected[j, i]),
        float(columns.error[j, i]),
        ratio,
        finding.seed,
    )


def _narrowed(block: Block, pair: Pair, allowed: float) -> np.ndarray:
    """Positions in the block of at most `_COLUMNS` numbers, the wrong one among them: halved."""
    positions = np.arange(block.indices.size)
    others = positions[: _COLUMNS - 1]
    while positions.size > _COLUMNS // 2:
        half = positions[: positions.size // 2]
        values = np.where(np.arange(block.indices.size) % 3, 1.0, -0.7)
        got, (expected, error) = pair(block.part(block.indices[half]), values[half])
        bar = BARS * error[0] + allowed * np.max(np.abs(expected[0]), initial=0.0)
        is_wrong = np.any(~(np.abs(got - expected[0]) <= bar) & np.isfinite(error[0]))
        positions = half if is_wrong else positions[positions.size // 2 :]
    return np.union1d(positions, others[: _COLUMNS - positions.size])


def _columns(
    block: Block, positions: np.ndarray, unit_sizes: tuple[complex, ...], pair: Pair
) -> Columns:
    got, expected, error, indices, units = [], [], [], [], []
    for p in positions:
        for size in unit_sizes:
            single, (e, bar) = pair(block.part(block.indices[[p]]), unit(1, 0, size))
            got.append(single.reshape(-1) / block.size)
            expected.append(e[0].reshape(-1) / block.size)
            error.append(bar[0].reshape(-1) / block.size)
            indices.append(block.indices[p])
            units.append(size)
    stacked = (np.stack(x) for x in (got, expected, error))
    return Columns(np.array(indices), np.array(units), *stacked)


def _likely(columns: Columns, path: str) -> tuple[float | None, str]:
    """The ratio of what is to what should be, where that says anything, and what it suggests."""
    known = np.isfinite(columns.error) & np.isfinite(columns.got)
    got, expected = (np.where(known, x, 0) for x in (columns.got, columns.expected))
    square = np.sum(np.abs(expected) ** 2)
    if not square > 0:
        return None, ""
    ratio = float(np.real(np.sum(np.conj(expected) * got)) / square)
    off = np.sqrt(np.sum(np.abs(got - ratio * expected) ** 2) / square)
    if off <= _FITS * max(abs(ratio), _FITS):
        if abs(ratio) <= _FITS**2:
            return ratio, f"zero: is `{path}` dropped?"
        return ratio, "the sign?" if abs(ratio + 1) <= _FITS else "a factor?"
    if _is_transpose(got, expected):
        return ratio, "the transpose?"
    if np.iscomplexobj(got) and np.linalg.norm(got - expected.conj()) <= _FITS * np.sqrt(square):
        return ratio, "the complex conjugate?"
    return ratio, ""


# G = Eᵀ; or, with E = D A, the G = D Aᵀ of a rule that transposes A alone. Both times
# G_ij G_ji = E_ij E_ji, the diagonal included.
def _is_transpose(got: np.ndarray, expected: np.ndarray) -> bool:
    if got.shape[0] != got.shape[1]:
        return False
    pairs = got * got.T - expected * expected.T
    size = np.max(np.abs(expected * expected.T))
    return bool(np.max(np.abs(pairs)) <= _FITS * size)


def _plain(x: np.number) -> float | complex:
    return complex(x) if np.iscomplexobj(x) else float(x)
