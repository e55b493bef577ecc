"""Figures of a classifier's performance."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np

from robreport import Figure, Scalar, stats
from robreport_plugins.methods.calibration import Reliability

_WIDTH = 560


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
