"""``linear.exact_attack``, put together: a declared linear model under the exact attack."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from robreport import (
    Bundle,
    Caveat,
    Check,
    Column,
    Context,
    Figure,
    Finding,
    Result,
    Scalar,
    SkipMetric,
    Table,
)
from robreport_plugins.linear.affine import Affine, read_affine
from robreport_plugins.linear.attacked import Attacked, Bounds
from robreport_plugins.linear.curve_chart import Line, accuracy_curve
from robreport_plugins.linear.dataset import (
    Columns,
    Examples,
    Scale,
    bounds_of,
    chosen_classes,
    examples_of,
    fitted_scale,
    usable_columns,
)
from robreport_plugins.linear.exact_attack import worst_inputs, worst_margins
from robreport_plugins.linear.linear_model import LinearModel, dual_length
from robreport_plugins.linear.params import AttackParams
from robreport_plugins.linear.scalars import cell, median, share
from robreport_plugins.linear.tables import curve_table
from robreport_plugins.linear.tasks import Task, tasks_of
from robreport_plugins.linear.words import number, percent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SMALL = 100
_CONFIRMED = 500
# Scores of a model as loaded are float32: closer to the boundary than this share, either may be.
_CLOSE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A linear model over the features that an attack may change, row by row.

    Attributes
    ----------
    weight : array (k, d)
        In the units of eps.
    scores : array (n, k)
        Of the test inputs as they are.
    test : Examples
        Only the features that may change, scaled; classes are the model's own.
    """

    weight: Floats
    scores: Floats
    test: Examples
    bounds: Bounds | None

    def pairs(self) -> list[tuple[int, int, Ints]]:
        """Return (own class, other class, rows of the own class)."""
        return [
            (own, other, np.flatnonzero(self.test.y == own))
            for own in np.unique(self.test.y).tolist()
            for other in range(len(self.weight)) if other != own
        ]  # fmt: skip

    def pair(self, own: int, other: int) -> LinearModel:
        """Return the difference of two scores over the features that may change."""
        return LinearModel(w=self.weight[own] - self.weight[other], b=0.0)

    def offset(self, own: int, other: int, rows: Ints) -> Floats:
        """Return the part of the lead that the attack cannot change."""
        lead: Floats = self.scores[rows, own] - self.scores[rows, other]
        return np.asarray(lead - self.test.x[rows] @ self.pair(own, other).w)


def measure(bundle: Bundle, params: AttackParams, ctx: Context) -> Result:
    """Return what the exact attack leaves of the bundle's model."""
    tasks = tasks_of(params, ctx.threats)
    total = len(tasks) + 2
    ctx.progress(0, total, "reading the model's weights")
    affine = read_affine(bundle, ctx.seed)
    ctx.progress(1, total, "weights read")
    target, columns, scale = _target(bundle, params, affine)
    if params.clip and target.bounds is None:
        raise SkipMetric("params.clip needs data.bounds, which the audit does not declare")
    clip = target.bounds is not None and (params.clip is None or params.clip)
    name = bundle.model.name or "the model"
    shown = _Shown(name, target, params, scale, clip)
    found: list[Attacked] = []
    checks = [_agrees(bundle, target)]
    for i, task in enumerate(tasks):
        attacked = attack(target, task, clip)
        found.append(attacked)
        shown.add(task, attacked)
        checks.append(_confirmed(bundle, target, task, columns, scale, clip))
        ctx.progress(i + 2, total, f"attacked in {task.norm.symbol}")
    ctx.progress(total, total, "attacked")
    first = found[0]
    caveats: tuple[Caveat, ...] = ()
    if first.n < _SMALL:
        caveats = (Caveat(code="small-sample", detail=f"{first.n} test examples."),)
    arrays = {"index": target.test.index, "label": target.test.y, "margin": first.margin}
    for task, attacked in zip(tasks, found, strict=True):
        arrays[f"flip_radius.{task.key}"] = attacked.radius
        arrays[f"eps.{task.key}"] = attacked.grid
        arrays[f"curve.{task.key}"] = attacked.curves(clip)[0]
    return Result(
        answer=_answer(tasks, found, name), scalars=shown.scalars, tables=shown.tables,
        figures=shown.figures, findings=_findings(tasks, found, len(affine.weight), name),
        caveats=caveats, checks=tuple(checks), arrays=arrays,
    )  # fmt: skip


