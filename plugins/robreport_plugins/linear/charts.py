"""Charts of training, losses and logits; each caption says what its numbers say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from robreport import Column, Figure, Table
from robreport_plugins.linear.attacked import Bounds, perturbed
from robreport_plugins.linear.curve_chart import colours, dashes
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Fitted
from robreport_plugins.linear.landscape import chosen_weight, landscape, value_range
from robreport_plugins.linear.linear_model import dual_length
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import listed, number, percent

Floats = npt.NDArray[np.float64]

_HEIGHT = 220
_BINS = 30
_LOGIT_ROWS = 20_000
_MOST_POINTS = 121
_TABLE_ROWS = 13
FALLING = 0.02


def training_curves(members: Sequence[Fitted], task: Task) -> Figure | None:
    """Return the loss of every classifier over the epochs; None where none was trained by SGD."""
    shown = [f for f in members if f.classifier.robust_loss is not None]
    if not shown:
        return None
    rows: list[dict[str, Any]] = []
    parts = []
    for f in shown:
        loss = f.classifier.robust_loss
        if loss is None:
            continue
        places = np.unique(np.round(np.linspace(0, loss.size - 1, min(loss.size, _MOST_POINTS))))
        rows += [
            {"series": f.label, "epoch": i, "loss": float(loss[i])}
            for i in places.astype(int).tolist()
        ]
        parts.append(f"{f.label} {number(float(loss[0]))} to {number(float(loss[-1]))}")
    lowest = min(row["loss"] for row in rows)
    labels = [f.label for f in shown]
    scale = alt.Scale(type="log", nice=False) if lowest > 0 else alt.Scale(type="linear")
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=len(rows) < 200)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("loss:Q", title="training loss" + (" (log)" if lowest > 0 else ""), scale=scale,
                    axis=alt.Axis(format="~g", tickCount=5)),
            color=colours(labels), strokeDash=dashes(labels),
            tooltip=["series:N", "epoch:Q", alt.Tooltip("loss:Q", format=".4g")],
        )
        .properties(height=_HEIGHT)
    )  # fmt: skip
    falling = [f.label for f in shown if still_falling(f) > 0]
    end = (
        f"Not finished, by the fall of the last tenth of the epochs: {listed(falling)}."
        if falling
        else "The last tenth of the epochs adds less than 2\u202f% to what each has fallen."
    )
    return Figure.from_chart(
        chart,
        title=f"Training loss by epoch, {task.norm.symbol}",
        caption=(
            "Mean robust hinge of the training set, each classifier at the \u03b5 that it is "
            f"trained against (0: the hinge itself). {end}"
        ),
        alt=f"Line chart of training loss over epochs: {'; '.join(parts)}.",
    )


def still_falling(fitted: Fitted) -> float:
    """Return the part of all that the loss fell in the last tenth of the epochs; 0 up to 2 %.

    1 where it did not fall at all: nothing was learned.
    """
    loss = fitted.classifier.robust_loss
    if loss is None or len(loss) < 2 or loss[-1] < 1e-3:
        return 0.0
    if loss[-1] >= loss[0]:
        return 1.0
    before = loss[-1 - math.ceil((len(loss) - 1) / 10)]
    part = float((before - loss[-1]) / (loss[0] - loss[-1]))
    return part if part > FALLING else 0.0


def hinge_picture(
    members: Sequence[Fitted], data: Dataset, task: Task
) -> tuple[Figure, Table] | None:
    """Return hinge and robust hinge over the margin, with one robust classifier's own numbers."""
    robust = [f for f in members if f.classifier.eps.value > 0]
    if not robust:
        return None
    f = robust[-1]
    model, eps = f.classifier.models[0], f.classifier.eps
    cost = eps.value * dual_length(model.w, task.norm)
    margin = data.test.signs(len(data.classes))[0] * model.decision(data.test.x)
    low, high = (float(q) for q in np.quantile(margin, [0.02, 0.98]))
    ends = min(low, -1.0), max(high, 1.5 + cost)
    x = np.linspace(*ends, 61)
    names = ("right or wrong", "hinge", "robust hinge")
    rows: list[dict[str, Any]] = [{"series": names[0], "margin": at, "loss": loss} for at, loss in
            ((ends[0], 1.0), (0.0, 1.0), (0.0, 0.0), (ends[1], 0.0))]  # fmt: skip
    rows += [{"series": names[1], "margin": float(v), "loss": max(0.0, 1 - float(v))} for v in x]
    rows += [
        {"series": names[2], "margin": float(v), "loss": max(0.0, 1 - float(v) + cost)} for v in x
    ]
    counts, edges = np.histogram(np.clip(margin, *ends), bins=40, range=ends)
    top = max(r["loss"] for r in rows)
    bars = [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "n": int(c),
         "height": 0.35 * top * float(c) / float(counts.max())}
        for i, c in enumerate(counts) if c
    ]  # fmt: skip
    axis = alt.X("margin:Q", title="margin y f(x)", scale=alt.Scale(nice=False))
    marked = (
        alt.Chart(alt.InlineData(values=bars))
        .mark_rect(opacity=0.25, color="#6B7385")
        .encode(
            x=alt.X("from:Q", title="margin y f(x)"), x2="to:Q",
            y=alt.Y("height:Q", title="loss"), y2=alt.datum(0), tooltip=["from:Q", "to:Q", "n:Q"],
        )
    )  # fmt: skip
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line()
        .encode(
            x=axis, y=alt.Y("loss:Q", title="loss"), color=colours(names), strokeDash=dashes(names)
        )
    )
    n = margin.size
    keeps = float(np.mean(margin > cost))
    free = float(np.mean(margin >= 1 + cost))
    which = "" if data.binary else f" (class {data.classes[0]} against the rest)"
    caption = (
        f"A perturbation of \u03b5 = {eps} can take \u03b5 \u2016w\u2016 = {number(cost)} from any "
        f"margin of the classifier trained against it{which}, so the robust hinge asks for a "
        f"margin of {number(1 + cost)} where the hinge asks for 1: {percent(free)} of n = {n:,} "
        f"test inputs have that, and {percent(keeps)} have more than {number(cost)} and stay "
        "right. Grey: how many test inputs have which margin."
    )
    figure = Figure.from_chart(
        alt.layer(marked, lines).properties(height=_HEIGHT),
        title=f"Hinge, margin and robust hinge, {task.norm.symbol}",
        caption=caption,
        alt=(
            f"Hinge loss falling to 0 at a margin of 1, robust hinge loss parallel to it and "
            f"falling to 0 at {number(1 + cost)}; the median test margin is "
            f"{number(float(np.median(margin)))}."
        ),
    )
    shown = np.quantile(margin, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    table = Table(
        title=f"Margins of the test set, {f.label}, {task.norm.symbol}",
        columns=(
            Column(key="quantile", title="Quantile", kind="share"),
            Column(key="margin", title="Margin", kind="number"),
            Column(key="hinge", title="Hinge", kind="number"),
            Column(key="robust", title="Robust hinge", kind="number"),
        ),
        rows=tuple(
            (q, float(m), max(0.0, 1 - float(m)), max(0.0, 1 - float(m) + cost))
            for q, m in zip((0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99), shown, strict=True)
        ),
        caption=f"\u03b5 \u2016w\u2016 = {number(cost)}; n = {n:,}.",
        appendix=True,
    )
    return figure, table


def loss_landscape(
    members: Sequence[Fitted], data: Dataset, task: Task, wanted: int | None
) -> tuple[Figure, Table]:
    """Return the training loss along one weight: the plain and the robust one."""
    models = [f.classifier.models[0] for f in members]
    place = chosen_weight(models, wanted)
    values = value_range(models, place)
    sign = data.train.signs(len(data.classes))[0]
    labels = [f.label for f in members]
    rows, dots, columns, parts = [], [], [], []
    for f, model in zip(members, models, strict=True):
        found = landscape(
            model, data.train.x, sign, eps=f.classifier.eps.value, norm=task.norm, place=place,
            values=values,
        )  # fmt: skip
        rows += [
            {"series": f.label, "weight": float(at), "loss": float(loss)}
            for at, loss in zip(found.values, found.robust, strict=True)
        ]
        dots.append({
            "series": f.label, "weight": found.at,
            "loss": float(np.interp(found.at, found.values, found.robust)),
        })  # fmt: skip
        columns.append(found.robust)
        best = float(values[int(np.argmin(found.robust))])
        parts.append(f"{f.label} trained to {number(found.at)}, lowest near {number(best)}")
    name = data.columns.names[place]
    which = "" if data.binary else f", class {data.classes[0]} against the rest"
    x = alt.X("weight:Q", title=f"weight of {name}", scale=alt.Scale(nice=False))
    y = alt.Y("loss:Q", title="training loss")
    figure = Figure.from_chart(
        alt.layer(
            alt.Chart(alt.InlineData(values=rows)).mark_line().encode(
                x=x, y=y, color=colours(labels), strokeDash=dashes(labels)
            ),
            alt.Chart(alt.InlineData(values=dots)).mark_point(filled=True, size=50).encode(
                x=x, y=y, color=colours(labels)
            ),
        ).properties(height=_HEIGHT),
        title=f"Training loss along one weight, {task.norm.symbol}",
        caption=(
            f"The weight of {name} moves, all others stay as trained{which}; dots: where training "
            "left it. The price \u03b5 \u2016w\u2016 gives the robust losses their bend at 0: "
            f"{'; '.join(parts)}."
        ),
        alt=f"Line chart of training loss against the weight of {name}: {'; '.join(parts)}.",
    )  # fmt: skip
    places = np.unique(np.round(np.linspace(0, values.size - 1, _TABLE_ROWS))).astype(int).tolist()
    table = Table(
        title=f"Training loss along the weight of {name}, {task.norm.symbol}",
        columns=(
            Column(key="weight", title="Weight", kind="number"),
            *(Column(key=f"m{i}", title=label, kind="number") for i, label in enumerate(labels)),
        ),
        rows=tuple((float(values[p]), *(float(c[p]) for c in columns)) for p in places),
        caption=(
            f"Mean robust hinge at the classifier's \u03b5; {len(places)} of {values.size} points."
        ),
        appendix=True,
    )
    return figure, table


def wrong_logits(
    members: Sequence[Fitted], data: Dataset, task: Task, bounds: Bounds | None
) -> tuple[Figure, Table] | None:
    """Return how sure the classifiers are where the largest perturbation makes them wrong."""
    if not data.binary:
        return None
    end = float(task.grid[-1])
    x, y = data.test.x[:_LOGIT_ROWS], data.test.y[:_LOGIT_ROWS]
    wrong: list[tuple[Fitted, Floats]] = []
    for f in members:
        moved = perturbed(f.classifier.models, x, y, end, task.norm, bounds)
        score = f.classifier.models[0].decision(moved)
        wrong.append((f, score[(score > 0) != (y == 1)]))
    shown = [(f, s) for f, s in wrong if s.size]
    if not shown:
        return None
    everything = np.concatenate([s for _, s in shown])
    bins = int(np.clip(np.sqrt(min(s.size for _, s in shown)), 8, _BINS))
    low, high = float(everything.min()), float(everything.max())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    labels = [f.label for f, _ in shown]
    rows, cells, parts = [], [], []
    for f, s in shown:
        counts, edges = np.histogram(s, bins=bins, range=(low, high))
        for i, c in enumerate(counts.tolist()):
            rows.append({"series": f.label, "from": float(edges[i]), "share": c / s.size})
        rows.append({"series": f.label, "from": float(edges[-1]), "share": 0.0})
        below, above = s[s < 0], s[s >= 0]
        cells.append((
            f.label, int(s.size), int(below.size), _median(below), int(above.size), _median(above),
        ))  # fmt: skip
        sides = [number(float(np.median(part))) for part in (below, above) if part.size]
        parts.append(f"{f.label} {s.size:,} wrong, medians {' and '.join(sides)}")
    figure = Figure.from_chart(
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("from:Q", title="f(x\u2032) where it is wrong", scale=alt.Scale(nice=False)),
            y=alt.Y("share:Q", title="share of the wrong ones", axis=alt.Axis(format=".0%")),
            color=colours(labels), strokeDash=dashes(labels),
        )
        .properties(height=_HEIGHT),
        title=f"Scores of wrong decisions, {task.norm.symbol}",
        caption=(
            f"At \u03b5 = {number(end)}: {'; '.join(parts)}. Scores near 0 are doubtful, and a "
            "threshold on the score can refuse them; a confident wrong decision cannot be told "
            "from a right one."
        ),
        alt=f"Distributions of the scores of wrong decisions at epsilon {number(end)}: "
        f"{'; '.join(parts)}.",
    )  # fmt: skip
    table = Table(
        title=f"Scores of wrong decisions at \u03b5 = {number(end)}, {task.norm.symbol}",
        columns=(
            Column(key="model", title="Classifier"),
            Column(key="wrong", title="Wrong", kind="integer"),
            Column(key="below", title=f"as {data.classes[0]}", kind="integer"),
            Column(key="median_below", title="Median score", kind="number"),
            Column(key="above", title=f"as {data.classes[1]}", kind="integer"),
            Column(key="median_above", title="Median score", kind="number"),
        ),
        rows=tuple(cells),
        caption=f"n = {y.size:,} test inputs.",
        appendix=True,
    )
    return figure, table


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if values.size else None
