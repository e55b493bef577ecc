"""Figures of a regressor's performance; examples are counted into bins before they are drawn."""

from __future__ import annotations

import altair as alt
import numpy as np
import numpy.typing as npt

from robreport import Column, Figure, Table

FloatArray = npt.NDArray[np.float64]

_WIDTH = 560
_BARS = 40
_CELLS = 30


def _bins(values: FloatArray, most: int) -> FloatArray:
    low, high = float(values.min()), float(values.max())
    if not low < high:
        pad = abs(low) * 1e-6 or 0.5
        low, high = low - pad, high + pad
    return np.linspace(low, high, most + 1)


def _histogram(residual: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    bars = int(min(_BARS, max(5, np.sqrt(residual.size))))
    counts, edges = np.histogram(residual, bins=_bins(residual, bars))
    return counts.astype(np.int64), edges


def histogram_table(residual: FloatArray) -> Table:
    """Return the counts behind the histogram of residuals."""
    counts, edges = _histogram(residual)
    return Table(
        title="Histogram of the residuals",
        columns=(
            Column(key="from", title="From", kind="number"),
            Column(key="to", title="to", kind="number"),
            Column(key="n", title="Examples", kind="integer"),
        ),
        rows=tuple((float(edges[i]), float(edges[i + 1]), int(c)) for i, c in enumerate(counts)),
        caption="Residual: predicted minus true.",
        appendix=True,
    )


def residuals(residual: FloatArray, target: str) -> Figure:
    """Return the histogram of predicted minus true, with a line at zero."""
    counts, edges = _histogram(residual)
    rows = [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "n": int(c)}
        for i, c in enumerate(counts)
    ]
    title = f"Predicted − true {target}".strip()
    bars = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("from:Q", title=title, scale=alt.Scale(zero=False, nice=False)),
            x2="to:Q",
            y=alt.Y("n:Q", title="Examples"),
            y2=alt.datum(0),
            tooltip=["from:Q", "to:Q", "n:Q"],
        )
    )
    zero = (
        alt.Chart(alt.InlineData(values=[{"from": 0}]))
        .mark_rule(strokeDash=[4, 4])
        .encode(x="from:Q")
    )
    low, middle, high = (float(q) for q in np.quantile(residual, [0.05, 0.5, 0.95]))
    return Figure.from_chart(
        (bars + zero).properties(width=_WIDTH, height=220),
        title="Residuals",
        caption="How often the model misses by how much; the dashed line is no error.",
        alt=(
            f"Histogram of {residual.size:,} residuals from {residual.min():.4g} to "
            f"{residual.max():.4g}; median {middle:.4g}, nine in ten between {low:.4g} and "
            f"{high:.4g}."
        ),
    )


def predicted_against_true(y: FloatArray, predicted: FloatArray, target: str) -> Figure:
    """Return predictions against true values, counted on a grid, with the line of equality."""
    edges = _bins(np.concatenate([y, predicted]), _CELLS)
    counts, _, _ = np.histogram2d(y, predicted, bins=(edges, edges))
    rows = [
        {"x": float(edges[i]), "x2": float(edges[i + 1]), "y": float(edges[j]),
         "y2": float(edges[j + 1]), "n": int(counts[i, j])}
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]  # fmt: skip
    limits = alt.Scale(domain=[float(edges[0]), float(edges[-1])], nice=False, zero=False)
    cells = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect()
        .encode(
            x=alt.X("x:Q", title=f"True {target or 'value'}", scale=limits),
            x2="x2:Q",
            y=alt.Y("y:Q", title=f"Predicted {target or 'value'}", scale=limits),
            y2="y2:Q",
            color=alt.Color("n:Q", title="Examples"),
            tooltip=["x:Q", "y:Q", "n:Q"],
        )
    )
    ends = [{"x": float(edges[0]), "y": float(edges[0])},
            {"x": float(edges[-1]), "y": float(edges[-1])}]  # fmt: skip
    line = (
        alt.Chart(alt.InlineData(values=ends)).mark_line(strokeDash=[4, 4]).encode(x="x:Q", y="y:Q")
    )
    near = float(np.mean(np.abs(predicted - y) <= edges[1] - edges[0]))
    return Figure.from_chart(
        (cells + line).properties(width=_WIDTH, height=300),
        title="Predicted against true",
        caption="Examples counted on a grid; on the dashed line predicted and true are equal.",
        alt=(
            f"Grid of {y.size:,} predictions against true values between {edges[0]:.4g} and "
            f"{edges[-1]:.4g}; {100 * near:.0f} % lie within one cell of the line of equality."
        ),
    )