def _target(bundle: Bundle, params: AttackParams, affine: Affine) -> tuple[Target, Columns, Scale]:
    schema = bundle.schema
    columns = usable_columns(schema)
    ids, _ = chosen_classes(bundle, params.classes)
    d = int(np.prod(schema.input_shape))
    whole = Columns(taking=np.arange(d), names=(), left_out=())
    test = examples_of(bundle.split("test"), "test", ids, whole)
    own = np.array(ids)[test.y]
    if own.max() >= len(affine.weight):
        raise SkipMetric(
            f"the test set has class {int(own.max())}, and the model {len(affine.weight)} scores"
        )
    scores = test.x @ affine.weight.T + affine.bias
    if params.standardise:
        if "train" not in bundle.splits:
            raise SkipMetric("standardise needs [data.train], which the audit does not declare")
        train = examples_of(bundle.split("train"), "train", ids, columns)
        scale = fitted_scale(train.x, True)
    else:
        scale = fitted_scale(test.x[:, columns.taking], False)
    x = np.ascontiguousarray(scale.forward(test.x[:, columns.taking]))
    made = Target(
        weight=affine.weight[:, columns.taking] * scale.factor, scores=scores,
        test=replace(test, x=x, y=own), bounds=bounds_of(schema, columns, scale),
    )  # fmt: skip
    return made, columns, scale


def attack(target: Target, task: Task, clip: bool) -> Attacked:
    """Return the exact attack of the test inputs, rival by rival."""
    n = target.test.n
    eps = np.array([e.value for e in task.attacked])
    radii = np.concatenate([task.grid, eps])
    margin = np.full(n, np.inf)
    radius = np.full(n, np.inf)
    free = np.full((n, radii.size), np.inf)
    clipped = np.full((n, radii.size), np.inf) if target.bounds is not None else None
    for own, other, rows in target.pairs():
        pair, offset = target.pair(own, other), target.offset(own, other, rows)
        x, ones = target.test.x[rows], np.ones(rows.size)
        lead = pair.decision(x) + offset
        length = dual_length(pair.w, task.norm)
        margin[rows] = np.minimum(margin[rows], lead)
        far = np.maximum(lead, 0.0) / length if length else np.where(lead > 0, np.inf, 0.0)
        radius[rows] = np.minimum(radius[rows], far)
        free[rows] = np.minimum(free[rows], lead[:, None] - radii * length)
        if clipped is not None:
            worst = worst_margins(pair, x, ones, radii, task.norm, target.bounds)
            clipped[rows] = np.minimum(clipped[rows], worst + offset[:, None])
    g = task.grid.size
    chosen = clipped if clip and clipped is not None else free
    return Attacked(
        margin=margin, grid=task.grid, free=(free[:, :g] > 0).sum(axis=0),
        clipped=None if clipped is None else (clipped[:, :g] > 0).sum(axis=0),
        right=chosen[:, g:] > 0, radius=radius,
    )  # fmt: skip


class _Shown:
    """Scalars, tables and charts of the model, norm by norm."""

    def __init__(
        self, name: str, target: Target, params: AttackParams, scale: Scale, clip: bool
    ) -> None:
        self.name, self.target, self.params, self.scale, self.clip = (
            name, target, params, scale, clip,
        )  # fmt: skip
        self.scalars: dict[str, Scalar] = {}
        self.tables: dict[str, Table] = {}
        self.figures: dict[str, Figure] = {}

    def add(self, task: Task, found: Attacked) -> None:
        n, symbol = found.n, task.norm.symbol
        if not self.scalars:
            self.scalars["test_accuracy"] = share(
                int((found.margin > 0).sum()), n, label="Accuracy without an attack", table=""
            )
        for place, eps in enumerate(task.attacked):
            self.scalars[f"robust_accuracy[{task.name}, {eps}]"] = share(
                int(found.right[:, place].sum()), n, table=f"robust.{task.key}",
                label=f"Robust accuracy, {symbol} \u03b5 = {eps}",
            )  # fmt: skip
        self.scalars[f"median_flip_radius[{task.name}]"] = median(
            found.radius, f"Median flip radius, {symbol}", ""
        )
        how = "within the data's bounds" if self.clip else "not clipped"
        unit = self.scale.unit
        if task.attacked:
            self.tables[f"robust.{task.key}"] = Table(
                title=f"Exact robust accuracy, {symbol}",
                columns=(
                    Column(key="eps", title="\u03b5"),
                    Column(key="robust", title="Robust accuracy", kind="share_interval"),
                    Column(key="right", title="Stay right", kind="integer"),
                    Column(key="n", title="of", kind="integer"),
                ),
                rows=tuple(
                    (
                        e.text,
                        cell(self.scalars[f"robust_accuracy[{task.name}, {e}]"]),
                        int(found.right[:, i].sum()),
                        n,
                    )
                    for i, e in enumerate(task.attacked)
                ),
                caption=(
                    f"Whatever the perturbation, {how}; \u03b5 in {unit}. Intervals: 95 % "
                    "Clopper-Pearson."
                ),
            )
        right, other = found.curves(self.clip)
        self.figures[f"curve.{task.key}"] = accuracy_curve(
            [Line(label=self.name, grid=found.grid, right=right, other=other, n=n)],
            symbol=symbol, unit=unit, clip=self.clip, thresholds=self.params.thresholds,
            title=f"Exact accuracy against \u03b5, {symbol}",
        )  # fmt: skip
        for key, counts, clipped in (
            ("curve", right, self.clip),
            ("curve_other", other, not self.clip),
        ):
            if counts is not None:
                self.tables[f"{key}.{task.key}"] = curve_table(
                    ["Accuracy"], [counts], [n], task, clipped=clipped, unit=unit
                )


