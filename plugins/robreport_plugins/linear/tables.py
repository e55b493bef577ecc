"""Tables of the trained classifiers: accuracies, sizes, and what the charts are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Column, Scalar, Table
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Campaign, Choice, Fitted
from robreport_plugins.linear.linear_model import dual_length
from robreport_plugins.linear.scalars import by_name, cell, robust_key
from robreport_plugins.linear.tasks import Task

_WIDE = 4
_CURVE_ROWS = 21
_EPOCH_ROWS = 12

Values = Mapping[str, Scalar]


def _norm_column(campaign: Campaign) -> tuple[Column, ...]:
    return (Column(key="norm", title="Norm"),) if len(campaign.tasks) > 1 else ()


def _who(campaign: Campaign, fitted: Fitted) -> tuple[str, ...]:
    norm = (fitted.task.norm.symbol,) if len(campaign.tasks) > 1 else ()
    return (fitted.label, *norm)


def accuracy(campaign: Campaign, data: Dataset, values: Values) -> Table:
    """Return training and test accuracy of every classifier, without an attack."""
    rows = tuple(
        (
            *_who(campaign, f), by_name(values, f, "train_accuracy").value,
            cell(by_name(values, f, "test_accuracy")),
            data.test.n - int((f.attacked.margin > 0).sum()), data.test.n,
        )
        for f in campaign.fitted
    )  # fmt: skip
    return Table(
        title="Accuracy without an attack",
        columns=(
            Column(key="model", title="Classifier"), *_norm_column(campaign),
            Column(key="train", title="Training set", kind="share"),
            Column(key="test", title="Test set", kind="share_interval"),
            Column(key="wrong", title="Wrong", kind="integer"),
            Column(key="n", title="of", kind="integer"),
        ),
        rows=rows,
        caption=f"{data.train.n:,} training examples. Intervals: 95 % Clopper-Pearson.",
    )  # fmt: skip


def robust(campaign: Campaign, task: Task, values: Values, unit: str) -> Table:
    """Return robust accuracies in one norm: a column for each radius, or rows for many."""
    members = [f for f in campaign.fitted if f.task is task]
    eps = task.attacked
    where = "within the data's bounds" if campaign.clip else "not clipped"
    caption = (
        f"Share of the test set that no perturbation of that size in {task.norm.symbol} "
        f"misclassifies, {where}; exact. \u03b5 in {unit}. Intervals: 95 % Clopper-Pearson."
    )
    title = f"Robust accuracy, {task.norm.symbol}"
    if len(eps) <= _WIDE:
        return Table(
            title=title,
            columns=(
                Column(key="model", title="Classifier"),
                *(
                    Column(key=f"e{i}", title=f"\u03b5 = {e}", kind="share_interval")
                    for i, e in enumerate(eps)
                ),
            ),
            rows=tuple(
                (f.label, *(cell(by_name(values, f, "robust_accuracy", e.text)) for e in eps))
                for f in members
            ),
            caption=caption,
        )
    return Table(
        title=title,
        columns=(
            Column(key="model", title="Classifier"),
            Column(key="eps", title="\u03b5"),
            Column(key="robust", title="Robust accuracy", kind="share_interval"),
        ),
        rows=tuple(
            (f.label, e.text, cell(by_name(values, f, "robust_accuracy", e.text)))
            for f in members for e in eps
        ),
        caption=caption,
    )  # fmt: skip


def models(campaign: Campaign, values: Values, unit: str) -> Table:
    """Return what the classifiers are like: weights, distances, losses, gaps."""
    gaps = any(f.classifier.gap is not None for f in campaign.fitted)
    rows = []
    for f in campaign.fitted:
        lengths = [dual_length(m.w, f.task.norm) for m in f.classifier.models]
        rows.append((
            *_who(campaign, f), float(np.mean(lengths)),
            by_name(values, f, "zero_weights").value,
            cell(by_name(values, f, "median_flip_radius")),
            cell(by_name(values, f, "robust_hinge")),
            *((by_name(values, f, "duality_gap").value if f.classifier.gap is not None else None,)
              if gaps else ()),
        ))  # fmt: skip
    several = len(campaign.fitted[0].classifier.models) > 1
    over = " (mean over the classes' models)" if several else ""
    return Table(
        title="The classifiers",
        columns=(
            Column(key="model", title="Classifier"), *_norm_column(campaign),
            Column(key="norm_w", title="\u2016w\u2016, dual norm", kind="number"),
            Column(key="zero", title="Wiped out", kind="share"),
            Column(key="radius", title="Median flip radius", kind="interval"),
            Column(key="hinge", title="Robust hinge, test", kind="interval"),
            *((Column(key="gap", title="Duality gap", kind="number"),) if gaps else ()),
        ),
        rows=tuple(rows),
        caption=(
            f"Dual norm{over}: what a perturbation of size 1 can take from the margin. Flip "
            f"radius: distance to the decision boundary in {unit}, 0 where misclassified. Robust "
            "hinge: at the \u03b5 that the classifier was trained against. Wiped out: weights that "
            "move the score by less than 0.001 while their feature goes from one end to the other "
            "(of the bounds, else of the training set); the hinge asks for a score of 1."
            + (" Gap: how far the training loss is above a proven lower bound, relative; at "
               "\u03b5 = 0 the bound is for weights of bounded size." if gaps else "")
        ),
    )  # fmt: skip


def curve(members: Sequence[Fitted], task: Task, *, clipped: bool, unit: str) -> Table:
    """Return the classifiers' curves of accuracy against the radius."""
    counts = [f.attacked.curves(clipped)[0] for f in members]
    labels, sizes = [f.label for f in members], [f.attacked.n for f in members]
    return curve_table(labels, counts, sizes, task, clipped=clipped, unit=unit)


