"""Lines of text that Pango has set, kept until they are painted.

WeasyPrint sets each line while it looks for the place of everything, lets the result go, and sets
the line again to paint it: a tenth of the time that a report takes. Each time it tells Pango font,
language and features of the line's style, though a copy of what it told before says the same. And
tables and axes say the same words over and over: what fits into one line is set once for each look.
"""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakSet

from robreport.report.pdf_stand_in import stand_in

MOST = 50_000
"""Lines kept at a time, of some kilobytes each; those beyond are set again."""
LONGEST = 1000
"""Letters of a text that is set once: of a longer one, each rest would be kept for its line."""
_PARAGRAPHS = ("\n", "\r", "\u2028", "\u2029")
_OF_A_LINE = ("justification_spacing", "max_width", "text", "layout")
_CHANGED_LATER = re.compile(r"ellipsis|line-clamp|justify(?!-)")
"""Styles by which a line is changed when it is painted."""
_LOOKS = (
    "direction", "font_family", "font_feature_settings", "font_kerning", "font_language_override",
    "font_size", "font_stretch", "font_style", "font_variant_alternates", "font_variant_caps",
    "font_variant_east_asian", "font_variant_ligatures", "font_variant_numeric",
    "font_variant_position", "font_variation_settings", "font_weight", "hyphenate_character",
    "hyphenate_limit_chars", "hyphenate_limit_zone", "hyphens", "lang",
    "letter_spacing", "overflow_wrap", "tab_size", "text_decoration_line", "white_space",
    "word_break", "word_spacing",
)  # fmt: skip
"""Properties that WeasyPrint asks of a style while it sets a line."""


class Look:
    """Styles that set a line alike, and the lines that were set by them."""

    def __init__(self) -> None:
        self.lines: dict[str, tuple[Any, ...]] = {}
        """Texts that fitted into one line, by themselves."""
        self.parts: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        """First lines of longer texts, by text, width and how they were to be broken."""
        self.told: tuple[Any, dict[str, Any]] | None = None
        """What Pango was told of it, and the line of whom it was told."""


def share(configuration: Any, rules: str) -> None:
    """Have the styles of a document share lines, by the fonts that only they use.

    Not where its style sheet has words by which lines are changed when they are painted.
    """
    if not _CHANGED_LATER.search(rules):
        configuration.looks = {}


def look_of(style: Any) -> Look | None:
    """Return the look of a style; None where lines are not shared."""
    known: Look | None = getattr(style, "look", None)
    if known is None:
        looks = getattr(style.font_config, "looks", None)
        if looks is None:
            return None
        key = repr([style[name] for name in _LOOKS])
        known = style.look = looks.setdefault(key, Look())
    return known


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
        if getattr(line, "shared", False):
            return  # by texts that are painted later
        if line not in kept and len(kept) < most:
            kept.add(line)
        else:
            kept.discard(line)  # painted, or set again to be
            let_go(line)

    def reactivate(line: Any, style: Any) -> None:
        if getattr(line, "shared", False):
            return
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


def set_once() -> None:
    """Have a text set once for each look and width, as `keep_lines` keeps its line.

    Where `share` allows it, for as long as the process lives; what is painted is the same.
    """
    from weasyprint.text import line_break

    split = getattr(line_break, "split_first_line", None)
    kept = getattr(line_break.Layout, "kept", None)
    if split is None or kept is None or getattr(split, "once", False):
        return

    def split_first_line(
        text: str, style: Any, context: Any, width: float | None, spread: float, **how: Any
    ) -> Any:
        look = look_of(style)
        if look is None or spread or style["word_spacing"] or len(text) > LONGEST:
            return split(text, style, context, width, spread, **how)
        line = look.lines.get(text)
        if line is not None and (width is None or line[3] <= width):
            return line
        asked = (text, width, *how.items())
        line = look.parts.get(asked)
        if line is None:
            line = split(text, style, context, width, spread, **how)
            if line[0] in kept and len(look.lines) + len(look.parts) < MOST:
                kept.discard(line[0])
                line[0].shared = True
                if _whole(line, text, width):
                    look.lines[text] = line
                else:
                    look.parts[asked] = line
        return line

    split_first_line.once = True  # type: ignore[attr-defined]
    stand_in("split_first_line", split, split_first_line)


def _whole(made: tuple[Any, ...], text: str, width: float | None) -> bool:
    """Whether a text was set in one line that nothing had to break, or could."""
    layout, length, resume, needed, *_ = made
    return (
        resume is None
        and layout.text == text
        and length == len(text.encode())
        and (width is None or needed <= width)
        and not any(end in text for end in ("\t", *_PARAGRAPHS))
    )


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
        same = look_of(style) or style
        told = getattr(same, "told", None)
        if told is None:
            tell(line, style)
            rest = {name: value for name, value in vars(line).items() if name not in _OF_A_LINE}
            # lines change theirs
            same.told = ffi.gc(copy(line.layout), let_go), rest
        else:
            model, rest = told
            vars(line).update(rest, style=style)
            line.layout = ffi.gc(copy(model), let_go)

    layout.setup, layout.copied = setup, True
