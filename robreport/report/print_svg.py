"""Drawings made cheap to print: the same shapes and letters in fewer and plainer elements.

WeasyPrint makes an object of the file of every text that is not aligned to its start, and saves
and restores the state of the page for every element. So texts are aligned here, by the widths
that the font itself gives its letters, and neighbouring texts of one look become one element.
A ramp of colours becomes bands: some viewers of PDFs leave gradients out at some sizes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree as ET

from robreport.report import fonts

_MOVED = re.compile(r"translate\((-?[\d.]+),\s*(-?[\d.]+)\)")
_SIZE = re.compile(r"([\d.]+)(?:px)?")
_WEIGHTS = {"normal": 400, "bold": 700}
_DIGITS = re.compile(r"-?\d+\.\d{3,}(?![\de])")
_SHIFTS = {"start": 0.0, "middle": 0.5, "end": 1.0}
_PLACED = frozenset({"transform", "text-anchor", "x", "y"})
_PLAIN = _PLACED | {"font-size", "font-weight", "font-family", "fill", "opacity"}
_BAR = re.compile(r"M0,0h([\d.]+)v([\d.]+)h-\1Z")
_FILL = re.compile(r"url\(#([\w-]+)\)")
_RGB = re.compile(r"rgb\((\d+), ?(\d+), ?(\d+)\)")
_BANDS = 48
_PAINTS = ("fill", "stroke", "fill-opacity", "stroke-opacity")
_OPAQUE = re.compile(r"\w+|#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6}|rgb\([^()/]*\)")
_LINED = frozenset({"path", "line", "rect", "circle", "ellipse", "polygon", "polyline"})

Advances = Callable[[str, int], list[float] | None]
"""From a text and a weight to the widths of its letters, of an em; None where one is missing."""


def plain(drawing: str, advances: Advances) -> str:
    """Return the drawing (of `robreport.report.svg.clean`) with the same look in less elements."""
    root = ET.fromstring(drawing)
    _band(root)
    _simplify(root, {}, advances)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return ET.tostring(root, encoding="unicode")


def advances_of(folder: Path) -> Advances:
    """Return the letter widths of the family in a font folder."""
    files = {font.weight: font.path for font in fonts.font_files(folder, "ttf")}

    def advances(text: str, weight: int) -> list[float] | None:
        nearest = min(files, key=lambda have: (abs(have - weight), have))
        known = _widths(files[nearest])
        found = [known.get(ord(letter)) for letter in text]
        return [w for w in found if w is not None] if None not in found else None

    return advances


@lru_cache(maxsize=8)
def _widths(path: Path) -> Mapping[int, float]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    with TTFont(path, lazy=True) as font:
        em, metrics = font["head"].unitsPerEm, font["hmtx"].metrics
        names: dict[int, str] = font.getBestCmap()
        return {code: metrics[name][0] / em for code, name in names.items()}


def _band(root: ET.Element) -> None:
    """Replace each bar that is filled from left to right by a ramp of colours with bands."""
    ramps = {
        one.get("id", ""): stops
        for one in root.iter()
        if one.tag.rpartition("}")[2] == "linearGradient" and (stops := _stops(one))
    }
    for parent in list(root.iter()) if ramps else ():
        for place, bar in reversed(list(enumerate(parent))):
            fill = _FILL.fullmatch(bar.get("fill", ""))
            shape = _BAR.fullmatch(bar.get("d", ""))
            if fill and shape and fill[1] in ramps:
                parent[place : place + 1] = _bands(bar, shape, ramps[fill[1]])


def _stops(gradient: ET.Element) -> list[tuple[float, list[int]]]:
    """Return (offset, colour) of a plain gradient from left to right; nothing of any other."""
    across = {"x1": "0", "x2": "1", "y1": "0", "y2": "0"}
    if {key: value for key, value in gradient.attrib.items() if key != "id"} != across:
        return []
    found = []
    for stop in gradient:
        colour = _RGB.fullmatch(stop.get("stop-color", ""))
        if colour is None or set(stop.attrib) != {"offset", "stop-color"}:
            return []
        found.append((float(stop.get("offset", "0")), [int(part) for part in colour.groups()]))
    return found if len(found) > 1 else []


def _bands(
    bar: ET.Element, shape: re.Match[str], stops: list[tuple[float, list[int]]]
) -> list[ET.Element]:
    """Return areas of one colour each; each reaches to the end, so that no seam shows."""
    width, height = float(shape[1]), shape[2]
    made = []
    for band in range(_BANDS):
        at = (band + 0.5) / _BANDS
        colour = [round(_between(at, stops, part)) for part in range(3)]
        left = width * band / _BANDS
        made.append(ET.Element(bar.tag, {
            **{key: value for key, value in bar.attrib.items() if not key.startswith("stroke")},
            "d": f"M{left:.2f},0H{width:.2f}V{height}H{left:.2f}Z",
            "fill": "#{:02x}{:02x}{:02x}".format(*colour),
        }))  # fmt: skip
    return made


def _between(at: float, stops: list[tuple[float, list[int]]], part: int) -> float:
    before = max((s for s in stops if s[0] <= at), key=lambda s: s[0], default=stops[0])
    after = min((s for s in stops if s[0] >= at), key=lambda s: s[0], default=stops[-1])
    span = after[0] - before[0]
    share = (at - before[0]) / span if span > 0 else 0.0
    return before[1][part] + share * (after[1][part] - before[1][part])


def _simplify(parent: ET.Element, inherited: Mapping[str, str], advances: Advances) -> None:
    painted = dict(inherited)
    painted.update({key: parent.attrib[key] for key in _PAINTS if key in parent.attrib})
    kept: list[ET.Element] = []
    for child in parent:
        name = child.tag.rpartition("}")[2]
        if child.get("opacity") == "1":
            del child.attrib["opacity"]
        if child.get("opacity") == "0" and "id" not in child.attrib:
            continue
        if name in _LINED and _unseen(child, painted):
            continue
        if name in _LINED:
            _pale(child, painted)
        if name == "g":
            if child.get("transform") in ("translate(0,0)", "translate(0, 0)"):
                del child.attrib["transform"]
            _simplify(child, painted, advances)
            if not len(child):
                continue
            if not child.attrib:
                kept += child
                continue
        elif name == "text":
            if not (child.text or len(child)):
                continue
            child = _aligned(child, advances)
            if kept and _one_look(kept[-1], child):
                _append(kept[-1], child)
                continue
        elif name == "path":
            child.set("d", _DIGITS.sub(_shorter, child.get("d", "")))
            if kept and _one_area(kept[-1], child, painted):
                kept[-1].set("d", f"{kept[-1].get('d')}{child.get('d')}")
                continue
        kept.append(child)
    parent[:] = kept


def _shorter(number: re.Match[str]) -> str:
    """A coordinate to a hundredth of a pixel."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _one_area(one: ET.Element, other: ET.Element, painted: Mapping[str, str]) -> bool:
    """Whether two neighbours are opaque areas of one look, without edges: they paint as one."""
    return (
        one.tag == other.tag
        and other.get("stroke", painted.get("stroke", "none")) == "none"
        and set(other.attrib) <= {"d", "fill"}
        and {**one.attrib, "d": ""} == {**other.attrib, "d": ""}
        and other.get("d", "").startswith("M")
    )


