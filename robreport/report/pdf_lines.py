"""Lines of text that Pango has set, kept until they are painted.

WeasyPrint sets each line while it looks for the place of everything, lets the result go, and sets
the line again to paint it: a tenth of the time that a report takes. Each time it tells Pango font,
language and features of the line's style, though a copy of what it told before says the same.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

MOST = 50_000
"""Lines kept at a time, of some kilobytes each; those beyond are set again."""
_PARAGRAPHS = ("\n", "\r", "\u2028", "\u2029")
_OF_A_LINE = ("justification_spacing", "max_width", "text", "layout")


def keep_lines(most: int = MOST) -> None:
    """Have the lines of pages kept until they are painted, for as long as the process lives.

    What is painted is the same to the byte. Nothing happens where WeasyPrint's lines are not what
    this was written for.
    """
    from weasyprint.text import line_break

    layout = line_break.Layout
    parts = ("deactivate", "reactivate", "set_text", "setup")
    if getattr(layout, "kept", None) is not None or not all(hasattr(layout, p) for p in parts):
        return
    let_go, take_up, set_text = layout.deactivate, layout.reactivate, layout.set_text
    one_paragraph = line_break.pango.pango_layout_set_single_paragraph_mode
    kept: WeakSet[Any] = WeakSet()

    def deactivate(line: Any) -> None:
        if line not in kept and len(kept) < most:
            kept.add(line)
        else:
            kept.discard(line)  # painted, or set again to be
            let_go(line)

    def reactivate(line: Any, style: Any) -> None:
        if line in kept:
            # what was set for another style, or before its words were spread, is set again
            spread = line.justification_spacing or style["word_spacing"]
            if style is line.style and not spread:
                return
            let_go(line)
        take_up(line, style)

    def set_line(line: Any, text: str, justify: bool = False) -> None:
        # painting asks for it, and what was set before would be lost
        one_paragraph(line.layout, not any(end in text for end in _PARAGRAPHS))
        set_text(line, text, justify)

    layout.deactivate, layout.reactivate, layout.set_text = deactivate, reactivate, set_line
    layout.kept = kept


def copy_set_up() -> None:
    """Have what Pango is told of a style copied for each line, for as long as the process lives.

    What is painted is the same to the byte. Nothing happens where WeasyPrint's lines are not what
    this was written for.
    """
    from weasyprint.text import line_break

    layout, ffi = line_break.Layout, line_break.ffi
    tell = getattr(layout, "setup", None)
    if tell is None or getattr(layout, "copied", False):
        return
    try:
        ffi.cdef("PangoLayout * pango_layout_copy (PangoLayout *);")
        copy, let_go = line_break.pango.pango_layout_copy, line_break.gobject.g_object_unref
    except (AttributeError, ffi.error):
        return

    def setup(line: Any, style: Any) -> None:
        told = getattr(style, "told_pango", None)
        if told is None:
            tell(line, style)
            rest = {name: value for name, value in vars(line).items() if name not in _OF_A_LINE}
            # lines change theirs
            style.told_pango = ffi.gc(copy(line.layout), let_go), rest
        else:
            model, rest = told
            vars(line).update(rest)
            line.layout = ffi.gc(copy(model), let_go)

    layout.setup, layout.copied = setup, True
