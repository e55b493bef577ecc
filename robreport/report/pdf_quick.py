"""What WeasyPrint asks of every box and line, answered at once where the answer is plain.

Nearly all boxes of a report are in the normal flow, nothing floats beside its lines, and their
fonts are few.
"""

from __future__ import annotations

from typing import Any

from robreport.report.pdf_stand_in import stand_in

_IN_FLOW = ("static", "relative")


def answer_quickly() -> None:
    """Have plain cases answered at once, for as long as the process lives.

    What is made is the same to the byte. Nothing happens where WeasyPrint's functions are not
    where they were.
    """
    from weasyprint.formatting_structure import boxes
    from weasyprint.layout import float as floats
    from weasyprint.text import line_break

    if getattr(boxes.Box, "answers_quickly", False):
        return
    boxes.Box.answers_quickly = True
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
