"""A PDF's objects as bytes, made once.

WeasyPrint's writer asks each object for its bytes twice: to write it and to derive the file's
identifier. For streams that means to compress them twice, which takes longer than to paint them.
"""

from __future__ import annotations

import zlib
from typing import Any
from weakref import WeakKeyDictionary

_LEVEL = 6
"""Of zlib: 9 takes twice as long for one percent less."""


def list_pages_once() -> None:
    """Have a `pydyf.PDF` keep the list of its pages until one is added.

    WeasyPrint asks for one of them at every tagged element, and each time all are written out.
    For a process that makes PDFs and nothing else.
    """
    import pydyf  # type: ignore[import-untyped]

    listed = pydyf.PDF.page_references
    if not isinstance(listed, property) or listed.fget is None:
        return
    write_out = listed.fget
    known: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()

    def page_references(pdf: Any) -> Any:
        count = len(pdf.pages["Kids"])
        if known.get(pdf, (-1, None))[0] != count:
            known[pdf] = count, tuple(write_out(pdf))
        return known[pdf][1]

    pydyf.PDF.page_references = property(page_references)


def make_once(_document: object, pdf: Any) -> None:
    """Replace each object of a `pydyf.PDF` by its bytes; a finisher of ``write_pdf``."""
    import pydyf

    class Made(pydyf.Object):  # type: ignore[misc]
        """An object whose bytes are known."""

        data: bytes = b""
        compressible: bool = False

        def __init__(self, original: Any, data: bytes) -> None:
            super().__init__()
            self.number, self.generation = original.number, original.generation
            self.free, self.offset = original.free, original.offset
            self.data, self.compressible = data, original.compressible

    pdf.objects[:] = [
        one if one.free == "f" else Made(one, _bytes(one, pydyf.Stream)) for one in pdf.objects
    ]


def _bytes(made: Any, stream: Any) -> bytes:
    if not (isinstance(made, stream) and made.compress):
        return bytes(made.data)
    content = bytes(stream(made.stream).data).partition(b"stream\n")[2]
    packed = zlib.compress(content.removesuffix(b"\nendstream"), _LEVEL)
    return bytes(stream([packed], {**made.extra, "Filter": "/FlateDecode"}).data)
