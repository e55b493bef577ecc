"""Widths of letters as their font says them.

WeasyPrint takes those of the size at which a letter is first painted, rounded by Pango: the same
line is then set by other numbers when another page comes before it.
"""

from __future__ import annotations

from typing import Any

_COLOURED = ("png", "svg", "colr")


def measure_once() -> None:
    """Have letters measured in the units of their font, for as long as the process lives.

    Fonts of pictures or of variable shape are measured as before, and so are all where
    WeasyPrint's fonts are not what this was written for.
    """
    from weasyprint.pdf import fonts

    made = fonts.Font.__init__
    if getattr(fonts.Font, "measured_once", False):
        return
    fonts.Font.measured_once = True
    try:
        fonts.ffi.cdef(
            "hb_font_t * hb_font_create (hb_face_t *); void hb_font_destroy (hb_font_t *);"
            "int32_t hb_font_get_glyph_h_advance (hb_font_t *, hb_codepoint_t);"
        )
        advance, let_go = fonts.harfbuzz.hb_font_get_glyph_h_advance, fonts.harfbuzz.hb_font_destroy
    except (AttributeError, fonts.ffi.error):
        return

    class Texts(dict[int, str]):
        """Texts of the glyphs of a font; the width of each is measured with its first."""

        def __init__(self, font: Any) -> None:
            self._em, self._widths = font.upem, font.widths
            self._font = fonts.ffi.gc(fonts.harfbuzz.hb_font_create(font.hb_face), let_go)

        def __setitem__(self, glyph: int, text: str) -> None:
            super().__setitem__(glyph, text)
            # letters that the font lacks have one already
            if glyph not in self._widths:
                self._widths[glyph] = round(advance(self._font, glyph) * 1000 / self._em)

    def init(font: Any, *given: Any) -> None:
        made(font, *given)
        font.in_its_units = not (
            font.bitmap or "fvar" in font.tables or any(getattr(font, kind) for kind in _COLOURED)
        )
        if font.in_its_units:
            font.to_unicode = Texts(font)

    fonts.Font.__init__ = init
