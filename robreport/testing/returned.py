"""What a metric returned: can it be recorded, read back, drawn and understood."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from robreport.codec import from_json, result_from_json, result_to_json, to_json
from robreport.errors import MetricError, RecordError
from robreport.report import chart_theme
from robreport.report.theme import Theme
from robreport.result import Figure, ImageGrid, Result, Table, facets
from robreport.soundness import result_problems
from robreport.testing.watch import array_state

Array = npt.NDArray[Any]

MAX_SPEC_BYTES = 300_000
MAX_SVG_BYTES = 1_000_000
MAX_IMAGE_BYTES = 4_000_000
CAVEAT_CODE = re.compile(r"[a-z][a-z0-9]*([.-][a-z0-9]+)*\Z")


def returned_problems(result: Any, scalar_help: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a result, one sentence each; charts are drawn."""
    if not isinstance(result, Result):
        return [f"compute returned {type(result).__name__}, not a Result"]
    try:
        found = result_problems(result)
    except Exception as error:  # noqa: BLE001 - a plugin's own objects may break on inspection
        return [f"the result cannot be inspected ({type(error).__name__}: {error})"]
    if found:
        return found
    found = _answer(result.answer) + scalar_problems(result, scalar_help)
    for key, table in result.tables.items():
        found += [f"table {key}: {problem}" for problem in _table(table)]
    for key, figure in result.figures.items():
        found += [f"figure {key}: {problem}" for problem in figure_problems(figure)]
    for key, grid in result.images.items():
        found += [f"images {key}: {problem}" for problem in _grid(grid)]
    found += _words(result)
    for key, path in result.artifacts.items():
        if not Path(path).exists():
            found.append(f"artifact {key}: {path} does not exist")
    return found or round_trip_problems(result)


def scalar_problems(result: Result, scalar_help: Mapping[str, str]) -> list[str]:
    """Return the scalars that no pattern of `scalar_help` describes: base and facets must fit."""
    forms = {(base, len(parts)) for base, parts in map(facets, scalar_help)}
    found = []
    for name in result.scalars:
        base, parts = facets(name)
        if (base, len(parts)) not in forms:
            found.append(f"scalar {name} is not described in scalar_help")
    return found


def figure_problems(figure: Figure) -> list[str]:
    """Return what keeps a chart from being shown: too large, does not draw, or draws nothing."""
    found = [] if figure.title.strip() else ["the title is empty"]
    text = json.dumps(dict(figure.spec))
    if len(text) > MAX_SPEC_BYTES:
        found.append(
            f"its specification has {len(text):,} bytes, over the {MAX_SPEC_BYTES:,} allowed; "
            "draw an aggregate"
        )
        return found
    return [*found, *_drawing_problems(text)]


@lru_cache(maxsize=256)
def _drawing_problems(spec: str) -> tuple[str, ...]:
    """Draw a chart in the default look; kept, since repeated computations give the same charts."""
    import vl_convert

    try:
        drawn = chart_theme.prepare(json.loads(spec), Theme(name="default"))
        svg = vl_convert.vegalite_to_svg(drawn, allowed_base_urls=[])
    except Exception as error:  # noqa: BLE001 - whatever vl-convert says is the chart's fault
        return (f"it does not draw ({str(error).strip().splitlines()[0]})",)
    found = []
    if len(svg) > MAX_SVG_BYTES:
        found.append(f"its drawing has {len(svg):,} bytes, over the {MAX_SVG_BYTES:,} allowed")
    if not _marks(svg):
        found.append("it draws no mark: is its data empty, or a field's name misspelt?")
    return tuple(found)


def _marks(svg: str) -> int:
    """Count what the data drew: shapes with a path, and texts, inside Vega's mark groups."""
    count = 0
    for group in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        role = group.get("class", "").split()
        if "role-mark" not in role or "mark-group" in role:
            continue
        for shape in group:
            hollow = shape.tag.endswith("}path") and shape.get("d", "") in ("", "M0,0h0v0h0Z")
            count += not hollow
    return count


def round_trip_problems(result: Result) -> list[str]:
    """Return what keeps a result from being written as a record and read back the same."""
    try:
        tree, arrays = result_to_json(result)
        written = from_json(to_json(tree), "the result")
        again = result_from_json(written, arrays, "the result", _folder(result))
        repeated, kept = result_to_json(again)
    except (MetricError, RecordError, ValueError, TypeError) as error:
        return [f"the result cannot be recorded as JSON ({error})"]
    if repeated != tree:
        return ["the result read back from JSON differs from the one that was written"]
    if {k: array_state(v) for k, v in kept.items()} != {
        k: array_state(v) for k, v in arrays.items()
    }:
        return ["the arrays read back differ from those that were written"]
    return []


def flattened(result: Result) -> dict[str, str]:
    """Return every value of a result by its path, for two results to be compared bit by bit.

    What may differ from run to run, the seconds spent, is left out.
    """
    tree, arrays = result_to_json(result)
    del tree["spent"]
    found = dict(_leaves(tree, ""))
    for key, array in arrays.items():
        found[f"arrays.{key}"] = array_state(array)
    for name, path in result.artifacts.items():
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            place = file.relative_to(path).as_posix() if file != path else file.name
            content = np.frombuffer(file.read_bytes(), dtype=np.uint8)
            found[f"artifacts.{name}/{place}"] = array_state(content)
    return found


def _leaves(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{at}.{key}" if at else str(key))
        # the order of a mapping is the order on the page
        yield f"the order of {at or 'the result'}", repr(list(value))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{at}[{i}]")
    else:
        yield at, repr(value)


def _folder(result: Result) -> Path:
    return next((path.parent for path in result.artifacts.values()), Path())


def _answer(answer: str) -> list[str]:
    if "\n" in answer or not answer.rstrip().endswith("."):
        return [f"the answer {answer!r} is not one sentence that ends with a full stop"]
    return []


def _table(table: Table) -> list[str]:
    found = [] if table.title.strip() else ["the title is empty"]
    keys = [column.key for column in table.columns]
    if len(set(keys)) < len(keys):
        found.append("two columns have the same key")
    if any(not column.title.strip() for column in table.columns):
        found.append("a column has no title")
    return found


def _grid(grid: ImageGrid) -> list[str]:
    found = [] if grid.title.strip() else ["the title is empty"]
    if grid.images.nbytes > MAX_IMAGE_BYTES:
        found.append(f"{grid.images.nbytes:,} bytes of pictures are over {MAX_IMAGE_BYTES:,}")
    return found


def _words(result: Result) -> list[str]:
    found = []
    for finding in result.findings:
        if not finding.claim.strip() or not finding.recommendation.strip():
            found.append(f"finding {finding.claim!r}: claim and recommendation must not be empty")
    for caveat in result.caveats:
        if not CAVEAT_CODE.match(caveat.code):
            found.append(f"caveat {caveat.code!r} is not a code such as 'few-examples'")
        if not caveat.detail.strip():
            found.append(f"caveat {caveat.code}: the detail is empty")
    for check in result.checks:
        if not check.name.strip() or not check.detail.strip():
            found.append(f"check {check.name!r}: name and detail must not be empty")
        if type(check.passed).__name__ not in ("bool", "bool_"):
            found.append(f"check {check.name!r}: passed is {check.passed!r}, not true or false")
    return found
