"""SHAPr: how much each training record adds to a nearest-neighbour rule on the model's outputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# A score is above a threshold when it is by more than this: sums leave dust of about 1e-13, and
# a record that never matters scores its threshold exactly.
ROUNDING = 1e-9

# Test points of one task; a task's sums take 8 bytes per distinct training output.
_TASK = 128
# Bytes for the sums of the groups of test points that the intervals are made from.
_GROUP_BYTES = 1 << 27


@dataclass(frozen=True, slots=True, kw_only=True)
class ShaprScores:
    """Scores of training records, and what their spread over test points is made from.

    Attributes
    ----------
    cell : array (n_train,) of int
        Which distinct (output row, label) each record has; records of a cell score alike.
    by_group : array (groups, cells)
        Sums of Shapley values over each group of test points, per record of a cell.
    group_sizes : array (groups,)
        Test points of each group.
    worth, nearest : array (n_test,)
        Sum of the Shapley values over all records for each test point, and, computed apart from
        it, the share of its nearest records that are of its class. They agree.
    irrelevant : array (n_train,)
        Score of a record that is farther than all others from every test point: the share of
        test points of its class.
    tied : int
        Training records whose output row another record has too.
    """

    cell: npt.NDArray[np.int64]
    by_group: FloatArray
    group_sizes: npt.NDArray[np.int64]
    worth: FloatArray
    nearest: FloatArray
    irrelevant: FloatArray
    tied: int

    @property
    def per_cell(self) -> FloatArray:
        """The score of a record of each cell ``(cells,)``."""
        sums: FloatArray = self.by_group.sum(axis=0)
        return sums * (self.cell.size / self.worth.size)

    @property
    def scores(self) -> FloatArray:
        """The score of each training record ``(n_train,)``."""
        found: FloatArray = self.per_cell[self.cell]
        return found

    def leave_one_out(self) -> FloatArray:
        """Return scores per cell without each group of test points, ``(groups, cells)``."""
        kept = (self.worth.size - self.group_sizes)[:, None]
        found: FloatArray = (self.by_group.sum(axis=0) - self.by_group) * (self.cell.size / kept)
        return found


def shapr(
    train_outputs: npt.NDArray[Any],
    train_labels: npt.NDArray[Any],
    test_outputs: npt.NDArray[Any],
    test_labels: npt.NDArray[Any],
    *,
    threads: int = 1,
    groups: int = 50,
    rng: np.random.Generator | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ShaprScores:
    """Return the SHAPr score of every training record (Duddu et al., arXiv:2112.02230).

    The score is ``n_train / n_test`` times the sum over test points of the exact Shapley value of
    the record in the game "label the test point like its nearest neighbour among the records
    present, in the space of the model's outputs" (worth 1 if right; 0 without records). Records
    at one distance are nearest with equal chance, so the score is the mean over all orders of
    the ties and does not depend on the order of the rows.

    A tie is equality of the squared Euclidean distance in float64, terms added in the order of
    the outputs. Records of identical output and label are merged first; identical outputs
    therefore tie exactly. Distances that are equal on paper but not in floating point do not.

    Parameters
    ----------
    train_outputs, test_outputs : array (n_train, k), (n_test, k)
        The model's outputs, usually probabilities.
    train_labels, test_labels : array (n_train,), (n_test,)
        Integer class labels.
    threads : int
        Threads over test points. Sums are taken in a fixed order: the result has the same bits
        for any number of threads, and for any order of the training rows.
    groups : int
        Into how many random groups of near-equal size the test points are put; fewer where there
        are fewer points, or where memory (128 MB) asks for it.
    rng : Generator
        Puts test points into groups; it does not touch the scores beyond rounding.
    progress : callable (done, total)
        Called after each task of at most 128 test points.

    Raises
    ------
    ValueError
        Shapes that do not fit together, an empty side, labels that are no integers, outputs that
        are not finite or so large that their distance is not.

    Notes
    -----
    Time ``O(n_test n_train k)`` with a radix sort for every test point; memory
    ``O((groups + threads) cells)`` beside the outputs.
    """
    train, test = _outputs(train_outputs, "train"), _outputs(test_outputs, "test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"{train.shape[1]} train outputs but {test.shape[1]} test outputs")
    train_y = _labels(train_labels, train.shape[0], "train")
    test_y = _labels(test_labels, test.shape[0], "test")
    if threads < 1 or groups < 1:
        raise ValueError(f"threads and groups must be at least 1, found {threads} and {groups}")
    reach = float(max(np.abs(train).max(), np.abs(test).max()))
    if not np.isfinite(4 * reach * reach * train.shape[1]):
        raise ValueError(f"outputs as large as {reach:.3g} have no finite distance")
    _, codes = np.unique(np.concatenate([train_y, test_y]), return_inverse=True)
    train_codes, test_codes = codes[: train_y.size], codes[train_y.size :]
    problem = _merge(train, train_codes)
    m = test_y.size
    problem.points, problem.point_labels = test, test_codes.astype(np.int32)
    members = _grouped(m, groups, problem.weights.size, rng or np.random.default_rng(0))
    worth, nearest = np.empty(m), np.empty(m)
    by_group = np.zeros((len(members), problem.weights.size))
    done = 0
    for group, rows, part in _in_order(problem, members, threads):
        by_group[group] += part.total
        worth[rows], nearest[rows] = part.worth, part.nearest
        done += rows.size
        progress(done, m)
    of_class = np.bincount(test_codes, minlength=int(codes.max()) + 1) / m
    return ShaprScores(
        cell=problem.cell,
        by_group=by_group,
        group_sizes=np.array([rows.size for rows in members], dtype=np.int64),
        worth=worth,
        nearest=nearest,
        irrelevant=of_class[train_codes],
        tied=problem.tied,
    )


def _outputs(values: npt.NDArray[Any], side: str) -> FloatArray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{side} outputs must be (examples, outputs), found shape {array.shape}")
    bad = np.count_nonzero(~np.isfinite(array).all(axis=1))
    if bad:
        raise ValueError(f"the model's {side} outputs hold NaN or infinity in {bad:,} rows")
    return array + 0.0  # turns -0.0 into 0.0, which is the same output


def _labels(values: npt.NDArray[Any], n: int, side: str) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (n,) or array.dtype.kind not in "iub":
        raise ValueError(
            f"{side} labels must be {n} integers, found {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


@dataclass(slots=True, kw_only=True)
class _Problem:
    """Distinct cells as the kernels want them, and the test points."""

    columns: FloatArray
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int64]
    harmonic: FloatArray
    cell: npt.NDArray[np.int64]
    tied: int
    points: FloatArray
    point_labels: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Part:
    total: FloatArray
    worth: FloatArray
    nearest: FloatArray


def _merge(train: FloatArray, codes: npt.NDArray[Any]) -> _Problem:
    """Merge records of one output row and label, in the order of the sorted rows."""
    n = train.shape[0]
    order = np.lexsort((codes, *train.T[::-1]))
    rows, ordered_codes = train[order], codes[order]
    new_row = np.empty(n, dtype=bool)
    new_row[0] = True
    np.any(rows[1:] != rows[:-1], axis=1, out=new_row[1:])
    new_cell = new_row.copy()
    new_cell[1:] |= ordered_codes[1:] != ordered_codes[:-1]
    row_sizes = np.diff(np.append(np.flatnonzero(new_row), n))
    starts = np.flatnonzero(new_cell)
    cell = np.empty(n, dtype=np.int64)
    cell[order] = np.cumsum(new_cell) - 1
    return _Problem(
        columns=np.ascontiguousarray(rows[starts].T),
        labels=ordered_codes[starts].astype(np.int32),
        weights=np.diff(np.append(starts, n)).astype(np.int64),
        harmonic=np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))]),
        cell=cell,
        tied=int(row_sizes[row_sizes > 1].sum()),
        points=train[:0],
        point_labels=np.empty(0, dtype=np.int32),
    )


def _grouped(
    m: int, groups: int, cells: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    affordable = max(10, _GROUP_BYTES // (8 * cells))
    return np.array_split(rng.permutation(m), min(groups, affordable, m))


def _in_order(
    problem: _Problem, members: list[npt.NDArray[np.int64]], threads: int
) -> Iterator[tuple[int, npt.NDArray[np.int64], _Part]]:
    """Yield the tasks' sums in the order of the tasks, whatever order threads finish them in."""
    tasks = (
        (group, rows[start : start + _TASK])
        for group, rows in enumerate(members)
        for start in range(0, rows.size, _TASK)
    )
    waiting: deque[tuple[int, npt.NDArray[np.int64], Future[_Part]]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for group, rows in tasks:
            waiting.append((group, rows, pool.submit(_run, problem, rows)))
            if len(waiting) > threads:
                ready, at, future = waiting.popleft()
                yield ready, at, future.result()
        while waiting:
            ready, at, future = waiting.popleft()
            yield ready, at, future.result()


def _run(problem: _Problem, rows: npt.NDArray[np.int64]) -> _Part:
    from robreport_plugins.privacy._kernels import add_shapley_values, nearest_agreement

    part = _Part(np.zeros(problem.weights.size), np.empty(rows.size), np.empty(rows.size))
    points, labels = problem.points[rows], problem.point_labels[rows]
    add_shapley_values(
        problem.columns, problem.labels, problem.weights, problem.harmonic,
        points, labels, part.total, part.worth,
    )  # fmt: skip
    nearest_agreement(
        problem.columns, problem.labels, problem.weights, points, labels, part.nearest
    )
    return part
