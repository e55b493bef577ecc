"""Test inputs that a classifier gets wrong, as they are and perturbed, nearest the boundary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robreport import Column, Table
from robreport_plugins.linear.attacked import Bounds, decided, perturbed
from robreport_plugins.linear.dataset import Dataset
from robreport_plugins.linear.fitted import Fitted
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.words import number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEATURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """Positions in the test set, with what the classifier says of them.

    Attributes
    ----------
    clean, turned : array of int
        Wrong as they are; right as they are, and wrong within `eps`.
    moved : array (len(turned), d)
        The turned inputs, perturbed.
    clean_as, turned_as : array of int
        Decisions, as positions among the classes.
    clean_score, turned_score : array
        Scores; of more than two classes, leads of the right class.
    n_clean, n_turned : int
        How many there are in all.
    """

    eps: float
    clean: Ints
    clean_as: Ints
    clean_score: Floats
    turned: Ints
    moved: Floats
    turned_as: Ints
    turned_score: Floats
    n_clean: int
    n_turned: int


def find_wrong(f: Fitted, data: Dataset, *, most: int, bounds: Bounds | None) -> Wrong:
    """Return up to `most` inputs of each kind, those nearest the decision boundary first."""
    eps = f.task.attacked[0].value if f.task.attacked else float(f.task.grid[-1])
    models, margin, test = f.classifier.models, f.attacked.margin, data.test
    right = margin > 0
    lost = right & ~f.attacked.right[:, 0] if f.task.attacked else right & (f.attacked.radius < eps)
    clean = np.flatnonzero(~right)
    turned = np.flatnonzero(lost)
    clean = clean[np.argsort(-margin[clean], kind="stable")][:most]
    nearest = turned[np.argsort(f.attacked.radius[turned], kind="stable")][:most]
    moved = perturbed(models, test.x[nearest], test.y[nearest], eps, f.task.norm, bounds)

    def score(x: Floats, y: Ints) -> Floats:
        from robreport_plugins.linear.attacked import lead

        return models[0].decision(x) if len(models) == 1 else lead(models, x, y)

    return Wrong(
        eps=eps, clean=clean, clean_as=decided(models, test.x[clean]),
        clean_score=score(test.x[clean], test.y[clean]), turned=nearest, moved=moved,
        turned_as=decided(models, moved), turned_score=score(moved, test.y[nearest]),
        n_clean=int((~right).sum()), n_turned=int(turned.size),
    )  # fmt: skip


def wrong_table(f: Fitted, wrong: Wrong, data: Dataset, task: Task) -> Table | None:
    """Return the inputs as rows with the features that were moved most; None for none."""
    test, names, scale = data.test, data.columns.names, data.scale
    rows = []
    for i, as_, score in zip(wrong.clean, wrong.clean_as, wrong.clean_score, strict=True):
        rows.append((
            int(test.index[i]), data.classes[int(test.y[i])], data.classes[int(as_)],
            "as it is", 0.0, round(float(score), 4), "",
        ))  # fmt: skip
    for place, i in enumerate(wrong.turned.tolist()):
        before, after = scale.back(test.x[i]), scale.back(wrong.moved[place])
        weight = np.abs((wrong.moved[place] - test.x[i]) * f.classifier.models[0].w)
        top = [j for j in np.argsort(-weight, kind="stable")[:_FEATURES] if weight[j] > 0]
        rows.append((
            int(test.index[i]), data.classes[int(test.y[i])],
            data.classes[int(wrong.turned_as[place])], f"\u03b5 = {number(wrong.eps)}",
            float(f.attacked.radius[i]), round(float(wrong.turned_score[place]), 4),
            "; ".join(f"{names[j]}: {number(before[j])} \u2192 {number(after[j])}" for j in top),
        ))  # fmt: skip
    if not rows:
        return None
    return Table(
        title=f"Nearest misclassified inputs, {f.label}, {task.norm.symbol}",
        columns=(
            Column(key="row", title="Row", kind="integer"),
            Column(key="label", title="Class"),
            Column(key="decision", title="Decision"),
            Column(key="how", title="Perturbed by"),
            Column(key="distance", title="Distance", kind="number"),
            Column(key="score", title="Score" if data.binary else "Lead", kind="number"),
            Column(key="changes", title="What moves it most"),
        ),
        rows=tuple(rows),
        caption=(
            f"{wrong.n_clean:,} of {test.n:,} test inputs are wrong as they are, "
            f"{wrong.n_turned:,} more can be turned by \u03b5 = {number(wrong.eps)}; those nearest "
            "the decision boundary are listed. Row: in the source."
        ),
    )
