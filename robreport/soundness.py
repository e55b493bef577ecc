"""Find what forbids a result from standing in a record: wrong types, NaN, references outside.

Whatever a plugin returned comes here: no field is taken to have the type that it declares.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robreport.result import (
    IDENTIFIER,
    SCALAR_NAME,
    Caveat,
    Check,
    Column,
    Figure,
    Finding,
    ImageGrid,
    Plain,
    Scalar,
    Table,
    facets,
)

MAX_DEPTH = 64
_OUTSIDE = re.compile(r"\burl\(\s*['\"]?\s*(?!#|data:)", re.IGNORECASE)
_SCALAR_WORDS: Mapping[str, tuple[str | None, ...]] = {
    "better": ("higher", "lower", None),
    "bound": ("exact", "upper", "lower", "estimate"),
    "censored": ("", ">", "<"),
}
_COLUMN_KINDS = ("text", "integer", "number", "share", "interval", "share_interval", "spent")
_MAPPINGS: Mapping[str, type] = {
    "scalars": Scalar, "tables": Table, "figures": Figure, "images": ImageGrid,
    "arrays": np.ndarray, "artifacts": Path, "spent": object,
}  # fmt: skip
_SEQUENCES: Mapping[str, type] = {"findings": Finding, "caveats": Caveat, "checks": Check}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _not_texts(thing: object, *names: str) -> str:
    """Return which of the named attributes is no text, or an empty string."""
    for name in names:
        if not isinstance(getattr(thing, name), str):
            return f"{name} is a {type(getattr(thing, name)).__name__}, not a text"
    return ""


def _is_one_of(value: object, words: tuple[str | None, ...]) -> bool:
    # an array compared with a word gives an array
    return (value is None and None in words) or (isinstance(value, str) and value in words)


def _shape_problems(result: Any) -> list[str]:
    """Find fields of a wrong type: a dataclass takes whatever it is given."""
    if not isinstance(result.answer, str):
        return [f"answer is a {type(result.answer).__name__}, not a text"]
    found = []
    for name, kind in _MAPPINGS.items():
        group = getattr(result, name)
        if not isinstance(group, Mapping):
            found.append(f"{name} is a {type(group).__name__}, not a mapping")
            continue
        for key, value in group.items():
            if not isinstance(key, str):
                found.append(f"{name}: the name {key!r} is not a text")
            elif not isinstance(value, kind):
                found.append(f"{name} {key}: it is a {type(value).__name__}, not a {kind.__name__}")
    for name, kind in _SEQUENCES.items():
        items = getattr(result, name)
        if not isinstance(items, tuple | list):
            found.append(f"{name} is a {type(items).__name__}, not a tuple")
            continue
        found += [
            f"{name} holds a {type(item).__name__}, not a {kind.__name__}"
            for item in items
            if not isinstance(item, kind)
        ]
    return found


def scalar_problem(scalar: Any) -> str:
    """Return what forbids this scalar in a record, or an empty string."""
    for word, number in (("value", scalar.value), ("low", scalar.low), ("high", scalar.high)):
        if number is not None and not _is_number(number):
            return f"{word} is a {type(number).__name__}, not a number"
        if number is not None and not math.isfinite(number):
            return f"{word} is {number}, which no record can hold; refuse it with a reason"
    if not _is_number(scalar.n) or not isinstance(scalar.n, int | np.integer) or scalar.n < 0:
        return f"n is {scalar.n!r}; a scalar needs the number of examples behind it"
    if wrong := _not_texts(scalar, "unit", "method", "reason", "label", "table"):
        return wrong
    for word, words in _SCALAR_WORDS.items():
        if not _is_one_of(getattr(scalar, word), words):
            return f"{word} is {getattr(scalar, word)!r}, none of {words}"
    if scalar.value is None and not scalar.reason:
        return "value is None without a reason"
    if (scalar.low is None) != (scalar.high is None):
        return "the interval has one end only"
    if scalar.value is not None and scalar.low is None and not scalar.reason:
        return "it has neither an interval nor a reason for having none"
    if scalar.low is not None and scalar.high is not None:
        if scalar.low > scalar.high:
            return f"the interval is reversed ({scalar.low} > {scalar.high})"
        if not scalar.method:
            return "the interval has no method"
    return ""


def result_problems(result: Any) -> list[str]:
    """Return everything that forbids this result in a record."""
    found = _shape_problems(result)
    if found:
        return found
    if not result.answer.strip():
        found.append("the result has no answer sentence")
    for name, scalar in result.scalars.items():
        if not SCALAR_NAME.match(name):
            found.append(f"scalar name {name!r} is not of the form base or base[facet, facet]")
        elif not name.isprintable() or not all(facets(name)[1]):
            found.append(f"scalar name {name!r} has an empty or unprintable facet")
        if problem := scalar_problem(scalar):
            found.append(f"scalar {name}: {problem}")
        elif scalar.table and scalar.table not in result.tables:
            found.append(f"scalar {name} is shown by {scalar.table!r}, which is no table of it")
    for group in (result.tables, result.figures, result.images, result.arrays, result.artifacts):
        found += [
            f"{key!r} is not an id (lower case, digits, _ . -)"
            for key in group
            if not IDENTIFIER.match(key)
        ]
    for key, table in result.tables.items():
        found += _table_problems(key, table)
    for key, figure in result.figures.items():
        found += figure_problems(key, figure)
    for key, grid in result.images.items():
        found += [f"images {key}: {problem}" for problem in _grid_problems(grid)]
    names = [path.name for path in result.artifacts.values()]
    for name in names:
        # a record keeps artifacts under their own file names, side by side
        if name in ("", "..") or names.count(name) > 1:
            found.append(f"artifacts: two are called {name!r}, or it is no file name")
    for name, seconds in result.spent.items():
        if not _is_number(seconds) or not math.isfinite(seconds) or seconds < 0:
            found.append(f"spent {name}: {seconds!r} is no number of seconds")
    known = {*result.scalars, *result.tables, *result.figures, *result.images}
    for caveat in result.caveats:
        if wrong := _not_texts(caveat, "code", "detail"):
            found.append(f"a caveat's {wrong}")
    for check in result.checks:
        if wrong := _not_texts(check, "name", "detail"):
            found.append(f"a check's {wrong}")
        if not isinstance(check.passed, bool | np.bool_):
            found.append(f"check {check.name}: passed is {check.passed!r}, not true or false")
        if not isinstance(check.vital, bool | np.bool_):
            found.append(f"check {check.name}: vital is {check.vital!r}, not true or false")
        if not isinstance(check.applies, bool | np.bool_):
            found.append(f"check {check.name}: applies is {check.applies!r}, not true or false")
    for finding in result.findings:
        if not isinstance(finding.evidence, tuple | list):
            found.append(f"finding {finding.claim!r}: evidence is not a tuple")
            continue
        missing = [e for e in finding.evidence if not isinstance(e, str) or e not in known]
        if missing or not finding.evidence:
            found.append(
                f"finding {finding.claim!r}: evidence {missing or 'missing'} is not in the result"
            )
        if wrong := _not_texts(finding, "claim", "recommendation", "affected"):
            found.append(f"a finding's {wrong}")
        if not _is_one_of(finding.severity, ("high", "medium", "low")):
            found.append(f"finding {finding.claim!r}: severity is {finding.severity!r}")
    return found


def figure_problems(key: str, figure: Any) -> list[str]:
    """Return what forbids this figure: no text beside it, or a specification that reaches out."""
    if wrong := _not_texts(figure, "title", "caption", "alt"):
        return [f"figure {key}: {wrong}"]
    if not isinstance(figure.spec, Mapping):
        return [f"figure {key}: spec is a {type(figure.spec).__name__}, not a mapping"]
    found = []
    if not figure.alt.strip() or not figure.caption.strip():
        found.append(f"figure {key}: caption and alt text must not be empty")
    return found + [f"figure {key}: {problem}" for problem in _spec_problems(figure.spec)]


def _grid_problems(grid: Any) -> list[str]:
    if wrong := _not_texts(grid, "title", "caption", "alt"):
        return [wrong]
    found = []
    if not grid.alt.strip() or not grid.caption.strip():
        found.append("caption and alt text must not be empty")
    images = grid.images
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.size == 0:
        return [*found, "need uint8 pictures (rows, columns, h, w[, 3])"]
    if images.ndim != 4 and (images.ndim != 5 or images.shape[4] != 3):
        return [*found, f"need (rows, columns, h, w[, 3]), found the shape {images.shape}"]
    rows, columns = images.shape[:2]
    cells = grid.cell_labels
    if not isinstance(cells, tuple | list):
        return [*found, "labels must be tuples of texts"]
    for labels in (grid.row_labels, grid.column_labels, *cells):
        if not isinstance(labels, tuple | list) or not all(isinstance(one, str) for one in labels):
            return [*found, "labels must be tuples of texts"]
    if (
        (grid.row_labels and len(grid.row_labels) != rows)
        or (grid.column_labels and len(grid.column_labels) != columns)
        or (cells and (len(cells) != rows or any(len(row) != columns for row in cells)))
    ):
        found.append(f"labels do not fit {rows} rows and {columns} columns")
    return found


def _table_problems(key: str, table: Any) -> list[str]:
    if wrong := _not_texts(table, "title", "caption"):
        return [f"table {key}: {wrong}"]
    if not isinstance(table.columns, tuple | list) or not isinstance(table.rows, tuple | list):
        return [f"table {key}: columns and rows must be tuples"]
    found = [
        f"table {key}: a column is a {type(column).__name__}, not a Column"
        for column in table.columns
        if not isinstance(column, Column)
    ]
    if found:
        return found
    if not table.columns:
        found.append(f"table {key}: it has no columns")
    for column in table.columns:
        if wrong := _not_texts(column, "key", "title", "unit"):
            found.append(f"table {key}: a column's {wrong}")
        if not _is_one_of(column.kind, _COLUMN_KINDS):
            found.append(f"table {key}: column {column.key} has the unknown kind {column.kind!r}")
    if found:
        return found
    for i, row in enumerate(table.rows):
        if not isinstance(row, tuple | list):
            found.append(f"table {key}: row {i} is a {type(row).__name__}, not a tuple of cells")
            continue
        if len(row) != len(table.columns):
            found.append(f"table {key}: row {i} has {len(row)} cells, not {len(table.columns)}")
        for column, cell in zip(table.columns, row, strict=False):
            several = isinstance(cell, list | tuple)
            if several and (len(cell) != 3 or not column.kind.endswith("interval")):
                found.append(
                    f"table {key}: row {i} has a list of {len(cell)} in the {column.kind} column "
                    f"{column.key}; intervals alone are [value, low, high]"
                )
            cells = cell if several else (cell,)
            for part in cells:
                if isinstance(part, float | np.floating) and not math.isfinite(part):
                    found.append(f"table {key}: row {i} holds {part}, which no record can hold")
                elif not isinstance(part, Plain | np.integer | np.floating | np.bool_):
                    found.append(f"table {key}: row {i} holds a {type(part).__name__}")
    return found


def _spec_problems(spec: object, at: str = "spec", depth: int = 0, rows: bool = False) -> list[str]:
    """Find values that no record holds (NaN) and references that would reach outside."""
    if depth > MAX_DEPTH:
        return [f"{at} is nested more than {MAX_DEPTH} deep"]
    if isinstance(spec, Mapping):
        found = []
        for key, value in spec.items():
            if not isinstance(key, str):
                found.append(f"{at} has the key {key!r}, which is not a text")
                continue
            if key in ("url", "href") and not rows and not _is_data_url(value):
                found.append(f"{at}.{key} refers to {value!r}; only data: URLs are allowed")
            # rows may have a column of any name: what a channel reads from them is refused above
            inside = rows or key in ("values", "datasets")
            found += _spec_problems(value, f"{at}.{key}", depth + 1, inside)
        return found
    if isinstance(spec, list | tuple):
        return [
            p for i, v in enumerate(spec) for p in _spec_problems(v, f"{at}[{i}]", depth + 1, rows)
        ]
    if isinstance(spec, float) and not math.isfinite(spec):
        return [f"{at} is {spec}, which no record can hold"]
    if isinstance(spec, str) and _OUTSIDE.search(spec):
        return [f"{at} refers to {spec[:80]!r}; only data: URLs are allowed"]
    if spec is not None and not isinstance(spec, str | int | float | bool):
        return [f"{at} is a {type(spec).__name__}, not plain JSON"]
    return []


def _is_data_url(value: object) -> bool:
    """Whether a url or href is a data: URL, written out or as a channel's constant.

    A channel that reads a field could be given any address by a row or an expression.
    """
    if isinstance(value, Mapping) and set(value) == {"value"}:
        value = value["value"]
    return isinstance(value, str) and value.lower().startswith("data:")
