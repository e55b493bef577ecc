"""What a metric returns: plain frozen values that a record can hold and a page can show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
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

    @classmethod
    def of(cls, value: float, interval: Interval, *, n: int, **rest: Any) -> Scalar:
        """Return a scalar with the given interval."""
        return cls(
            value=value, n=n, low=interval.low, high=interval.high, method=interval.method, **rest
        )

    def problem(self) -> str:
        """Return what forbids this scalar in a record, or an empty string."""
        for word, number in (("value", self.value), ("low", self.low), ("high", self.high)):
            if number is not None and not math.isfinite(number):
                return f"{word} is {number}, which no record can hold; refuse it with a reason"
        if isinstance(self.n, bool) or not isinstance(self.n, int | np.integer) or self.n < 0:
            return f"n is {self.n!r}; a scalar needs the number of examples behind it"
        if self.value is None and not self.reason:
            return "value is None without a reason"
        if (self.low is None) != (self.high is None):
            return "the interval has one end only"
        if self.value is not None and self.low is None and not self.reason:
            return "it has neither an interval nor a reason for having none"
        if self.low is not None and self.high is not None:
            if self.low > self.high:
                return f"the interval is reversed ({self.low} > {self.high})"
            if not self.method:
                return "the interval has no method"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: its key, heading, unit and how its numbers are shown.

    ``kind``: ``text``, ``integer``, ``number`` (4 significant digits), ``share`` (percent),
    ``interval`` (cells are ``[value, low, high]``), or ``share_interval``.
    """

    key: str
    title: str
    unit: str = ""
    kind: Literal["text", "integer", "number", "share", "interval", "share_interval"] = "text"


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
        return cls(spec=spec, title=title, caption=caption, alt=alt)


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
    """One sanity check of the measurement itself; a failed one makes a pass inconclusive."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that one metric has to say about one model.

    ``answer`` is the metric's question answered in one sentence, made from the numbers.
    ``arrays`` are per-example values; ``artifacts`` are files or folders to keep.
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
    for problem in _problems(result):
        raise MetricError(problem)
    return result


def _problems(result: Result) -> list[str]:
    found: list[str] = []
    if not result.answer.strip():
        found.append("the result has no answer sentence")
    for name, scalar in result.scalars.items():
        if not SCALAR_NAME.match(name):
            found.append(f"scalar name {name!r} is not of the form base or base[facet, facet]")
        if problem := scalar.problem():
            found.append(f"scalar {name}: {problem}")
    for group in (result.tables, result.figures, result.images, result.arrays, result.artifacts):
        found += [f"{key!r} is not an id (lower case, digits, _ . -)" for key in group
                  if not IDENTIFIER.match(key)]
    for key, table in result.tables.items():
        found += _table_problems(key, table)
    for key, figure in result.figures.items():
        if not figure.alt.strip() or not figure.caption.strip():
            found.append(f"figure {key}: caption and alt text must not be empty")
        found += [f"figure {key}: {p}" for p in _spec_problems(figure.spec)]
    for key, grid in result.images.items():
        if grid.images.dtype != np.uint8 or grid.images.ndim not in (4, 5):
            found.append(f"images {key}: need uint8 (rows, columns, h, w[, 3])")
        if not grid.alt.strip() or not grid.caption.strip():
            found.append(f"images {key}: caption and alt text must not be empty")
    known = {*result.scalars, *result.tables, *result.figures, *result.images}
    for finding in result.findings:
        missing = [e for e in finding.evidence if e not in known]
        if missing or not finding.evidence:
            found.append(f"finding {finding.claim!r}: evidence {missing or 'missing'} is not in the result")
    return found


def _table_problems(key: str, table: Table) -> list[str]:
    found = []
    for i, row in enumerate(table.rows):
        if len(row) != len(table.columns):
            found.append(f"table {key}: row {i} has {len(row)} cells, not {len(table.columns)}")
        for cell in row:
            cells = cell if isinstance(cell, list | tuple) else (cell,)
            for part in cells:
                if isinstance(part, float | np.floating) and not math.isfinite(part):
                    found.append(f"table {key}: row {i} holds {part}, which no record can hold")
                elif not isinstance(part, Plain | np.integer | np.floating | np.bool_):
                    found.append(f"table {key}: row {i} holds a {type(part).__name__}")
    return found


def _spec_problems(spec: object, at: str = "spec") -> list[str]:
    """Find values that no record holds (NaN) and references that would reach outside."""
    if isinstance(spec, Mapping):
        found = []
        for key, value in spec.items():
            if key in ("url", "href") and not (isinstance(value, str) and value.startswith("data:")) \
                    and not isinstance(value, Mapping):
                found.append(f"{at}.{key} refers to {value!r}; only data: URLs are allowed")
            found += _spec_problems(value, f"{at}.{key}")
        return found
    if isinstance(spec, list | tuple):
        return [p for i, v in enumerate(spec) for p in _spec_problems(v, f"{at}[{i}]")]
    if isinstance(spec, float) and not math.isfinite(spec):
        return [f"{at} is {spec}, which no record can hold"]
    if spec is not None and not isinstance(spec, str | int | float | bool):
        return [f"{at} is a {type(spec).__name__}, not plain JSON"]
    return []
