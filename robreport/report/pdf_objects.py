"""A PDF's objects as bytes, made once.

WeasyPrint's writer asks each object for its bytes twice: to write it and to derive the file's
identifier. For streams that means to compress them twice, which takes longer than to paint them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
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
    """Replace each object of a `pydyf.PDF` by its bytes; a finisher of ``write_pdf``.

    The streams that the writer itself adds later are made once too.
    """
    import pydyf

    class Made(pydyf.Object):  # type: ignore[misc]
        """An object whose bytes are known."""

        data: bytes = b""
        compressible: bool = False

        def __init__(self, original: Any) -> None:
            super().__init__()
            self.number, self.generation = original.number, original.generation
            self.free, self.offset = original.free, original.offset
            self.data, self.compressible = _bytes(original, pydyf.Stream), original.compressible

    class Packed(pydyf.Stream):  # type: ignore[misc]
        """A stream that is complete when its bytes are first asked for."""

        @cached_property
        def data(self) -> bytes:
            return _bytes(self, pydyf.Stream)

    add = pdf.add_object

    def add_packed(one: Any) -> None:
        if type(one) is pydyf.Stream:
            one.__class__ = Packed
        add(one)

    pdf.objects[:] = [one if one.free == "f" else Made(one) for one in pdf.objects]
    pdf.add_object = add_packed


def commands_of(items: Sequence[Any]) -> bytes:
    """Return the content of a stream of these items."""
    import pydyf

    content = bytes(pydyf.Stream(items).data).partition(b"stream\n")[2]
    return content.removesuffix(b"\nendstream")


def _bytes(made: Any, stream: Any) -> bytes:
    if not isinstance(made, stream):
        return bytes(made.data)
    if not made.compress:
        return bytes(stream(made.stream, made.extra).data)
    packed = zlib.compress(commands_of(made.stream), _LEVEL)
    return bytes(stream([packed], {**made.extra, "Filter": "/FlateDecode"}).data)
