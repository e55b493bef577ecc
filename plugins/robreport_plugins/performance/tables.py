"""Tables of a classifier's performance."""

from __future__ import annotations

import numpy as np

from robreport import Column, Table, stats
from robreport_plugins.methods.calibration import Reliability
from robreport_plugins.methods.labels import ClassScores, IntArray

# Up to here each class says what its examples were taken for.
_WHOLE = 15
_MOST_PAIRS = 200


def per_class(names: tuple[str, ...], scores: ClassScores, matrix: IntArray) -> Table:
    """Return examples, predictions, precision, recall and F1 of every class.

    Of few classes, also what the wrongly labelled examples were taken for: the whole matrix.
    """
    whole = len(names) <= _WHOLE
    rows = []
    for i, name in enumerate(names):
        n, asked, hits = (int(a[i]) for a in (scores.examples, scores.predictions, scores.hits))
        f1 = float(scores.f1[i])
        rows.append((
            name, n, asked, _share(hits, asked), _share(hits, n), None if np.isnan(f1) else f1,
            *((_taken_for(names, matrix[i], i),) if whole else ()),
        ))  # fmt: skip
    return Table(
        title="Performance per class",
        columns=(
            Column(key="class", title="Class"),
            Column(key="n", title="Examples", kind="integer"),
            Column(key="predicted", title="Given this label", kind="integer"),
            Column(key="precision", title="Precision", kind="share_interval"),
            Column(key="recall", title="Recall", kind="share_interval"),
            Column(key="f1", title="F1", kind="share"),
            *((Column(key="taken_for", title="Taken for"),) if whole else ()),
        ),
        rows=tuple(rows),
        caption=(
            "Precision: right among those given the label. Recall: right among those of the class. "
            "95 % Wilson intervals. Empty: no example to make it from."
            + (" Taken for: wrong labels of its examples, with how often." if whole else "")
        ),
        appendix=len(names) > 25,
    )


def _share(hits: int, n: int) -> list[float] | None:
    if not n:
        return None
    interval = stats.wilson(hits, n)
    return [hits / n, interval.low, interval.high]


def _taken_for(names: tuple[str, ...], row: IntArray, own: int) -> str:
    """Return the wrong labels of a class with their counts, most frequent first."""
    wrong = [(-int(count), j) for j, count in enumerate(row) if count and j != own]
    return ", ".join(f"{names[j]} ({-count:,})" for count, j in sorted(wrong))


def confusion(names: tuple[str, ...], matrix: IntArray) -> Table | None:
    """Return the most frequent confusions of many classes; of few, `per_class` has all."""
    if len(names) <= _WHOLE:
        return None
    pairs = confused_pairs(matrix)[:_MOST_PAIRS]
    rows = [(names[i], names[j], count, count / int(matrix[i].sum())) for i, j, count in pairs]
    return Table(
        title="Most frequent confusions",
        columns=(
            Column(key="true", title="True class"),
            Column(key="label", title="Label given"),
            Column(key="count", title="Examples", kind="integer"),
            Column(key="share", title="Of the class", kind="share"),
        ),
        rows=tuple(rows),
        caption=f"Wrong labels, most frequent first; at most {_MOST_PAIRS}.",
        appendix=True,
    )


def confused_pairs(matrix: IntArray) -> list[tuple[int, int, int]]:
    """Return (true, label, count) of wrong labels, most frequent first, then by index."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    true, label = np.nonzero(wrong)
    found = [(int(i), int(j), int(wrong[i, j])) for i, j in zip(true, label, strict=True)]
    return sorted(found, key=lambda cell: (-cell[2], cell[0], cell[1]))


def reliability(bins: Reliability) -> Table:
    """Return each bin of confidence with its accuracy and interval."""
    rows = []
    for b in np.flatnonzero(bins.counts):
        n, hits = int(bins.counts[b]), int(bins.hits[b])
        bounds = f"{100 * bins.edges[b]:.3g} to {100 * bins.edges[b + 1]:.3g} %"
        rows.append((bounds, n, float(bins.confidence[b]), _share(hits, n)))
    return Table(
        title="Reliability",
        columns=(
            Column(key="bin", title="Confidence"),
            Column(key="n", title="Examples", kind="integer"),
            Column(key="confidence", title="Mean confidence", kind="share"),
            Column(key="accuracy", title="Accuracy", kind="share_interval"),
        ),
        rows=tuple(rows),
        caption="Bins without examples are left out. 95 % Wilson intervals.",
        appendix=True,
    )