def _unseen(shape: ET.Element, painted: Mapping[str, str]) -> bool:
    """Whether a shape has neither fill nor stroke; what others refer to stays."""
    fill = shape.get("fill", painted.get("fill", "black"))
    stroke = shape.get("stroke", painted.get("stroke", "none"))
    return fill == stroke == "none" and "id" not in shape.attrib


def _pale(shape: ET.Element, painted: Mapping[str, str]) -> None:
    """Make the opacity of a shape with one paint that of its paint, which needs no group."""
    paints = [
        (kind, paint)
        for kind, default in (("fill", "black"), ("stroke", "none"))
        if (paint := shape.get(kind, painted.get(kind, default))) != "none"
    ]
    if "opacity" not in shape.attrib or len(paints) != 1 or "style" in shape.attrib:
        return
    ((kind, paint),) = paints
    own = f"{kind}-opacity"
    if own not in {**painted, **shape.attrib} and _OPAQUE.fullmatch(paint):
        shape.set(own, shape.attrib.pop("opacity"))


def _aligned(text: ET.Element, advances: Advances) -> ET.Element:
    """Return a text with a place for each letter; one of unusual attributes stays as it is."""
    letters = text.text or ""
    size = _SIZE.fullmatch(text.get("font-size", ""))
    weight = text.get("font-weight", "400")
    weight = str(_WEIGHTS.get(weight, weight))
    if (
        len(text)
        or size is None
        or not weight.isdigit()
        or not set(text.attrib) <= _PLAIN
        or {"x", "y"} & set(text.attrib)
        or letters != " ".join(letters.split())
        or not all(_simple(letter) for letter in letters)
    ):
        return text
    widths = advances(letters, int(weight))
    shift = _SHIFTS.get(text.get("text-anchor", "start"))
    if not widths or shift is None:
        return text
    moved = _MOVED.fullmatch(text.get("transform", "translate(0,0)"))
    em = float(size[1])
    x, y = (float(moved[1]), float(moved[2])) if moved else (0.0, 0.0)
    x -= shift * em * sum(widths)
    places = []
    for width in widths:
        places.append(f"{x:.7g}")
        x += em * width
    if moved:
        text.attrib.pop("transform", None)
        text.set("x", " ".join(places))
        text.set("y", " ".join([f"{y:.7g}"] * len(places)))
    else:
        text.set("x", places[0])
    text.attrib.pop("text-anchor", None)
    return text


def _simple(letter: str) -> bool:
    """Whether a letter stands for itself, left to right: no mark, joiner or other direction."""
    return unicodedata.category(letter)[0] not in "MC" and unicodedata.bidirectional(
        letter
    ) not in ("R", "AL", "AN")


def _one_look(one: ET.Element, other: ET.Element) -> bool:
    """Whether two texts, with a place for each letter, differ in letters and places only."""
    return (
        one.tag == other.tag
        and "y" in one.attrib
        and "y" in other.attrib
        and not {"transform", "text-anchor"} & {*one.attrib, *other.attrib}
        and {**one.attrib, "x": "", "y": ""} == {**other.attrib, "x": "", "y": ""}
        and len(one) == len(other) == 0
    )


def _append(one: ET.Element, other: ET.Element) -> None:
    one.text = f"{one.text}{other.text}"
    for key in ("x", "y"):
        one.set(key, f"{one.get(key)} {other.get(key)}")
