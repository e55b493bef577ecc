"""Tables of SHAPr: the most exposed records, classes, and what the figures are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Column, Table
from robreport_plugins.privacy.shapr_intervals import Spread

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BARS = 24
CLASS_QUANTILES = (0.05, 0.5, 0.95)


def most_exposed(
    index: npt.NDArray[Any],
    scores: FloatArray,
    y: IntArray,
    names: tuple[str, ...],
    top: IntArray,
    spread: Spread,
) -> Table:
    """Return the records of highest score, by their row number in the source.

    Narrow, so that the tables of several models go beside each other, rank by rank.
    """
    rows = []
    for rank, i in enumerate(top.tolist(), start=1):
        interval = spread.of_record(i)
        score = float(scores[i])
        ends = [score, None, None] if interval is None else [score, interval.low, interval.high]
        rows.append((rank, f"{int(index[i]):,}:\u00a0{names[int(y[i])]}", ends))
    return Table(
        title="The most exposed training records",
        columns=(
            Column(key="rank", title="Rank", kind="integer"),
            Column(key="record", title="Row and class"),
            Column(key="score", title="SHAPr", kind="interval"),
        ),
        rows=tuple(rows),
        caption=(
            "The most exposed first. 95 % jackknife intervals over groups of test points. A record "
            "picked as the highest owes a part of that to chance, which its interval does not show."
        ),
        appendix=top.size > 25,
    )


def per_class(scores: FloatArray, y: IntArray, names: tuple[str, ...]) -> Table:
    """Return quantiles of the scores of every class."""
    high = float(np.quantile(scores, 0.9))
    rows = []
    for c in np.unique(y).tolist():
        own = scores[y == c]
        middle = [float(q) for q in np.quantile(own, CLASS_QUANTILES)]
        share = float(np.mean(own > high))
        spread = [middle[1], middle[0], middle[2]]
        rows.append((names[c], int(own.size), spread, share))
    return Table(
        title="Exposure per class",
        columns=(
            Column(key="class", title="Class"),
            Column(key="n", title="Records", kind="integer"),
            Column(key="spread", title="Median (5 % to 95 %)", kind="interval"),
            Column(key="top", title="In the top tenth", kind="share"),
        ),
        rows=tuple(rows),
        caption=(
            "Quantiles of the scores of each class. A record that never decides a nearest "
            "neighbour scores the share of test points of its class."
        ),
        appendix=len(rows) > 25,
    )


def histogram(scores: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return counts and edges of at most 40 bars over the range of the scores."""
    low, high = float(scores.min()), float(scores.max())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    bars = int(min(_BARS, max(5, np.sqrt(scores.size))))
    counts, edges = np.histogram(scores, bins=np.linspace(low, high, bars + 1))
    return counts.astype(np.int64), edges


def distribution(scores: FloatArray) -> Table:
    """Return the counts behind the histogram."""
    counts, edges = histogram(scores)
    return Table(
        title="Distribution of the scores",
        columns=(
            Column(key="range", title="SHAPr"),
            Column(key="n", title="Records", kind="integer"),
        ),
        rows=tuple((_between(edges[i], edges[i + 1]), int(c)) for i, c in enumerate(counts) if c),
        caption="Ranges without records are left out.",
        appendix=True,
    )


def _between(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}".replace("-", "\N{MINUS SIGN}")


def ranks(n: int) -> IntArray:
    """Return the ranks that are drawn: the first five, then some 4 to a factor of ten, and n."""
    spaced = np.geomspace(1, n, num=max(2, int(4 * np.log10(max(n, 10)))))
    drawn = np.concatenate([np.arange(1, min(5, n) + 1), np.round(spaced).astype(np.int64), [n]])
    return np.unique(drawn).astype(np.int64)


def by_rank(scores: FloatArray) -> Table:
    """Return the scores at the ranks that the figure draws."""
    ordered = np.sort(scores)[::-1]
    return Table(
        title="Score by rank",
        columns=(
            Column(key="rank", title="Rank", kind="integer"),
            Column(key="score", title="SHAPr", kind="number"),
        ),
        rows=tuple((int(r), float(ordered[r - 1])) for r in ranks(scores.size)),
        caption="Training records from the most exposed; ranks are spaced evenly in the logarithm.",
        appendix=True,
    )
