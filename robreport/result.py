"""What a metric returns: plain frozen values that a record can hold and a page can show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from robreport.errors import MetricError

Array = npt.NDArray[Any]
Better = Literal["higher", "lower"]
Bound = Literal["exact", "upper", "lower", "estimate"]
Severity = Literal["high", "medium", "low"]
Plain = str | int | float | bool | None

SCALAR_NAME = re.compile(r"[a-z][a-z0-9_]*(\[[^\[\]]+\])?\Z")
IDENTIFIER = re.compile(r"[a-z][a-z0-9_.-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval and how it was made ("95 % Wilson", "95 % bootstrap, 2,000 draws")."""

    low: float
    high: float
    method: str
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One number with what it takes to believe it.

    Attributes
    ----------
    value : float or None
        The point value; None when it was refused, then `reason` says why.
    low, high : float or None
        The interval; both None when there is none, then `reason` says why.
    n : int
        How many independent examples stand behind it.
    unit : str
        ``share`` (0–1, shown in percent), ``""`` (a plain number), ``nats``, ``s``, …
    better : "higher", "lower" or None
        Which direction is good; None when neither is.
    bound : "exact", "upper", "lower" or "estimate"
        What the value is of the quantity it stands for. Robust accuracy under attack is an
        "upper" bound: only a certificate proves.
    method : str
        How the interval was made.
    reason : str
        Why `value` or the interval is missing.
    censored : ">" or "<" or ""
        The true value lies beyond `value` in that direction ("> 0.3": no attack succeeded).
    label : str
        What a page calls it; made from the name when empty.
    table : str
        The key of the result's table that shows it; the page then does not list it again.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    unit: str = ""
    better: Better | None = None
    bound: Bound = "exact"
    method: str = ""
    reason: str = ""
    censored: Literal["", ">", "<"] = ""
    label: str = ""
    table: str = ""

    @classmethod
    def of(cls, value: float, interval: Interval, *, n: int, **rest: Any) -> Scalar:
        """Return a scalar with the given interval."""
        return cls(
            value=value, n=n, low=interval.low, high=interval.high, method=interval.method, **rest
        )

    def problem(self) -> str:
        """Return what forbids this scalar in a record, or an empty string."""
        from robreport.soundness import scalar_problem

        return scalar_problem(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: its key, heading, unit and how its numbers are shown.

    ``kind``: ``text``, ``integer``, ``number`` (4 significant digits), ``share`` (percent),
    ``interval`` (cells are ``[value, low, high]``), ``share_interval``, or ``spent`` (cells name
    parts of `Result.spent`, and the document shows their seconds).
    """

    key: str
    title: str
    unit: str = ""
    kind: Literal["text", "integer", "number", "share", "interval", "share_interval", "spent"] = (
        "text"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under titled columns; a row holds one plain cell (or ``[v, low, high]``) a column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""
    appendix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A Vega-Lite specification with a caption and a text alternative.

    Build it with `from_chart`; a specification that reaches outside (a URL other than
    ``data:``) is refused.
    """

    spec: Mapping[str, Any]
    title: str
    caption: str
    alt: str

    @classmethod
    def from_chart(cls, chart: Any, *, title: str, caption: str, alt: str) -> Figure:
        """Return the figure of an Altair chart.

        Raises
        ------
        MetricError
            The chart is not finished, refers to a URL, or lacks caption or alt text.
        """
        try:
            spec = chart.to_dict(format="vega-lite")
        except Exception as error:  # Altair raises many kinds; all mean "this chart is wrong"
            raise MetricError(f"figure {title!r} is not a valid chart: {error}") from error
        figure = cls(spec=spec, title=title, caption=caption, alt=alt)
        from robreport.soundness import figure_problems

        for problem in figure_problems(title, figure):
            raise MetricError(problem)
        return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGrid:
    """Pictures in rows and columns with labels.

    Attributes
    ----------
    images : array (rows, columns, h, w) or (rows, columns, h, w, 3)
        uint8; grey or RGB.
    row_labels, column_labels : tuple of str
    cell_labels : tuple of tuples of str
        One short line under each picture; may be empty.
    """

    title: str
    images: Array
    caption: str
    alt: str
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    cell_labels: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A claim about the model, with the ids of the scalars, tables or figures that show it."""

    severity: Severity
    claim: str
    evidence: tuple[str, ...]
    recommendation: str
    affected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """A reason to trust the measurement less: a code of ``docs/caveats.md`` and what was seen."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One sanity check of the measurement itself; a failed one makes a pass inconclusive.

    One that does not apply, for want of what it looks at, has ``passed`` all the same. Without one
    that is ``vital`` the numbers say nothing either way: failed, it makes a fail inconclusive too.
    """

    name: str
    passed: bool
    detail: str
    applies: bool = True
    vital: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that one metric has to say about one model.

    ``answer`` is the metric's question answered in one sentence, made from the numbers.
    ``arrays`` are per-example values; ``artifacts`` are files or folders to keep. ``spent`` are
    seconds by the name of what they were spent on: volatile, so that the record keeps them apart
    and two results may differ in them.
    """

    answer: str
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    images: Mapping[str, ImageGrid] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    checks: tuple[Check, ...] = ()
    arrays: Mapping[str, Array] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)


def facets(name: str) -> tuple[str, tuple[str, ...]]:
    """Split ``robust_accuracy[linf, 8/255]`` into its base and its facets.

    Raises
    ------
    ValueError
        Not a scalar name.
    """
    if not SCALAR_NAME.match(name):
        raise ValueError(f"{name!r} is not a scalar name such as 'clean_accuracy' or 'a[b, c]'")
    base, _, rest = name.partition("[")
    return base, tuple(part.strip() for part in rest[:-1].split(",")) if rest else ()


def check_result(result: object) -> Result:
    """Return `result` when it can stand in a record.

    Raises
    ------
    MetricError
        It is no `Result`, or a part of it is wrong: a NaN, a scalar without n, an unnamed
        interval, a ragged table, a figure that reaches outside, a finding without evidence.
    """
    if not isinstance(result, Result):
        raise MetricError(f"compute returned {type(result).__name__}, not a Result")
    from robreport.soundness import result_problems

    for problem in result_problems(result):
        raise MetricError(problem)
    return result