def _agrees(bundle: Bundle, target: Target) -> Check:
    """Compare the decisions of the weights that were read with the model's own."""
    split = bundle.split("test")
    rows = target.test.rows
    own = np.asarray(bundle.model.predict(split.x if rows.size == len(split) else split.x[rows]))
    ordered = np.sort(target.scores, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > _CLOSE * (1.0 + np.abs(ordered[:, -1]))
    off = int((own != target.scores.argmax(axis=1))[clear].sum())
    return Check(
        name="the weights that were read decide as the model does",
        passed=off == 0,
        detail=f"{off:,} of {int(clear.sum()):,} decisions differ, near ties aside",
    )


def _confirmed(
    bundle: Bundle, target: Target, task: Task, columns: Columns, scale: Scale, clip: bool
) -> Check:
    """Give the worst inputs to the model as loaded: it must be wrong where that is predicted."""
    eps = task.attacked[0].value if task.attacked else float(task.grid[-1])
    split = bundle.split("test")
    bounds = target.bounds if clip else None
    chosen = np.arange(min(_CONFIRMED, target.test.n))
    least = np.full(target.test.n, np.inf)
    moved = np.array(target.test.x)
    for own, other, rows in target.pairs():
        rows = rows[rows < chosen.size]
        if not rows.size:
            continue
        pair, ones = target.pair(own, other), np.ones(rows.size)
        x = target.test.x[rows]
        margin = worst_margins(pair, x, ones, np.array([eps]), task.norm, bounds)[:, 0]
        margin = margin + target.offset(own, other, rows)
        better = margin < least[rows]
        if better.any():
            moved[rows[better]] = worst_inputs(
                pair, x[better], ones[better], eps, task.norm, bounds
            )
            least[rows[better]] = margin[better]
    whole = np.array(split.x[target.test.rows[chosen]], dtype=np.float64).reshape(chosen.size, -1)
    whole[:, columns.taking] = scale.back(moved[chosen])
    given = whole.reshape(-1, *split.x.shape[1:]).astype(split.x.dtype)
    decided = np.asarray(bundle.model.predict(given))
    size = 1.0 + np.abs(target.scores[chosen]).max(axis=1)
    clear = np.abs(least[chosen]) > _CLOSE * size
    off = int(((decided == target.test.y[chosen]) != (least[chosen] > 0))[clear].sum())
    return Check(
        name=f"the model agrees on its worst inputs, {task.norm.symbol}",
        passed=off == 0,
        detail=(
            f"at \u03b5 = {number(eps)}, {int(clear.sum()) - off:,} of {int(clear.sum()):,} worst "
            "inputs, given to the model as loaded, are decided as predicted (near ties aside)"
        ),
    )


def _answer(tasks: tuple[Task, ...], found: list[Attacked], name: str) -> str:
    parts = []
    for task, one in zip(tasks, found, strict=True):
        middle = float(np.sort(one.radius)[(one.n - 1) // 2])
        word = number(middle) if np.isfinite(middle) else "no distance"
        text = f"in {task.norm.symbol} half of the inputs flip within {word}"
        if task.attacked:
            kept = float(one.right[:, 0].mean())
            where = f"\u03b5 = {task.attacked[0]}"
            text += f", and exactly {percent(kept)} withstand every change of {where}"
        parts.append(text)
    clean = float((found[0].margin > 0).mean())
    return f"{name} gets {percent(clean)} of {found[0].n:,} inputs right; {'; '.join(parts)}."


def _findings(
    tasks: tuple[Task, ...], found: list[Attacked], classes: int, name: str
) -> tuple[Finding, ...]:
    """Say where the model does worse than guessing, else where it loses half of its accuracy."""
    made = []
    for task, one in zip(tasks, found, strict=True):
        clean = float((one.margin > 0).mean())
        kept = [float(one.right[:, i].mean()) for i in range(len(task.attacked))]
        chance = [i for i, k in enumerate(kept) if k < 1 / classes and clean >= 1 / classes]
        half = [i for i, k in enumerate(kept) if k < clean / 2]
        if not half and not chance:
            continue
        place = chance[0] if chance else half[0]
        words = (
            f"does worse than guessing among {classes} classes" if chance
            else "loses more than half of its accuracy"
        )  # fmt: skip
        eps = task.attacked[place]
        made.append(
            Finding(
                severity="high" if chance and place == 0 else "medium",
                claim=(
                    f"{name} {words} when inputs are moved by {task.norm.symbol} \u03b5 = {eps}: "
                    f"{percent(kept[place])} stay right, {percent(clean)} without an attack. This "
                    "is exact."
                ),
                evidence=(f"robust_accuracy[{task.name}, {eps}]", f"curve.{task.key}"),
                recommendation=(
                    "Train it with the robust hinge loss (linear.robust_hinge shows what that "
                    "costs on this data), or keep inputs from being changed by that much."
                ),
                affected=f"{task.norm.symbol} perturbations",
            )
        )
    return tuple(made)
