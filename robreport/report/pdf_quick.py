"""What WeasyPrint asks of every box, line and style, answered at once where the answer is plain.

Nearly all boxes of a report are in the normal flow, nothing floats beside its lines, their fonts
are few, and most properties of a style are those of the element around it.
"""

from __future__ import annotations

from typing import Any

from robreport.report.pdf_stand_in import stand_in

_IN_FLOW = ("static", "relative")
_OWN_WAYS = ("page", "position", "float", "display")
"""Properties with rules of their own for what is not said of them, as for text decorations."""


def answer_quickly() -> None:
    """Have plain cases answered at once, for as long as the process lives.

    What is made is the same to the byte. Nothing happens where WeasyPrint's functions are not
    where they were.
    """
    from weasyprint.formatting_structure import boxes

    if not getattr(boxes.Box, "answers_quickly", False):
        boxes.Box.answers_quickly = True
        _answer_boxes(boxes)
        _answer_values()
        _answer_styles()


def _answer_boxes(boxes: Any) -> None:
    from weasyprint.layout import float as floats
    from weasyprint.text import line_break

    in_flow = getattr(boxes.Box, "is_in_normal_flow", None)
    avoid = getattr(floats, "avoid_collisions", None)
    strut_of = getattr(line_break, "strut", None)
    if in_flow is None or avoid is None or strut_of is None:
        return

    def is_in_normal_flow(box: Any) -> Any:
        style = box.style
        return (style["float"] == "none" and style["position"] in _IN_FLOW) or in_flow(box)

    def avoid_collisions(context: Any, box: Any, around: Any, outer: bool = True) -> Any:
        plain = isinstance(box, boxes.LineBox) and around.style["direction"] == "ltr"
        if context.excluded_shapes or not plain:
            return avoid(context, box, around, outer)
        # summed as theirs are, since each sum may be rounded
        x, y = around.content_box_x(), box.position_y if outer else box.border_box_y()
        right = x + around.width
        if outer:
            return x, y, right - x
        x += box.margin_left
        return x - box.margin_left, y - box.margin_top, right - box.margin_right - x

    def strut(style: Any) -> Any:
        size, height = style["font_size"], style["line_height"]
        kept = getattr(style, "kept_strut", None)
        if kept is None or kept[0] is not size or kept[1] is not height:
            kept = style.kept_strut = (size, height, strut_of(style))
        return kept[2]

    boxes.Box.is_in_normal_flow = is_in_normal_flow
    stand_in("avoid_collisions", avoid, avoid_collisions)
    stand_in("strut", strut_of, strut)


def _answer_values() -> None:
    from weasyprint.css import functions, properties
    from weasyprint.draw import color

    is_math = getattr(functions, "check_math", None)
    get_color = getattr(color, "get_color", None)
    dimension = getattr(properties, "Dimension", None)
    if is_math is None or get_color is None or dimension is None:
        return
    plain = frozenset({str, int, float, bool, type(None), dimension})

    def check_math(value: Any) -> Any:
        return type(value) not in plain and is_math(value)

    def colour(style: Any, key: str) -> Any:
        value = style[key]
        # a colour takes long to see that it is no word
        return style["color"] if type(value) is str and value == "currentcolor" else value

    stand_in("check_math", is_math, check_math)
    stand_in("get_color", get_color, colour)


def _answer_styles() -> None:
    from weasyprint import css

    needed = ("INHERITED", "INITIAL_VALUES", "INITIAL_NOT_COMPUTED", "PHYSICAL_FUNCTIONS")
    style = getattr(css, "ComputedStyle", None)
    work_out = getattr(style, "__missing__", None)
    if style is None or work_out is None or not all(hasattr(css, name) for name in needed):
        return
    own_ways = {
        *_OWN_WAYS,
        *css.PHYSICAL_FUNCTIONS,
        *(key for key in css.INITIAL_VALUES if key.startswith("text_decoration_")),
    }
    inherited = frozenset(css.INHERITED) - own_ways
    initial = {
        key: value
        for key, value in css.INITIAL_VALUES.items()
        if key not in {*css.INHERITED, *css.INITIAL_NOT_COMPUTED, *own_ways}
    }

    def missing(known: Any, key: str) -> Any:
        if key not in known.cascaded:
            if key in initial:
                value = known[key] = initial[key]
                return value
            if key in inherited and known.parent_style is not None:
                value = known.parent_style[key]
                if not css.check_math(value):
                    known[key] = value
                    return value
        return work_out(known, key)

    style.__missing__ = missing
