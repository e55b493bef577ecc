"""Drawings made fit to stand in a page: only shapes and text, ids of their own, one font."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from robreport.errors import RenderError
from robreport.report.text import printable

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_ELEMENTS = frozenset(
    {
        "svg",
        "g",
        "path",
        "line",
        "rect",
        "circle",
        "ellipse",
        "polygon",
        "polyline",
        "text",
        "tspan",
        "defs",
        "clipPath",
        "mask",
        "pattern",
        "linearGradient",
        "radialGradient",
        "stop",
        "image",
        "use",
        "symbol",
    }
)
_ATTRIBUTES = frozenset({
    "id", "d", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry", "fx",
    "fy", "width", "height", "points", "transform", "viewBox", "fill", "fill-opacity",
    "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "opacity",
    "clip-path", "clip-rule", "mask", "offset", "stop-color", "stop-opacity", "gradientUnits",
    "gradientTransform", "spreadMethod", "patternUnits", "clipPathUnits", "maskUnits",
    "text-anchor", "dominant-baseline", "font-size", "font-weight", "font-style",
    "text-decoration", "letter-spacing", "preserveAspectRatio",
})  # fmt: skip
_TRANSLATE = re.compile(r"translate\((-?[\d.]+),\s*(-?[\d.]+)\)")
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^'\")]+)['\"]?\s*\)")


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG that can be put inline or into an image, with its size in CSS pixels."""

    svg: str
    width: float
    height: float


def clean(text: str, prefix: str, family: str) -> Drawing:
    """Return a drawing made of shapes and text only.

    Scripts, links, styles and foreign elements go; ids become ``prefix_1, prefix_2, …`` in the
    order of the file, whatever the drawer counted before; every text is set in `family`.

    Raises
    ------
    RenderError
        It is no SVG, or shows a picture from outside.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RenderError("the drawing declares a document type")
    try:
        root = ET.fromstring(printable(text))
    except ET.ParseError as error:
        raise RenderError(f"the drawing is not well-formed: {error}") from None
    if root.tag != f"{{{_SVG}}}svg":
        raise RenderError("the drawing is no SVG")
    names: dict[str, str] = {}
    for element in root.iter():
        given = element.get("id")
        if given is not None and given not in names:
            names[given] = f"{prefix}_{len(names) + 1}"
    fresh = _copy(root, names, family)
    width, height = _length(root.get("width")), _length(root.get("height"))
    fresh.set("viewBox", root.get("viewBox") or f"0 0 {width:g} {height:g}")
    fresh.set("xmlns", _SVG)
    return Drawing(ET.tostring(fresh, encoding="unicode"), width, height)


def _copy(element: ET.Element, names: dict[str, str], family: str) -> ET.Element:
    """Copy what may stay; tags lose their namespace, so that HTML reads them too."""
    fresh = ET.Element(_local(element.tag))
    for key, value in element.attrib.items():
        name = _local(key)
        if name == "href":
            _keep_reference(fresh, value, names)
        elif name == "id":
            fresh.set("id", names[value])
        elif name in _ATTRIBUTES and not key.startswith(f"{{{_XLINK}}}"):
            kept = _REFERENCE.sub(lambda m: f"url(#{names.get(m[1], 'none')})", value)
            if "url(" not in kept or kept.startswith("url(#"):
                fresh.set(name, kept)
    if fresh.tag in ("text", "tspan"):
        fresh.text = element.text
        if fresh.tag == "text":
            fresh.set("font-family", family)
    for child in element:
        if child.get("display") == "none":
            continue
        if _local(child.tag) == "a":  # a link's content stays, the link goes
            group = ET.Element(f"{{{_SVG}}}g")
            group.extend(list(child))
            child = group
        if _local(child.tag) in _ELEMENTS and not _is_nothing(child):
            copied = _copy(child, names, family)
            if fresh.tag in ("text", "tspan"):
                copied.tail = child.tail
            if copied.tag == "g" and not copied.attrib:
                fresh.extend(copied)  # Vega wraps each mark in several groups that say nothing
            else:
                fresh.append(copied)
    _join_lines(fresh)
    return fresh


def _join_lines(parent: ET.Element) -> None:
    """Draw neighbouring lines of one look, such as a grid, as one path.

    Each element costs a document time and bytes, and half of a chart's are lines of its axes.
    """
    kept: list[ET.Element] = []
    for child in parent:
        line = _as_path(child)
        if line is not None and kept and kept[-1].get("d") is not None and _same(kept[-1], line):
            kept[-1].set("d", f"{kept[-1].get('d')}{line.get('d')}")
        else:
            kept.append(child if line is None else line)
    parent[:] = kept


def _as_path(element: ET.Element) -> ET.Element | None:
    """A straight line that is at most moved, as a path of absolute coordinates."""
    if element.tag != "line":
        return None
    moved = _TRANSLATE.fullmatch(element.get("transform", "translate(0,0)"))
    if moved is None:
        return None
    try:
        ends = [float(element.get(name, "0")) for name in ("x1", "y1", "x2", "y2")]
    except ValueError:
        return None
    dx, dy = float(moved[1]), float(moved[2])
    x1, y1, x2, y2 = ends[0] + dx, ends[1] + dy, ends[2] + dx, ends[3] + dy
    path = ET.Element("path", {"d": f"M{x1:.6g},{y1:.6g}L{x2:.6g},{y2:.6g}"})
    path.attrib.update(
        {k: v for k, v in element.attrib.items()
         if k not in ("x1", "y1", "x2", "y2", "transform")}
    )  # fmt: skip
    return path


def _same(one: ET.Element, other: ET.Element) -> bool:
    return one.tag == other.tag and all(
        one.get(k) == other.get(k) for k in {*one.attrib, *other.attrib} - {"d"}
    )


def _keep_reference(fresh: ET.Element, value: str, names: dict[str, str]) -> None:
    if value.startswith("#"):
        fresh.set("href", f"#{names.get(value[1:], 'none')}")
    elif fresh.tag == "image":
        if not re.match(r"data:image/(png|jpeg|gif|webp);base64,", value):
            raise RenderError("the chart shows a picture that is not part of the record")
        fresh.set("href", value)


def _is_nothing(element: ET.Element) -> bool:
    """Whether it draws nothing: Vega writes empty groups and paths around every mark."""
    tag = _local(element.tag)
    if tag == "path":
        return element.get("d", "") in ("", "M0,0h0v0h0Z")
    return tag == "g" and len(element) == 0


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _length(text: str | None) -> float:
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text or "")
    if not match:
        raise RenderError("the drawing has no size")
    return float(match[1])
