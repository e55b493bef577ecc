"""The look of charts: a Vega-Lite configuration, and sizes that fill the column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robreport.errors import RenderError
from robreport.report import fonts
from robreport.report.text import printable, printable_tree
from robreport.report.theme import Theme

COLUMN_WIDTH = 652
"""Width of the text column in CSS pixels: that of an A4 page between its margins."""

INK = "#1C2130"
MUTED = "#5A6478"
RULE = "#E4E7EE"
AXIS = "#B4BBC9"
CATEGORIES = (
    "#1F5FD0", "#D4541C", "#2C8A4B", "#7B4DBA", "#0F8A99", "#B07A12", "#BF3A7E", "#6B7385",
)  # fmt: skip
RAMP = ("#F3F6FD", "#CFDCF8", "#94B2EE", "#5685DE", "#2358BF", "#123375")
DIVERGING = ("#A63B12", "#E39A72", "#F6F3F0", "#86AAEB", "#1B4EB0")

_TEXT = {"labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11}

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "padding": 2,
    "view": {
        "stroke": "transparent",
        "continuousWidth": 520,
        "continuousHeight": 240,
        "step": 26,
    },
    "axis": {
        **_TEXT,
        "titleFontWeight": 500,
        "titlePadding": 8,
        "labelPadding": 5,
        "gridColor": RULE,
        "domainColor": AXIS,
        "tickColor": AXIS,
        "tickSize": 4,
        "labelLimit": 160,
        "labelOverlap": True,
    },
    "axisBand": {"grid": False},
    "legend": {
        **_TEXT,
        "titleFontWeight": 500,
        "orient": "top",
        "symbolType": "circle",
        "symbolStrokeWidth": 2,
        "labelLimit": 260,
        "columnPadding": 16,
        "offset": 8,
    },
    "header": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11,
               "labelFontWeight": 600, "titleFontWeight": 500},
    "title": {"color": INK, "subtitleColor": MUTED, "fontSize": 12, "fontWeight": 600,
              "subtitleFontSize": 11, "anchor": "start", "offset": 10},
    "text": {"color": INK, "fontSize": 11},
    "line": {"strokeWidth": 2},
    "rule": {"color": MUTED},
    "point": {"size": 36, "filled": True},
    "bar": {"color": CATEGORIES[0]},
    "rect": {"color": CATEGORIES[0]},
    "range": {
        "category": list(CATEGORIES),
        "ordinal": list(RAMP[1:]),
        "heatmap": list(RAMP),
        "ramp": list(RAMP),
        "diverging": list(DIVERGING),
    },
}  # fmt: skip

_VIEWS_OF_SEVERAL = ("facet", "concat", "hconcat", "vconcat", "repeat")
_DISCRETE = ("nominal", "ordinal")


def prepare(spec: Mapping[str, Any], theme: Theme) -> dict[str, Any]:
    """Return the specification to draw: the theme's look under its own, sized to the column.

    Raises
    ------
    RenderError
        It refers to something outside (a URL other than ``data:``).
    """
    for where in outside(spec):
        raise RenderError(f"the chart refers to something outside the record ({where})")
    drawn = {
        printable(str(key)): printable_tree(value)
        for key, value in spec.items()
        if key != "usermeta"  # it could change how the page embeds the chart
    }
    own = dict(drawn.get("config") or {})
    view = dict(own.get("view") or {})
    # the size that Altair writes into every chart is nobody's choice
    for key in ("continuousWidth", "continuousHeight"):
        if view.get(key) == 300:
            del view[key]
    own["view"] = view
    config = merged(merged(CONFIG, theme.chart_config), own)
    config["font"] = fonts.family(theme.font_folder)
    drawn["config"] = config
    return _sized(drawn)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `under` with the values of `over` put on top, mappings merged into each other."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def outside(node: object, at: str = "spec", depth: int = 0) -> list[str]:
    """Return the places of a specification that would fetch or link to something."""
    if depth > 100:
        return [f"{at}: nested too deeply"]
    found: list[str] = []
    if isinstance(node, Mapping):
        for key, value in node.items():
            here = f"{at}.{key}"
            if key in ("url", "href") and isinstance(value, str) and not _is_data(value):
                found.append(here)
            found += outside(value, here, depth + 1)
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            found += outside(value, f"{at}[{i}]", depth + 1)
    return found


def _is_data(value: str) -> bool:
    return value.lower().startswith("data:")


def _sized(spec: dict[str, Any]) -> dict[str, Any]:
    """Let a chart of one view fill the column, axes and legend included."""
    if any(key in spec for key in _VIEWS_OF_SEVERAL) or "autosize" in spec:
        return spec
    encodings = list(_encodings(spec))
    if any(key in e for e in encodings for key in ("row", "column", "facet")):
        return spec
    x_discrete = any(_is_discrete(e.get("x")) for e in encodings)
    y_discrete = any(_is_discrete(e.get("y")) for e in encodings)
    if not (x_discrete and y_discrete) and "width" not in spec:
        spec["width"] = COLUMN_WIDTH
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    if "height" not in spec and not y_discrete:
        spec["height"] = 230
    return spec


def _encodings(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = spec.get("encoding")
    found = [own] if isinstance(own, Mapping) else []
    layers = spec.get("layer")
    for layer in layers if isinstance(layers, list | tuple) else ():
        if isinstance(layer, Mapping):
            found += _encodings(layer)
    return found


def _is_discrete(channel: object) -> bool:
    return isinstance(channel, Mapping) and (
        channel.get("type") in _DISCRETE or bool(channel.get("bin"))
    )
