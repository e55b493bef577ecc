"""Lengths of boxes that depend on nothing around them, found once for each style.

Before it lays a box out, WeasyPrint resolves fourteen lengths of its style against those of the
box around it, though hardly any is a percentage.
"""

from __future__ import annotations

import math
from typing import Any

from robreport.report.pdf_stand_in import stand_in

_SIZES = ("width", "min_width", "max_width", "height", "min_height", "max_height")
_FREE = ["auto", 0, math.inf] * 2
_SPACES = tuple(f"{kind}_{side}" for kind in ("margin", "padding")
                for side in ("left", "right", "top", "bottom"))  # fmt: skip
_BORDERS = tuple(f"border_{side}_width" for side in ("top", "right", "bottom", "left"))


def resolve_once() -> None:
    """Have the lengths of a style kept with it, for as long as the process lives.

    What is made is the same to the byte. Nothing happens where WeasyPrint's function is not where
    it was.
    """
    from weasyprint.layout import percent

    resolve = getattr(percent, "resolve_percentages", None)
    if resolve is None or getattr(resolve, "once", False):
        return

    def resolve_percentages(box: Any, containing_block: Any) -> None:
        style = box.style
        kept = getattr(style, "kept_lengths", None)
        # a layout may give a style another size, and nothing else
        if kept is None or not kept.of(style):
            kept = style.kept_lengths = _Lengths(style)
        if kept.used is None:
            resolve(box, containing_block)
            return
        found = vars(box)
        found.update(kept.used)
        for name, width in kept.borders:
            # a table that shares its borders has settled them
            if not (kept.collapse and name in found):
                found[name] = width

    resolve_percentages.once = True  # type: ignore[attr-defined]
    stand_in("resolve_percentages", resolve, resolve_percentages)


class _Lengths:
    """The used lengths of a style; ``used`` is None where one depends on something else."""

    __slots__ = ("borders", "collapse", "sizes", "used")

    def __init__(self, style: Any) -> None:
        self.sizes = tuple(style[name] for name in _SIZES)
        self.borders = tuple((name, style[name]) for name in _BORDERS)
        self.collapse = style["border_collapse"] == "collapse"
        self.used: dict[str, Any] | None = None
        used: dict[str, Any] = {}
        for name in _SPACES + _SIZES:
            value = style[name]
            if value == "auto":
                used[name] = 0 if name.startswith("min_") else value
            elif getattr(value, "unit", None) == "px":
                used[name] = value.value
            else:
                return
        # what surrounds the content takes nothing from a size that is not given
        if style["box_sizing"] == "content-box" or [used[name] for name in _SIZES] == _FREE:
            self.used = used

    def of(self, style: Any) -> bool:
        """Whether the style has the sizes that it had."""
        width, least, most, height, lowest, highest = self.sizes
        return (
            style["width"] is width
            and style["min_width"] is least
            and style["max_width"] is most
            and style["height"] is height
            and style["min_height"] is lowest
            and style["max_height"] is highest
        )