def curve_table(
    labels: Sequence[str], counts: Sequence[npt.NDArray[np.int64]], sizes: Sequence[int],
    task: Task, *, clipped: bool, unit: str,
) -> Table:  # fmt: skip
    """Return curves of accuracy against the radius, at up to 21 radii."""
    grid = task.grid
    places = np.unique(np.round(np.linspace(0, grid.size - 1, min(_CURVE_ROWS, grid.size))))
    how = "within the data's bounds" if clipped else "not clipped"
    return Table(
        title=f"Accuracy against \u03b5, {task.norm.symbol}, {how}",
        columns=(
            Column(key="eps", title="\u03b5", kind="number"),
            *(Column(key=f"m{i}", title=label, kind="share") for i, label in enumerate(labels)),
        ),
        rows=tuple(
            (
                float(grid[p]),
                *(float(c[p]) / n for c, n in zip(counts, sizes, strict=True)),
            )
            for p in places.astype(int).tolist()
        ),
        caption=f"\u03b5 in {unit}; the figure is drawn at {grid.size} radii.",
        appendix=True,
    )


def training(members: Sequence[Fitted], task: Task) -> Table | None:
    """Return the loss before and after the epochs of SGD; None where nothing was trained so."""
    shown = [f for f in members if f.classifier.robust_loss is not None]
    if not shown:
        return None
    length = max(
        len(f.classifier.robust_loss) for f in shown if f.classifier.robust_loss is not None
    )
    places = np.unique(np.round(np.linspace(0, length - 1, min(_EPOCH_ROWS, length)))).astype(int)
    rows = tuple(
        (
            int(p),
            *(
                float(f.classifier.robust_loss[p]) if f.classifier.robust_loss is not None else None
                for f in shown
            ),
        )
        for p in places.tolist()
    )
    return Table(
        title=f"Training loss by epoch, {task.norm.symbol}",
        columns=(
            Column(key="epoch", title="Epoch", kind="integer"),
            *(Column(key=f"m{i}", title=f.label, kind="number") for i, f in enumerate(shown)),
        ),
        rows=rows,
        caption="Mean robust hinge of the training set at the classifier's own \u03b5.",
        appendix=True,
    )


