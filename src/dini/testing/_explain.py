"""Which number of a derivative is wrong, and in what way."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dini.testing._map import Block, Map, is_complex, number
from dini.testing._oracle import BARS
from dini.testing._report import Finding

# At most so many rows and columns of the Jacobian are looked at.
SOME = 32

# How well a multiple, or the transpose, must fit to be named.
_FITS = 0.01

# J v as the rule has it, as it should be, and the error bar of that, each of shape (rows,).
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


class Suspect(NamedTuple):
    """Part of a Jacobian with a mistake in it.

    Attributes:
        block: its columns.
        output: the leaf of ys that has its rows.
        rows: their places in that leaf; None where the rows have been summed to one number.
        along: (block, values) ↦ J v on these rows, v being `values` in units of the block's size.
    """

    block: Block
    output: int
    rows: np.ndarray | None
    along: Callable[[Block, np.ndarray], Triple]


class _Columns(NamedTuple):
    """∂ys/∂x for numbers x of one leaf, each of shape (columns, rows)."""

    indices: np.ndarray
    got: np.ndarray
    expected: np.ndarray
    error: np.ndarray


def explain(map_: Map, suspect: Suspect, allowed: float, finding: Finding) -> Finding:
    """The finding with the number that is most wrong, the best-fit ratio, and what it suggests.

    It stays as it is where single columns show no mistake. `allowed` is the relative error that
    counts as none.
    """
    block = suspect.block
    columns = _columns(map_, suspect, _narrowed(suspect, allowed))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        gap = np.abs(columns.got - columns.expected)
        share = gap / (BARS * columns.error + allowed * np.abs(columns.expected))
    share = np.where(np.isfinite(columns.error) & (gap != 0), np.nan_to_num(share, nan=np.inf), 0)
    j, i = np.unravel_index(np.argmax(share), share.shape)
    if not share[j, i] > 1:
        return finding
    path = number(map_.inputs[block.leaf], int(columns.indices[j]), map_.xs[block.leaf])
    onto = map_.outputs[suspect.output]
    if suspect.rows is not None:
        onto = number(onto, int(suspect.rows[i]), map_.like[suspect.output])
    ratio, reason = _likely(columns, map_.inputs[block.leaf])
    if not reason:
        reason = f"{np.sum(share > 1)} of the {share.size} numbers looked at are wrong"
    return dataclasses.replace(
        finding,
        reason=reason,
        path=f"{path} → {onto}",
        got=columns.got[j, i].item(),
        expected=columns.expected[j, i].item(),
        error=columns.error[j, i].item(),
        ratio=ratio,
    )


def _narrowed(suspect: Suspect, allowed: float) -> np.ndarray:
    """Some of the block's numbers, found by halves to have a wrong one among them."""
    indices = suspect.block.indices
    values = np.where(np.arange(indices.size) % 3, 1.0, -0.7)
    found = np.arange(indices.size)
    while found.size > SOME // 2:
        half = found[: found.size // 2]
        got, expected, error = suspect.along(suspect.block.part(indices[half]), values[half])
        bar = BARS * error + allowed * np.max(np.abs(expected), initial=0.0)
        is_wrong = np.any(~(np.abs(got - expected) <= bar) & np.isfinite(error))
        found = half if is_wrong else found[found.size // 2 :]
    others = np.setdiff1d(np.arange(min(indices.size, SOME)), found)
    return indices[np.sort(np.concatenate([found, others[: SOME - found.size]]))]


# A complex number has two columns, of which the second is divided by i: the same if f is
# holomorphic.
def _columns(map_: Map, suspect: Suspect, indices: np.ndarray) -> _Columns:
    block = suspect.block
    units = (1.0, 1.0j) if is_complex(map_.xs[block.leaf]) else (1.0,)
    places = np.repeat(indices, len(units))
    columns = []
    for place, unit in zip(places, units * len(indices), strict=True):
        got, expected, error = suspect.along(block.part(np.array([place])), np.array([unit]))
        columns.append((got / (block.size * unit), expected / (block.size * unit), error))
    got, expected, error = (np.stack(x) for x in zip(*columns, strict=True))
    return _Columns(places, got, expected, error / block.size)


def _likely(columns: _Columns, path: str) -> tuple[float | None, str]:
    """The ratio of what is to what should be, where that says anything, and what it suggests."""
    known = np.isfinite(columns.error) & np.isfinite(columns.got)
    got, expected = (np.where(known, x, 0) for x in (columns.got, columns.expected))
    size = np.linalg.norm(expected)
    if not size > 0:
        return None, ""
    ratio = float(np.real(np.vdot(expected, got)) / size**2)
    gap = np.linalg.norm(got - expected)
    near = lambda x: np.linalg.norm(got - x) <= _FITS * min(size, gap)
    square = got.shape[0] == got.shape[1]
    likely = {
        f"zero: is `{path}` dropped?": near(0),
        "the sign?": near(-expected),
        "a factor?": near(ratio * expected),
        "the transpose?": square and _is_transpose(got, expected),
        "the complex conjugate?": near(expected.conj()),
    }
    return ratio, next((reason for reason, fits in likely.items() if fits), "")


# G = Eᵀ; or, with E = D A, the G = D Aᵀ of a rule that transposes A alone. Both times
# G_ij G_ji = E_ij E_ji, the diagonal included.
def _is_transpose(got: np.ndarray, expected: np.ndarray) -> bool:
    pairs, size = expected * expected.T, np.max(np.abs(got - expected)) * np.max(np.abs(expected))
    return bool(np.max(np.abs(got * got.T - pairs)) <= _FITS * size)
