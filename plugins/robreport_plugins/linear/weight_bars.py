"""Weights as sorted bars with the features' names, for tables."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from robreport import Figure
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Fitted
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import listed, number, percent

_MOST_FEATURES = 20
_MOST_PANELS = 4
_ROOM = 470


def largest_features(members: Sequence[Fitted]) -> list[int]:
    """Return the features of the largest weights in any classifier, by the first one's size."""
    sizes = np.stack([np.abs(f.classifier.models[0].w) for f in members])
    top = np.argsort(-sizes.max(axis=0), kind="stable")[:_MOST_FEATURES]
    order = sorted(top.tolist(), key=lambda j: (-sizes[0, j], j))
    return [int(j) for j in order]


def panels(members: Sequence[Fitted]) -> list[Fitted]:
    """Return the classifiers that are drawn side by side: of many, first, last and some between."""
    if len(members) <= _MOST_PANELS:
        return list(members)
    places = np.unique(np.round(np.linspace(0, len(members) - 1, _MOST_PANELS))).astype(int)
    return [members[i] for i in places.tolist()]


def weight_bars(members: Sequence[Fitted], data: Dataset, task: Task) -> Figure:
    """Return the largest weights of each classifier, sorted by the regular one's."""
    shown, features = panels(members), largest_features(members)
    names = [data.columns.names[j] for j in features]
    # Charts tell bars apart by their names, and names may be long or alike.
    labels = [
        name if len(name) <= 26 else f"{name[:20]}\u2026 ({j})"
        for name, j in zip(names, features, strict=True)
    ]
    rows = [
        {"model": f.label, "feature": label, "weight": float(f.classifier.models[0].w[j])}
        for f in shown
        for label, j in zip(labels, features, strict=True)
    ]
    parts = []
    for i, f in enumerate(shown):
        own = [r for r in rows if r["model"] == f.label]
        axis = alt.Axis(labels=i == 0, ticks=i == 0, labelLimit=150, title=None)
        chart = (
            alt.Chart(alt.InlineData(values=own))
            .mark_bar()
            .encode(
                y=alt.Y("feature:N", sort=labels, axis=axis),
                x=alt.X("weight:Q", title="weight", axis=alt.Axis(tickCount=3, format="~g")),
                tooltip=["feature:N", alt.Tooltip("weight:Q", format=".4g")],
            )
            .properties(
                width=_ROOM // len(shown) - 12,
                height=14 * len(features),
                # A line of its own for the solver: a panel is narrow.
                title=f.label.replace(" (", "\n(").split("\n"),
            )
        )
        parts.append(chart)
    shares = listed([f"{f.label} {percent(f.wiped)}" for f in members])
    first = float(shown[0].classifier.models[0].w[features[0]])
    which = "" if data.binary else f" Class {data.classes[0]} against the rest."
    some = f" The {len(features)} largest of {data.d} are drawn." if data.d > len(features) else ""
    side = f" A positive weight speaks for {data.classes[1]}." if data.binary else ""
    return Figure.from_chart(
        alt.hconcat(*parts, spacing=12).resolve_scale(y="shared"),
        title=f"Weights, {task.norm.symbol}",
        caption=(
            f"Sorted by size in the {shown[0].label} classifier; wiped-out weights: "
            f"{shares}.{side}{which}{some}"
        ),
        alt=(
            f"Bars of the weights of {len(shown)} classifiers for {len(features)} features; the "
            f"{shown[0].label} one's largest is {number(first)} for {names[0]}. "
            f"Wiped-out weights: {shares}."
        ),
    )