def weights(
    members: Sequence[Fitted], features: Sequence[int], names: Sequence[str], task: Task
) -> Table:
    """Return the weights that the figure shows."""
    return Table(
        title=f"Largest weights, {task.norm.symbol}",
        columns=(
            Column(key="feature", title="Feature"),
            *(Column(key=f"m{i}", title=f.label, kind="number") for i, f in enumerate(members)),
        ),
        rows=tuple(
            (names[j], *(float(f.classifier.models[0].w[j]) for f in members)) for j in features
        ),
        caption="The features with the largest weight in any classifier, the largest first.",
        appendix=True,
    )


def seeds(campaign: Campaign, trained: int, several: bool) -> Table | None:
    """Return accuracies from every starting point; None where there is one."""
    if not campaign.repeats:
        return None
    rows: list[tuple[Any, ...]] = []
    for first in campaign.fitted:
        if first.classifier.solver != "sgd":
            continue
        same = [first] + [
            f for f in campaign.repeats
            if f.task is first.task and f.classifier.eps == first.classifier.eps
        ]  # fmt: skip
        curves = np.stack([f.attacked.free / f.attacked.n for f in same])
        n = first.attacked.n
        right = [int((f.attacked.margin > 0).sum()) for f in same]
        rows.append((
            *((first.label, first.task.norm.symbol) if several else (first.label,)),
            len(same), *_ends([f.train_right / trained for f in same]),
            *_ends([k / n for k in right]), *_ends([f.wiped for f in same]),
            float(np.ptp(curves, axis=0).max()),
        ))  # fmt: skip
    return Table(
        title="Spread over starting points",
        columns=(
            Column(key="model", title="Classifier"), *_norm_column(campaign),
            Column(key="seeds", title="Starting points", kind="integer"),
            Column(key="train_low", title="Training accuracy from", kind="share"),
            Column(key="train_high", title="to", kind="share"),
            Column(key="low", title="Test accuracy from", kind="share"),
            Column(key="high", title="to", kind="share"),
            Column(key="zero_low", title="Wiped out from", kind="share"),
            Column(key="zero_high", title="to", kind="share"),
            Column(key="curve", title="Largest spread of the curve", kind="share"),
        ),
        rows=tuple(rows),
        caption="SGD from other starting points, in other orders where it shuffles; everything "
        "else in this section is of the first.",
    )  # fmt: skip


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def choice(choices: Mapping[str, Choice]) -> Table:
    """Return the held-out robust accuracy of each candidate."""
    from robreport import stats

    rows = []
    for name, one in choices.items():
        for place, (eps, right) in enumerate(zip(one.eps, one.right, strict=True)):
            interval = stats.clopper_pearson(right, one.n)
            rows.append((
                name, eps.text, [right / one.n, interval.low, interval.high],
                "chosen" if place == one.best else "",
            ))  # fmt: skip
    first = next(iter(choices.values()))
    return Table(
        title="Choice of the training \u03b5 by validation",
        columns=(
            Column(key="threat", title="Threat"),
            Column(key="eps", title="Trained against \u03b5"),
            Column(key="robust", title="Held-out robust accuracy", kind="share_interval"),
            Column(key="chosen", title="Choice"),
        ),
        rows=tuple(rows),
        caption=(
            f"{first.n:,} training examples were held out and attacked at \u03b5 = "
            f"{first.target}. "
            "The smallest \u03b5 of the highest accuracy is chosen; the classifiers of this "
            "section were then trained on the whole training set."
        ),
    )


def tables_of(campaign: Campaign, data: Dataset, values: Values) -> dict[str, Table]:
    """Return the tables that show scalars."""
    unit = data.scale.unit
    found = {"accuracy": accuracy(campaign, data, values)}
    for task in campaign.tasks:
        if task.attacked:
            key = robust_key(next(f for f in campaign.fitted if f.task is task))
            found[key] = robust(campaign, task, values, unit)
    found["models"] = models(campaign, values, unit)
    if (spread := seeds(campaign, data.train.n, len(campaign.tasks) > 1)) is not None:
        found["seeds"] = spread
    if campaign.choices:
        found["choice"] = choice(campaign.choices)
    return found
