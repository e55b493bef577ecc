"""Accuracy against the radius: one line for each classifier, with what is required."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from robreport import Figure
from robreport_plugins.linear.words import falls_below, listed, number, percent

_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [1, 3])
_HEIGHT = 250
_SHORT = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Counts of right inputs over the radii, of the attack that counts and of the other one."""

    label: str
    grid: npt.NDArray[np.float64]
    right: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64] | None
    n: int


def dashes(labels: Sequence[str]) -> alt.StrokeDash:
    """Return a dash for each series, so that lines differ without their colours."""
    scale = alt.Scale(
        domain=list(labels), range=[_DASHES[i % len(_DASHES)] for i in range(len(labels))]
    )
    return alt.StrokeDash("series:N", scale=scale, sort=list(labels), legend=None)


def colours(labels: Sequence[str]) -> alt.Color:
    """Return the colour of each series, in the order given."""
    # Long names, such as those of two solvers, need the room of a wider column.
    columns = 4 if max(len(label) for label in labels) <= _SHORT else 3
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", columns=columns)
    return alt.Color(
        "series:N", sort=list(labels), scale=alt.Scale(domain=list(labels)),
        legend=legend if len(labels) > 1 else None,
    )  # fmt: skip


def accuracy_curve(
    lines: Sequence[Line], *, symbol: str, unit: str, clip: bool, thresholds: Sequence[float],
    title: str,
) -> Figure:  # fmt: skip
    """Return the exact accuracy over the radius; thin lines are of the other kind of attack."""
    labels = [line.label for line in lines]
    rows: list[dict[str, Any]] = []
    thin: list[dict[str, Any]] = []
    for line in lines:
        for eps, hits in zip(line.grid.tolist(), line.right.tolist(), strict=True):
            rows.append(
                {"series": line.label, "eps": round(eps, 6), "accuracy": _short(hits / line.n)}
            )
        if line.other is not None and not np.array_equal(line.other, line.right):
            for eps, hits in zip(line.grid.tolist(), line.other.tolist(), strict=True):
                thin.append(
                    {"series": line.label, "eps": round(eps, 6), "accuracy": _short(hits / line.n)}
                )
    x = alt.X("eps:Q", title=f"perturbation size \u03b5 ({symbol}, {unit})",
              scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=8))  # fmt: skip
    y = alt.Y("accuracy:Q", title="share that stays right", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(format=".0%"))  # fmt: skip
    colour, dash = colours(labels), dashes(labels)
    tooltip = [
        alt.Tooltip("series:N", title="classifier"), alt.Tooltip("eps:Q", title="\u03b5"),
        alt.Tooltip("accuracy:Q", format=".1%"),
    ]  # fmt: skip
    layers: list[Any] = []
    if thresholds:
        marks = [{"at": t, "word": f"threshold {percent(t, 0)}"} for t in thresholds]
        base = alt.Chart(alt.InlineData(values=marks))
        height = alt.Y("at:Q", title="share that stays right")
        layers.append(base.mark_rule(strokeDash=[6, 4]).encode(y=height))
        layers.append(
            base.mark_text(align="right", dy=-6, dx=-2).encode(
                y=height, text="word:N", x=alt.datum(float(lines[0].grid[-1]))
            )
        )
    if thin:
        layers.append(
            alt.Chart(alt.InlineData(values=thin))
            .mark_line(strokeWidth=1, opacity=0.55)
            .encode(x=x, y=y, color=colour, strokeDash=dash)
        )
    layers.append(
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=2)
        .encode(x=x, y=y, color=colour, strokeDash=dash, tooltip=tooltip)
    )
    how = "within the data's bounds" if clip else "not clipped to bounds"
    also = ""
    if thin:
        also = " Thin: the attack " + ("without bounds." if clip else "within the data's bounds.")
    sizes = sorted({line.n for line in lines})
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return Figure.from_chart(
        alt.layer(*layers).properties(height=_HEIGHT),
        title=title,
        caption=(
            f"{_sentence(lines)} Exact worst case for each of n = {n} test inputs, {how}.{also}"
        ),
        alt=f"Line chart of accuracy against epsilon in {symbol}. {_ends(lines)}",
    )


def _short(value: float) -> float:
    return round(value, 5)


def _sentence(lines: Sequence[Line]) -> str:
    """Say where each line loses half of the inputs."""
    parts = []
    for line in lines:
        at = falls_below(line.grid, line.right, line.n, 0.5)
        if at is None:
            parts.append(f"{line.label} nowhere up to {number(float(line.grid[-1]))}")
        else:
            parts.append(f"{line.label} at {number(at)}")
    return f"Where fewer than half of the inputs stay right: {listed(parts)}."


def _ends(lines: Sequence[Line]) -> str:
    return " ".join(
        f"{line.label}: from {percent(line.right[0] / line.n)} without a perturbation to "
        f"{percent(line.right[-1] / line.n)} at {number(float(line.grid[-1]))}."
        for line in lines
    )
