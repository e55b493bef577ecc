"""Robust accuracies of several models, drawn together and tested on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import Column, Figure, Norm, Result, Scalar, Table, stats
from robreport_plugins.attacks.figures import lines as draw
from robreport_plugins.attacks.figures import row as datum
from robreport_plugins.attacks.rules import COUNTED
from robreport_plugins.attacks.wording import percent

Cell = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model under one threat, as its own result tells it.

    ``robust`` and ``clean`` are ``[value, low, high]``; ``broken_eps`` is the smallest radius
    that broke each input, ``index`` the input's row in the source.
    """

    entry: str
    model: str
    threat: str
    symbol: str
    eps: tuple[str, ...]
    values: tuple[float, ...]
    clean: Cell
    robust: tuple[Cell, ...]
    n: int
    index: npt.NDArray[Any] | None
    broken_eps: npt.NDArray[Any] | None


def compare_lines(lines: Sequence[Line], missing: Sequence[tuple[str, str]]) -> Result:
    """Return chart and tables of the lines, grouped by entry and threat."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.entry, line.threat), []).append(line)
    figures = {f"compare.{i + 1}": _figure(group) for i, group in enumerate(groups.values())}
    tables = {"models": _models(groups, missing)}
    if (pairs := _pairs(groups)) is not None:
        tables["pairs"] = pairs
    return Result(answer=_answer(list(groups.values())), tables=tables, figures=figures)


def _figure(group: Sequence[Line]) -> Figure:
    rows = []
    for line in group:
        rows.append(datum(0.0, line.model, _scalar(line.clean, line.n)))
        for value, cell in sorted(zip(line.values, line.robust, strict=True)):
            if value > 0:
                rows.append(datum(value, line.model, _scalar(cell, line.n)))
    first = group[0]
    # a norm in units of its own names them
    unit = COUNTED if first.symbol == Norm.L0.symbol else "input units"
    axis = first.symbol if "(" in first.symbol else f"{first.symbol}, {unit}"
    words = "; ".join(
        f"{line.model} from {percent(line.clean[0])} to {percent(line.robust[-1][0])}"
        for line in group
    )
    return Figure.from_chart(
        draw(rows, [line.model for line in group], axis, "model"),
        title=f"Robust accuracy of {len(group)} models, {first.symbol} (threat {first.threat})",
        caption=(
            "Accuracy that the attacks leave each model, an upper bound of its robust accuracy, "
            "with 95 % Clopper-Pearson bands; \u03b5 = 0 is the clean accuracy. "
            f"n = {_counts(group)} test inputs."
        ),
        alt=f"Line chart of accuracy against epsilon in {first.symbol}: {words}.",
    )


def _models(groups: dict[tuple[str, str], list[Line]], missing: Sequence[tuple[str, str]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for group in groups.values():
        for place in range(max(len(line.eps) for line in group)):
            for line in group:
                if place < len(line.eps):
                    rows.append(
                        (line.model, line.symbol, line.eps[place], list(line.clean),
                         list(line.robust[place]), line.n, "measured")
                    )  # fmt: skip
    rows += [(model, "", "", None, None, None, reason) for model, reason in missing]
    return Table(
        title="Every model under the same attacks",
        columns=(
            Column(key="model", title="model"),
            Column(key="norm", title="norm"),
            Column(key="eps", title="\u03b5"),
            Column(key="clean", title="clean accuracy", kind="share_interval"),
            Column(key="robust", title="robust accuracy", kind="share_interval"),
            Column(key="n", title="n", kind="integer"),
            Column(key="state", title="state"),
        ),
        rows=tuple(rows),
        caption="Robust accuracy is the worst case over the attacks, input by input: an upper "
        "bound. Intervals: 95 % Clopper-Pearson.",
    )


def _pairs(groups: dict[tuple[str, str], list[Line]]) -> Table | None:
    """Compare every two models where their inputs are the same ones."""
    tests: list[tuple[tuple[Any, ...], stats.PairedTest]] = []
    for group in groups.values():
        for a, b in combinations(group, 2):
            if a.broken_eps is None or b.broken_eps is None or a.index is None or b.index is None:
                continue
            if not np.array_equal(a.index, b.index):
                continue
            for text, value in zip(a.eps, a.values, strict=True):
                if text in b.eps:
                    found = stats.mcnemar(_robust(a, value), _robust(b, value))
                    tests.append(((a.model, b.model, a.symbol, text), found))
    if not tests:
        return None
    adjusted = stats.holm([test.p_value for _, test in tests])
    rows = tuple(
        (
            *names,
            [test.difference, test.interval.low, test.interval.high],
            test.first_only,
            test.second_only,
            test.n,
            float(p),
        )
        for (names, test), p in zip(tests, adjusted, strict=True)
    )
    return Table(
        title="Every two models on the same inputs",
        columns=(
            Column(key="first", title="first"),
            Column(key="second", title="second"),
            Column(key="norm", title="norm"),
            Column(key="eps", title="\u03b5"),
            Column(key="difference", title="first minus second", kind="share_interval"),
            Column(key="first_only", title="first alone robust", kind="integer"),
            Column(key="second_only", title="second alone robust", kind="integer"),
            Column(key="n", title="n", kind="integer"),
            Column(key="p", title="p, adjusted", kind="number"),
        ),
        rows=rows,
        caption="Robust accuracy of the first model minus the second's. p: McNemar's exact test, "
        f"adjusted by Holm over {len(rows)} comparisons.",
    )


def _robust(line: Line, eps: float) -> npt.NDArray[np.bool_]:
    broken = np.asarray(line.broken_eps)
    return np.asarray((broken > eps) & (broken > 0))


def _answer(groups: Sequence[Sequence[Line]]) -> str:
    """Name the best and the worst model at the largest radius of the first group with two."""
    group = next((g for g in groups if len(g) > 1), groups[0])
    last = sorted(((_largest(line), line.model) for line in group), key=lambda pair: -pair[0][1][0])
    (text, top), best = last[0]
    where = f"{group[0].symbol} \u03b5 = {text}"
    if len(last) == 1:
        return f"Only {best} was measured; it keeps at most {percent(top[0])} at {where}."
    (_, bottom), worst = last[-1]
    if top[0] == bottom[0]:
        return f"At {where} the attacks leave all {len(last)} models at most {percent(top[0])}."
    return (
        f"At {where} the attacks leave {best} the most accuracy, at most {percent(top[0])}, "
        f"and {worst} the least, at most {percent(bottom[0])}."
    )


def _largest(line: Line) -> tuple[str, Cell]:
    place = max(range(len(line.values)), key=lambda i: line.values[i])
    return line.eps[place], line.robust[place]


def _scalar(cell: Cell, n: int) -> Scalar:
    return Scalar(value=cell[0], low=cell[1], high=cell[2], n=n, method="95 % Clopper-Pearson")


def _counts(group: Sequence[Line]) -> str:
    counts = sorted({line.n for line in group})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}\u2013{counts[-1]}"
