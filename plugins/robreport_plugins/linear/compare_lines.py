"""Curves of several results, drawn together where they are of the same inputs, and listed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robreport import Column, Computed, Figure, Outcome, Result, Scalar, Table
from robreport_plugins.linear.curve_chart import Line, accuracy_curve
from robreport_plugins.linear.scalars import cell
from robreport_plugins.linear.words import listed, percent

TRAINED = "linear.robust_hinge"
_MOST_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """A line with what it may stand beside: the same kind of attack, unit and inputs."""

    kind: str
    unit: str
    inputs: str
    line: Line
    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Robust:
    """One robust accuracy: of which model, against what, on which inputs."""

    model: str
    declared: bool
    norm: str
    eps: str
    inputs: str
    entry: str
    scalar: Scalar

    @property
    def place(self) -> tuple[str, str, str]:
        """What must agree for two of them to be compared."""
        return self.norm, self.eps, self.inputs


def compare_lines(computed: Sequence[Computed], others: Sequence[Outcome]) -> Result:
    """Return one chart for each norm, kind of attack and set of inputs, and a table of all."""
    groups: dict[tuple[str, str, str], list[_Curve]] = {}
    for outcome in computed:
        for curve in _curves(outcome):
            groups.setdefault((curve.kind, curve.unit, curve.inputs), []).append(curve)
    # What one entry trained stands in its own section already.
    telling = [g for g in groups.values() if any(c.declared for c in g) and len(g) > 1]
    figures = {f"curve.{i + 1}": _figure(g) for i, g in enumerate(telling or groups.values())}
    found = [one for outcome in computed for one in _robust(outcome)]
    return Result(answer=_answer(found), tables={"models": _table(found, others)}, figures=figures)


def _who(outcome: Outcome) -> str:
    return outcome.about.model or outcome.about.name


def _inputs(outcome: Computed) -> str:
    index = outcome.result.arrays.get("index")
    if index is None:
        return outcome.about.name
    return hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()


def _curves(outcome: Computed) -> list[_Curve]:
    """Read the lines from the tables that the charts of the result are drawn from."""
    trained = outcome.about.metric == TRAINED
    sizes = [s.n for name, s in outcome.result.scalars.items() if name.startswith("test_accuracy")]
    n = sizes[0] if sizes else 1
    found = []
    for key, table in outcome.result.tables.items():
        if not key.startswith(("curve.", "curve_other.")):
            continue
        grid = np.array([row[0] for row in table.rows], dtype=np.float64)
        for place, column in enumerate(table.columns[1:], start=1):
            shares = np.array([row[place] for row in table.rows], dtype=np.float64)
            line = Line(
                label=column.title if trained else _who(outcome), grid=grid,
                right=np.rint(shares * n).astype(np.int64), other=None, n=n,
            )  # fmt: skip
            found.append(
                _Curve(
                    kind=table.title, unit=table.caption.partition(";")[0].partition(" in ")[2],
                    inputs=_inputs(outcome), line=line, declared=not trained,
                )
            )  # fmt: skip
    return found


def _figure(group: Sequence[_Curve]) -> Figure:
    # The chart has room for eight lines; declared models are what it is about.
    chosen = sorted(group, key=lambda c: not c.declared)[:_MOST_LINES]
    symbol, _, how = group[0].kind.partition(", ")[2].partition(", ")
    lines = _distinct([curve.line for curve in chosen])
    made = accuracy_curve(
        lines, symbol=symbol, unit=group[0].unit, clip=how != "not clipped", thresholds=(),
        title=f"Exact accuracy of linear models, {symbol}, {how}",
    )  # fmt: skip
    rest = f" {len(lines)} of {len(group)} are drawn." if len(group) > len(lines) else ""
    return replace(made, caption=made.caption + rest)


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Give lines of one label numbers: a chart tells them apart by it."""
    seen: dict[str, int] = {}
    found = []
    for line in lines:
        count = seen[line.label] = seen.get(line.label, 0) + 1
        found.append(line if count == 1 else replace(line, label=f"{line.label} ({count})"))
    return found


def _robust(outcome: Computed) -> list[_Robust]:
    """Read the robust accuracies from the names of the scalars."""
    trained = outcome.about.metric == TRAINED
    found = []
    for name, scalar in outcome.result.scalars.items():
        base, _, rest = name.rstrip("]").partition("[")
        if base != "robust_accuracy":
            continue
        parts = [part.strip() for part in rest.split(",")]
        model = _who(outcome)
        if trained:
            word = "regular" if _value(parts[1]) == 0 else f"robust \u03b5 = {parts[1]}"
            model = f"{word} (optimum)" if parts[3:] else word
        found.append(
            _Robust(
                model=model, declared=not trained, norm=parts[0], eps=parts[2 if trained else 1],
                inputs=_inputs(outcome), entry=outcome.about.name, scalar=scalar,
            )
        )  # fmt: skip
    return found


def _table(found: Sequence[_Robust], others: Sequence[Outcome]) -> Table:
    order = sorted(found, key=lambda r: (r.norm, _value(r.eps), not r.declared))
    rows: list[tuple[Any, ...]] = [
        (r.model, "declared" if r.declared else "trained here", r.norm, r.eps, cell(r.scalar),
         r.scalar.n, r.entry)
        for r in order
    ]  # fmt: skip
    for o in others:
        reason = getattr(o, "reason", "") or getattr(o, "error", "") or "no result"
        origin = "trained here" if o.about.metric == TRAINED else "declared"
        rows.append((_who(o), origin, "", "", None, None, reason))
    return Table(
        title="Every linear model at every \u03b5",
        columns=(
            Column(key="model", title="Model"),
            Column(key="what", title="Origin"),
            Column(key="norm", title="Threat"),
            Column(key="eps", title="\u03b5"),
            Column(key="robust", title="Exact robust accuracy", kind="share_interval"),
            Column(key="n", title="n", kind="integer"),
            Column(key="state", title="Entry"),
        ),
        rows=tuple(rows),
        caption="Intervals: 95 % Clopper-Pearson. Models without a result: the last column "
        "says why.",
    )


def _value(eps: str) -> float:
    above, _, below = eps.partition("/")
    return float(above) / float(below or 1)


def _answer(found: Sequence[_Robust]) -> str:
    """Compare declared with trained models at the smallest radius that both were attacked at."""
    declared = [r for r in found if r.declared]
    trained = [r for r in found if not r.declared]
    both = {r.place for r in declared} & {r.place for r in trained}
    if not both:
        count = len({(r.entry, r.model) for r in found})
        return (
            f"{count} linear models were measured, no declared one beside a trained one on the "
            "same inputs and at the same \u03b5."
        )
    norm, eps, inputs = min(both, key=lambda place: (place[0], _value(place[1]), place[2]))
    own = [r for r in declared if r.place == (norm, eps, inputs)]
    best = max(
        (r for r in trained if r.place == (norm, eps, inputs)),
        key=lambda r: r.scalar.value or 0.0,
    )
    words = listed([f"{r.model} keeps {percent(r.scalar.value)}" for r in own])
    return (
        f"Under every perturbation of \u03b5 = {eps} (threat {norm}), {words} of n = "
        f"{best.scalar.n:,} inputs right, and the best of those trained here, {best.model}, "
        f"{percent(best.scalar.value)} (the best on these very inputs, so a little flattered)."
    )
