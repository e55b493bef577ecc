"""The leaves of one tree as boxes: which stretches of numbers lead to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport_plugins.methods.tree_cells import Cells

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaves:
    """The leaves of one tree that some row reaches.

    Attributes
    ----------
    node : array (leaves,)
    start : array (leaves + 1,)
        Where each leaf's entries of `asked` begin.
    asked : array (entries,)
        The features that a leaf's path asks for; those of a group stand together.
    stretch_start : array (entries + 1,)
        Where each entry's stretches begin; any of them will do.
    low, high : array (stretches,) float64
        First and last number of each.
    """

    node: Ints
    start: Ints
    asked: Ints
    stretch_start: Ints
    low: Floats
    high: Floats


def leaves_of(cells: Cells, n_features: int, group: Ints) -> Leaves:
    """Return the leaves of the first tree; ``group (d,)`` numbers one-hot groups, -1 for none."""
    odd = np.zeros(n_features, dtype=bool)
    odd[cells.feature[(cells.special >= 0) & (cells.feature >= 0)]] = True
    node: list[int] = []
    start, asked, stretch_start = [0], [], [0]
    low: list[float] = []
    high: list[float] = []
    waiting: list[tuple[int, dict[int, Bools | tuple[int, int]]]] = [(int(cells.root[0]), {})]
    while waiting:
        at, path = waiting.pop()
        if cells.left[at] < 0:
            node.append(at)
            for j in sorted(path, key=lambda j: (group[j], j)):
                first, last = _stretches(path[j])
                low.extend(cells.low[cells.start[j] + first])
                high.extend(cells.high[cells.start[j] + last])
                asked.append(j)
                stretch_start.append(len(low))
            start.append(len(asked))
            continue
        j = int(cells.feature[at])
        size = int(cells.start[j + 1] - cells.start[j])
        kept = path.get(j, np.ones(size, dtype=bool) if odd[j] else (0, size - 1))
        for child, part in zip((cells.left[at], cells.right[at]), _parts(cells, at, kept, size),
                               strict=True):  # fmt: skip
            if part is not None:
                waiting.append((int(child), {**path, j: part}))
    return Leaves(
        node=np.asarray(node, dtype=np.int64), start=np.asarray(start, dtype=np.int64),
        asked=np.asarray(asked, dtype=np.int64),
        stretch_start=np.asarray(stretch_start, dtype=np.int64),
        low=np.asarray(low, dtype=np.float64), high=np.asarray(high, dtype=np.float64),
    )  # fmt: skip


def _parts(
    cells: Cells, at: int, kept: Bools | tuple[int, int], size: int
) -> list[Bools | tuple[int, int] | None]:
    """Return what goes left and what goes right of the cells that reach a node; None: nothing."""
    cut = int(cells.cut[at])
    if isinstance(kept, tuple):
        first, last = kept
        ends = (first, min(last, cut)), (max(first, cut + 1), last)
        return [end if end[0] <= end[1] else None for end in ends]
    left = np.arange(size) <= cut
    if cells.special[at] >= 0:
        left = cells.table[cells.special[at] : cells.special[at] + size] == 1
    return [part if part.any() else None for part in (kept & left, kept & ~left)]


def _stretches(kept: Bools | tuple[int, int]) -> tuple[Ints, Ints]:
    """Return the first and the last cells of each run of cells."""
    if isinstance(kept, tuple):
        return np.asarray(kept[:1]), np.asarray(kept[1:])
    edge = np.diff(np.concatenate([[0], kept.astype(np.int64), [0]]))
    return np.flatnonzero(edge == 1), np.flatnonzero(edge == -1) - 1
