"""The same chart of several models as one figure: panels side by side on the same axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robreport.report.chart_theme import COLUMN_WIDTH
from robreport.result import Figure

MOST_PANELS = 9
"""Charts of more models stand by themselves."""
_PER_ROW = 3
_AXIS, _GAP = 58, 14
"""Pixels of the axis at the left, and between panels."""
_HEIGHTS = {1: 1.0, 2: 0.85, 3: 0.68}
_ONCE = ("$schema", "config", "datasets", "usermeta", "background", "padding", "autosize")
_NAMED = frozenset({"params", "name"})


def one_figure(figures: Sequence[tuple[str, Figure]]) -> Figure | None:
    """Return one figure with a panel for each (model, figure); None where they do not go together.

    They do when they have the same title and look, one column, and nothing with a name, which
    would stand twice in one chart. Scales are shared, so that panels may be compared.
    """
    shown = [figure for _, figure in figures]
    if not 2 <= len(shown) <= MOST_PANELS or len({figure.title for figure in shown}) > 1:
        return None
    specs = [dict(figure.spec) for figure in shown]
    if any(_stands_alone(spec) for spec in specs):
        return None
    once = [{key: spec.pop(key) for key in _ONCE if key in spec} for spec in specs]
    datasets: dict[str, Any] = {}
    for one in once:
        for name, rows in dict(one.pop("datasets", {})).items():
            if datasets.setdefault(name, rows) != rows:
                return None
    if any(one != once[0] for one in once[1:]):
        return None
    per_row = 2 if len(shown) in (2, 4) else _PER_ROW
    panels = [
        {
            **_without_axis_words(
                _fitted(spec, per_row), y=i % per_row > 0, x=not _names_x(i, len(specs), per_row)
            ),
            "title": {"text": model},
        }
        for i, ((model, _), spec) in enumerate(zip(figures, specs, strict=True))
    ]
    spec = {
        **{key: value for key, value in once[0].items() if key != "autosize"},
        **({"datasets": datasets} if datasets else {}),
        "concat": panels,
        "columns": per_row,
        **_placed(nested=any("vconcat" in panel for panel in panels)),
        "resolve": {"scale": {"x": "shared", "y": "shared"}},
    }
    return Figure(
        spec=spec,
        title=shown[0].title,
        caption=_together([(model, figure.caption) for model, figure in figures]),
        alt=" ".join(f"{model}: {figure.alt}" for model, figure in figures),
    )


def _stands_alone(spec: Mapping[str, Any]) -> bool:
    """Say whether a chart has a title or columns of its own, or names that must be unique."""
    columns = ("title", "hconcat", "concat", "facet", "repeat")
    return any(key in spec for key in columns) or _has_names(spec)


def _has_names(node: object) -> bool:
    if isinstance(node, Mapping):
        return not _NAMED.isdisjoint(node) or any(
            _has_names(value) for key, value in node.items() if key not in ("data", "datasets")
        )
    return isinstance(node, list | tuple) and any(_has_names(value) for value in node)


def _fitted(spec: Mapping[str, Any], per_row: int) -> dict[str, Any]:
    """Return a view made to stand beside others; its sizes were meant for the whole column."""
    room = (COLUMN_WIDTH - _AXIS - (per_row - 1) * _GAP) // per_row
    sized = _scaled(spec, room, _HEIGHTS[per_row])
    if "vconcat" not in sized:
        sized.setdefault("width", room)
        sized.setdefault("height", round(230 * _HEIGHTS[per_row]))
    return sized


def _scaled(spec: Mapping[str, Any], width: int, share: float) -> dict[str, Any]:
    sized = dict(spec)
    if isinstance(sized.get("width"), int | float):
        sized["width"] = min(sized["width"], width)
    if isinstance(sized.get("height"), int | float):
        sized["height"] = round(sized["height"] * share)
    for key in ("vconcat", "layer"):
        if isinstance(sized.get(key), list | tuple):
            sized[key] = [_scaled(view, width, share) for view in sized[key]]
    return sized


def _placed(*, nested: bool) -> dict[str, Any]:
    """Put plots in line, whatever stands around them; views of several have no such line."""
    if nested:
        return {"spacing": {"row": 18, "column": _GAP}}
    return {"bounds": "flush", "spacing": {"row": 68, "column": _GAP}}


def _names_x(i: int, count: int, per_row: int) -> bool:
    """Say whether the panel is the one of its row that names the axis all share."""
    in_row = min(per_row, count - i + i % per_row)
    return i % per_row == (in_row - 1) // 2


def _without_axis_words(view: Mapping[str, Any], *, x: bool, y: bool) -> dict[str, Any]:
    """Leave out what the neighbours say already: the y axis's labels, and both titles."""
    worded = dict(view)
    for key in ("vconcat", "layer"):
        if isinstance(worded.get(key), list | tuple):
            worded[key] = [_without_axis_words(part, x=x, y=y) for part in worded[key]]
    encoding = worded.get("encoding")
    if isinstance(encoding, Mapping):
        told = dict(encoding)
        for channel, silent in (("x", x), ("y", y)):
            given = told.get(channel)
            if not silent or not isinstance(given, Mapping) or given.get("axis", {}) is None:
                continue
            axis = {**given.get("axis", {}), "title": None}
            if channel == "y":
                axis["labels"] = False
            told[channel] = {**given, "axis": axis}
        worded["encoding"] = told
    return worded


def _together(captions: Sequence[tuple[str, str]]) -> str:
    """Return what all captions say once, and what only some say with their models' names."""
    texts = list(dict.fromkeys(text for _, text in captions))
    if len(texts) == 1:
        return texts[0]
    return " ".join(
        f"{', '.join(model for model, own in captions if own == text)}: {text}" for text in texts
    )
