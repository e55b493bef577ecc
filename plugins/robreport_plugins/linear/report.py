"""``linear.robust_hinge``, put together: numbers, tables, figures, pictures, findings, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Bundle, Context, Figure, ImageGrid, Result, SkipMetric, Table
from robreport_plugins.linear import charts, tables
from robreport_plugins.linear.curve_chart import Line, accuracy_curve
from robreport_plugins.linear.dataset import Dataset, make_dataset
from robreport_plugins.linear.export import exported
from robreport_plugins.linear.findings import answer, caveats, checks, findings
from robreport_plugins.linear.fitted import Campaign, Fitted, run
from robreport_plugins.linear.params import HingeParams
from robreport_plugins.linear.pictures import is_image, weight_pictures, wrong_pictures
from robreport_plugins.linear.scalars import scalars
from robreport_plugins.linear.tasks import Task
from robreport_plugins.linear.weight_bars import largest_features, panels, weight_bars
from robreport_plugins.linear.wrong import find_wrong, wrong_table


def measure(bundle: Bundle, params: HingeParams, ctx: Context) -> Result:
    """Return everything that the trained classifiers have to say."""
    # The published experiment keeps the pixels of the border, which stay as they started.
    data = make_dataset(bundle, params, constant=params.preset == "blog")
    if params.weight is not None and params.weight >= data.d:
        raise SkipMetric(
            f"params.weight is {params.weight}, and the inputs have {data.d:,} features (from 0)"
        )
    campaign = run(data, params, ctx)
    values = scalars(campaign, data)
    shown = _Shown(campaign, data, params)
    found = tables.tables_of(campaign, data, values)
    for task in campaign.tasks:
        shown.add(task)
    return Result(
        answer=answer(campaign, data),
        scalars=values,
        tables={**found, **shown.tables},
        figures=shown.figures,
        images=shown.images,
        findings=findings(campaign),
        caveats=caveats(campaign, data),
        checks=checks(campaign, data, params, ctx),
        arrays=_arrays(campaign, data),
        artifacts=exported(campaign, data, params, ctx),
    )


class _Shown:
    """Figures, pictures, and the tables of what they show."""

    def __init__(self, campaign: Campaign, data: Dataset, params: HingeParams) -> None:
        self.campaign, self.data, self.params = campaign, data, params
        self.figures: dict[str, Figure] = {}
        self.images: dict[str, ImageGrid] = {}
        self.tables: dict[str, Table] = {}

    def add(self, task: Task) -> None:
        """Add what is shown of one norm."""
        data, clip = self.data, self.campaign.clip
        # What descent does is shown of SGD; the rest of those that the sentences speak of. An
        # optimum of separable classes, of any size, would set the scale of losses and scores.
        first, spoken = self.campaign.of(task), self.campaign.spoken(task)
        members = [f for f in self.campaign.fitted if f.task is task]
        self.figures[f"curve.{task.key}"] = accuracy_curve(
            [line_of(f, clip) for f in members], symbol=task.norm.symbol, unit=data.scale.unit,
            clip=clip, thresholds=self.params.thresholds,
            title=f"Exact accuracy against \u03b5, {task.norm.symbol}",
        )  # fmt: skip
        self.tables[f"curve.{task.key}"] = tables.curve(
            members, task, clipped=clip, unit=data.scale.unit
        )
        if data.bounds is not None:
            self.tables[f"curve_other.{task.key}"] = tables.curve(
                members, task, clipped=not clip, unit=data.scale.unit
            )
        self._keep("hinge", task, charts.hinge_picture(spoken, data, task))
        if (curves := charts.training_curves(first, task)) is not None:
            self.figures[f"training.{task.key}"] = curves
        if (losses := tables.training(first, task)) is not None:
            self.tables[f"training.{task.key}"] = losses
        self._keep(
            "landscape", task,
            charts.loss_landscape(first, data, task, self.params.weight),
        )  # fmt: skip
        bounds = data.bounds if clip else None
        self._keep("logits", task, charts.wrong_logits(first, data, task, bounds))
        self._weights(spoken, task)
        self._wrong(spoken, task)

    def _keep(self, name: str, task: Task, made: tuple[Figure, Table] | None) -> None:
        if made is not None:
            self.figures[f"{name}.{task.key}"], self.tables[f"{name}.{task.key}"] = made

    def _weights(self, members: tuple[Fitted, ...], task: Task) -> None:
        if is_image(self.data.schema):
            self.images[f"weights.{task.key}"] = weight_pictures(members, self.data, task)
            return
        self.figures[f"weights.{task.key}"] = weight_bars(members, self.data, task)
        self.tables[f"weights.{task.key}"] = tables.weights(
            panels(members), largest_features(members), self.data.columns.names, task
        )

    def _wrong(self, members: tuple[Fitted, ...], task: Task) -> None:
        """Show the regular classifier's misclassified inputs and the most robust one's."""
        if not self.params.shown:
            return
        bounds = self.data.bounds if self.campaign.clip else None
        for f in members if len(members) < 2 else (members[0], members[-1]):
            wrong = find_wrong(f, self.data, most=self.params.shown, bounds=bounds)
            if is_image(self.data.schema):
                grid = wrong_pictures(f, wrong, self.data, task)
                if grid is not None:
                    self.images[f"wrong.{f.key}"] = grid
            elif (table := wrong_table(f, wrong, self.data, task)) is not None:
                self.tables[f"wrong.{f.key}"] = table


def line_of(f: Fitted, clip: bool) -> Line:
    """Return a classifier's line in the chart of accuracies."""
    right, other = f.attacked.curves(clip)
    return Line(label=f.label, grid=f.attacked.grid, right=right, other=other, n=f.attacked.n)


def _arrays(campaign: Campaign, data: Dataset) -> dict[str, npt.NDArray[Any]]:
    """Return per-example values: rows, classes, and each classifier's margins and flip radii."""
    found: dict[str, npt.NDArray[Any]] = {
        "index": data.test.index, "label": np.array(data.class_ids)[data.test.y],
    }  # fmt: skip
    for f in campaign.fitted:
        found[f"margin.{f.key}"] = f.attacked.margin
        found[f"flip_radius.{f.key}"] = f.attacked.radius
        found[f"curve.{f.key}"] = f.attacked.curves(campaign.clip)[0]
    for task in campaign.tasks:
        found[f"eps.{task.key}"] = task.grid
    for f in campaign.repeats:
        found[f"curve.{f.key}.seed-{f.classifier.seed}"] = f.attacked.free
        found[f"margin.{f.key}.seed-{f.classifier.seed}"] = f.attacked.margin
    return found
