"""Figures of a classifier's performance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np

from robreport import Figure, Scalar, stats
from robreport_plugins.methods.calibration import Reliability
from robreport_plugins.methods.labels import IntArray

_WIDTH = 560
# Up to here counts are written into the cells.
_WRITTEN = 20
_MOST_CELLS = 1500


def confusion(names: tuple[str, ...], matrix: IntArray) -> Figure:
    """Return the confusion matrix as a heat map of shares of the true class."""
    totals = np.maximum(matrix.sum(axis=1), 1)
    cells: list[dict[str, Any]] = [
        {"true": names[i], "label": names[j], "count": int(matrix[i, j]),
         "share": float(matrix[i, j] / totals[i])}
        for i, j in zip(*np.nonzero(matrix), strict=True)
    ]  # fmt: skip
    counts = np.sort(matrix[matrix > 0])[::-1]
    # Cells of one count are drawn all or none, so that the cut favours no class.
    least = 1 if counts.size <= _MOST_CELLS else int(counts[_MOST_CELLS]) + 1
    cells = [cell for cell in cells if cell["count"] >= least]
    dropped = int(counts.size) - len(cells)
    written = len(names) <= _WRITTEN
    # With counts inside, shades stop at mid-tone, so that the text keeps its contrast.
    largest = max((float(cell["share"]) for cell in cells), default=1.0)
    scale = alt.Scale(domain=[0, 1.6] if written else [0, largest])
    legend = None if written else alt.Legend(title="Share of the class", format=".0%")
    order = list(names)
    axis = alt.Axis(labelOverlap=True, labelLimit=140)
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        x=alt.X("label:N", title="Label given", sort=order, scale=alt.Scale(domain=order),
                axis=alt.Axis(labelOverlap=True, labelLimit=140, labelAngle=_angle(names))),
        y=alt.Y("true:N", title="True class", sort=order, scale=alt.Scale(domain=order), axis=axis),
        tooltip=["true:N", "label:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    drawn: Any = base.mark_rect().encode(color=alt.Color("share:Q", scale=scale, legend=legend))
    if written:
        drawn = drawn + base.mark_text(fontSize=11 if len(names) <= 12 else 8).encode(
            text=alt.Text("count:Q", format=",d")
        )
    height = int(min(300, max(90, 28 * len(names))))
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    alt_text = (
        f"Heat map of {len(names)} true classes against the labels given. "
        f"{int(np.diag(matrix).sum()):,} of {int(matrix.sum()):,} examples lie on the diagonal."
    )
    if wrong.any():
        i, j = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        alt_text += (
            f" The most frequent confusion is {names[i]} labelled {names[j]}: "
            f"{int(wrong[i, j]):,} of {int(matrix[i].sum()):,}."
        )
    caption = "The darker, the larger the share of the true class; blank cells hold no example."
    if dropped:
        caption += f" {dropped:,} cells of fewer than {least} examples are not drawn."
    return Figure.from_chart(
        drawn.properties(width=_WIDTH, height=height),
        title="Confusion matrix",
        caption=caption,
        alt=alt_text,
    )


def _angle(names: tuple[str, ...]) -> int:
    return 0 if max(map(len, names)) * 7 * len(names) <= _WIDTH else -45


def reliability(bins: Reliability, scalars: Mapping[str, Scalar]) -> Figure:
    """Return accuracy against confidence with intervals, over how many examples each bin has."""
    rows = []
    for b in np.flatnonzero(bins.counts):
        n, hits = int(bins.counts[b]), int(bins.hits[b])
        interval = stats.wilson(hits, n)
        rows.append(
            {"confidence": float(bins.confidence[b]), "accuracy": hits / n, "n": n,
             "low": interval.low, "high": interval.high,
             "from": float(bins.edges[b]), "to": float(bins.edges[b + 1])}
        )  # fmt: skip
    data = alt.InlineData(values=rows)
    share = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("confidence:Q", title="Mean confidence of the bin", scale=share,
              axis=alt.Axis(format=".0%"))  # fmt: skip
    points = alt.Chart(data).encode(
        x=x,
        tooltip=["n:Q", alt.Tooltip("confidence:Q", format=".1%"),
                 alt.Tooltip("accuracy:Q", format=".1%")],
    )  # fmt: skip
    y_axis = alt.Axis(format=".0%")
    whiskers = points.mark_rule().encode(
        y=alt.Y("low:Q", title="Accuracy", scale=share, axis=y_axis), y2="high:Q"
    )
    dots = points.mark_point(filled=True, size=50).encode(
        y=alt.Y("accuracy:Q", title="Accuracy", scale=share, axis=y_axis)
    )
    ends = [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    diagonal = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeDash=[4, 4])
        .encode(x="confidence:Q", y="accuracy:Q")
    )
    upper = (diagonal + whiskers + dots).properties(width=_WIDTH, height=190)
    lower = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("from:Q", title="Confidence", scale=share, axis=alt.Axis(format=".0%")),
            x2="to:Q",
            y=alt.Y("n:Q", title="Examples"),
            y2=alt.datum(0),
        )
        .properties(width=_WIDTH, height=50)
    )
    top = max(rows, key=lambda r: (r["n"], r["confidence"]))
    error = scalars["expected_calibration_error"].value or 0.0
    return Figure.from_chart(
        alt.vconcat(upper, lower, spacing=8),
        title="Reliability diagram",
        caption=(
            "Accuracy of the examples of each bin of confidence, with 95 % Wilson intervals; "
            "below the dashed diagonal is overconfidence. Bars: how many examples each bin holds."
        ),
        alt=(
            f"Accuracy against confidence in {len(rows)} bins; calibration error "
            f"{100 * error:.1f} %. The fullest bin holds {top['n']:,} examples at mean confidence "
            f"{100 * top['confidence']:.1f} % and accuracy {100 * top['accuracy']:.1f} %."
        ),
    )
