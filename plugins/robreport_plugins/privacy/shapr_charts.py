"""Figures of SHAPr, all of them counted or drawn at chosen ranks, and the pictures."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from robreport import Bundle, Figure, ImageGrid
from robreport_plugins.privacy.shapr import ROUNDING
from robreport_plugins.privacy.shapr_tables import CLASS_QUANTILES, histogram, ranks

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_WIDTH = 560
_MOST_CLASSES = 30
_PICTURES = 10
_SMALL, _FEWER = 40, 5
"""Pictures wider than so many pixels stand in two rows of so many."""


def by_rank(scores: FloatArray, thresholds: tuple[float, ...], irrelevant: float) -> Figure:
    """Return the score against the record's rank, with the mean and the thresholds as lines."""
    ordered = np.sort(scores)[::-1]
    drawn = ranks(scores.size)
    rows = [{"rank": int(r), "score": float(ordered[r - 1])} for r in drawn]
    levels = [
        *({"line": "threshold", "score": t} for t in thresholds),
        {"line": "mean", "score": float(scores.mean())},
        {"line": "never matters", "score": irrelevant},
    ]
    dashes = alt.Scale(
        domain=["threshold", "mean", "never matters"], range=[[6, 4], [1, 0], [1, 3]]
    )
    x = alt.X("rank:Q", title="Rank of the record (log)",
              scale=alt.Scale(type="log", domain=[1, max(2, scores.size)], nice=False),
              axis=alt.Axis(format="~s", values=[10**e for e in range(10) if 10**e <= scores.size]),
    )  # fmt: skip
    y = alt.Y("score:Q", title="SHAPr")
    curve = alt.Chart(alt.InlineData(values=rows)).encode(x=x, y=y, tooltip=["rank:Q", "score:Q"])
    lines = (
        alt.Chart(alt.InlineData(values=levels))
        .mark_rule()
        .encode(
            y=y,
            strokeDash=alt.StrokeDash(
                "line:N", scale=dashes, legend=alt.Legend(title=None, symbolType="stroke")
            ),
            tooltip=["line:N", "score:Q"],
        )
    )
    above = ", ".join(f"{int(np.sum(scores > t + ROUNDING)):,} above {t:g}" for t in thresholds)
    return Figure.from_chart(
        alt.layer(lines, curve.mark_line(), curve.mark_point(filled=True, size=18)).properties(
            width=_WIDTH, height=260
        ),
        title="Score of each training record, from the most exposed",
        caption=(
            "Training records ordered by score; dots are the records drawn. Lines: the thresholds, "
            "the mean, and what an average record that never matters would score."
        ),
        alt=(
            f"Falling curve of {scores.size:,} scores from {ordered[0]:.3g} to {ordered[-1]:.3g}; "
            f"mean {scores.mean():.3g}, median {np.median(scores):.3g}; records: {above}."
        ),
    )


def distribution(scores: FloatArray) -> Figure:
    """Return the histogram of the scores, on a scale that shows rare ones."""
    counts, edges = histogram(scores)
    rows = [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "n": int(c)}
        for i, c in enumerate(counts)
        if c
    ]
    # The scale's own ticks are those of a linear one: all of them at the top.
    ticks = [0, *(t for e in range(9) for t in (10**e, 3 * 10**e) if t <= counts.max())]
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("from:Q", title="SHAPr", scale=alt.Scale(zero=False, nice=False)),
            x2="to:Q",
            y=alt.Y(
                "n:Q",
                title="Records (log)",
                scale=alt.Scale(type="symlog"),
                axis=alt.Axis(values=ticks),
            ),
            y2=alt.datum(0),
            tooltip=["from:Q", "to:Q", "n:Q"],
        )
        .properties(width=_WIDTH, height=200)
    )
    low, middle, high = (float(q) for q in np.quantile(scores, [0.05, 0.5, 0.95]))
    return Figure.from_chart(
        chart,
        title="Distribution of the scores",
        caption="How many training records have which score; the tail to the right is exposed.",
        alt=(
            f"Histogram of {scores.size:,} scores; nine in ten lie between {low:.3g} and "
            f"{high:.3g}, the median is {middle:.3g}, the highest {scores.max():.3g}."
        ),
    )


def per_class(scores: FloatArray, y: IntArray, names: tuple[str, ...]) -> Figure:
    """Return the spread of the scores of each class; of many, those with the longest tails."""
    rows = []
    for c in np.unique(y).tolist():
        own = scores[y == c]
        marks = [float(q) for q in np.quantile(own, CLASS_QUANTILES)]
        rows.append({"class": names[c], "low": marks[0], "median": marks[1], "high": marks[2]})
    found = len(rows)
    if found > _MOST_CLASSES:
        kept = sorted(rows, key=lambda r: (-r["high"], str(r["class"])))[:_MOST_CLASSES]
        rows = [r for r in rows if r in kept]
    order = [str(r["class"]) for r in rows]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("class:N", title="Class", sort=order, axis=alt.Axis(labelLimit=140)),
        tooltip=["class:N", "median:Q", "high:Q"],
    )
    title = "SHAPr"
    height = int(min(300, max(60, 24 * len(rows))))
    size = max(2, height // len(rows) // 2)
    drawn = base.mark_rule().encode(x=alt.X("low:Q", title=title), x2="high:Q") + base.mark_tick(
        thickness=2, size=size
    ).encode(x=alt.X("median:Q", title=title))
    worst = max(rows, key=lambda r: (r["high"], str(r["class"])))
    most = f" The {_MOST_CLASSES} classes with the highest 95 % quantile of {found} are drawn."
    return Figure.from_chart(
        drawn.properties(width=_WIDTH, height=height),
        title="Scores per class",
        caption=(
            "Line: from the 5 % to the 95 % quantile; tick: median."
            + (most if found > _MOST_CLASSES else "")
        ),
        alt=(
            f"Spread of the scores of {len(rows)} classes. Class {worst['class']} reaches highest: "
            f"its 95 % quantile is {worst['high']:.3g}, its median {worst['median']:.3g}."
        ),
    )


def most_exposed(
    bundle: Bundle, rows: IntArray, scores: FloatArray, names: tuple[str, ...]
) -> ImageGrid | None:
    """Return pictures of the most exposed records; None where they are no grey or RGB images."""
    train = bundle.split("train")
    shape = train.x.shape[1:]
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    rows, scores = rows[:_PICTURES], scores[:_PICTURES]
    pictures = np.asarray(train.x[rows], dtype=np.float64)
    low, high = _range(bundle, pictures)
    shades = np.round(255 * np.clip((pictures - low) / (high - low), 0, 1)).astype(np.uint8)
    columns = min(_PICTURES if shape[-1] <= _SMALL else _FEWER, rows.size)
    lines = -(-rows.size // columns)
    # White fills the last row.
    grid: Any = np.full((lines * columns, *shape), 255, dtype=np.uint8)
    grid[: rows.size] = shades
    grid = grid.reshape(lines, columns, *shape)
    grid = grid[:, :, 0] if shape[0] == 1 else np.moveaxis(grid, 2, -1)
    labels = [
        f"{int(train.index[row]):,}:\u00a0{names[int(train.labels[row])]}" for row in rows.tolist()
    ] + [""] * (lines * columns - rows.size)
    return ImageGrid(
        title="The most exposed training records",
        images=grid,
        caption="Row in the source and class, from the highest score.",
        alt=(
            f"Pictures of the {rows.size} training records of highest score, from "
            f"{scores[0]:.2f} ({names[int(train.labels[rows[0]])]}) to {scores[-1]:.2f} "
            f"({names[int(train.labels[rows[-1]])]})."
        ),
        cell_labels=tuple(tuple(labels[i * columns : (i + 1) * columns]) for i in range(lines)),
    )


def _range(bundle: Bundle, pictures: FloatArray) -> tuple[float, float]:
    """Return the range of the shades: the data's bounds where they are two numbers."""
    bounds = bundle.schema.bounds
    if bounds is not None and all(isinstance(end, int | float) for end in bounds):
        low, high = (float(end) for end in bounds if isinstance(end, int | float))
    else:
        low, high = float(pictures.min()), float(pictures.max())
    return (low, high) if low < high else (low, low + 1)
