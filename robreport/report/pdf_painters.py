"""Pages painted by several processes at a time, as one process would paint them.

When every page has been laid out, WeasyPrint paints them one after another: a third of the time
that a report takes, on one processor. Here the process forks: each copy has all pages in its
memory, paints a share of them and hands back the drawing commands, from which the first makes the
PDF. What cannot be handed over, such as a pattern, the first paints itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from typing import Any, BinaryIO

from robreport.report.lifeline import die_with_parent
from robreport.report.pdf_objects import commands_of

FEWEST = 4
"""Pages of a share: for less, a copy of the process costs more than it saves."""
MOST = 4
_MADE_IN_PLACE = ("XObject", "Pattern", "Shading")


def hands() -> int:
    """How many processes may paint at a time."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1  # a copy has none of the other threads, and what they hold stays held
    return min(len(os.sched_getaffinity(0)), MOST)


@contextmanager
def shared(pages: Sequence[Any], count: int) -> Iterator[None]:
    """Have the pages painted by `count` processes, from when the first of them is asked for."""
    count = min(count, len(pages) // FEWEST)
    if count < 2:
        yield
        return
    crew = _Crew(pages, count)
    for number, page in enumerate(pages):
        page.paint = partial(crew.paint, number, page.paint)
    try:
        yield
    finally:
        crew.close()


@dataclass(frozen=True, slots=True)
class _Glyphs:
    """What a page adds to what is known of a font."""

    name: str
    texts: dict[int, str]
    widths: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Painted:
    """A page that another process painted; places in memory are the same in every copy."""

    commands: bytes
    marks: tuple[tuple[int, dict[str, Any]], ...]
    """Where each marked box is in memory, and how it is marked for the tags."""
    opacities: dict[str, dict[str, float]]
    images: tuple[tuple[int, bool, tuple[float, ...]], ...]
    """Where each image is in memory, whether it is smoothed, and its resolutions."""
    glyphs: dict[Any, _Glyphs]


class _Marks(dict[int, dict[str, Any]]):
    """Marks of boxes, known by where the boxes are in memory."""

    def pop(self, box: object, *default: Any) -> Any:
        """Take out the mark of a box."""
        return super().pop(id(box), *default)


@dataclass(frozen=True, slots=True)
class _Share:
    """The pages of another process."""

    pages: range
    process: int
    pipe: BinaryIO

    def read(self) -> dict[int, _Painted]:
        """Return what came of it: nothing where it ended early."""
        try:
            made: dict[int, _Painted] = pickle.load(self.pipe)
        except (OSError, EOFError, pickle.UnpicklingError):
            made = {}
        self.close()
        return made

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        with suppress(OSError):
            os.kill(self.process, signal.SIGKILL)
        with suppress(OSError):
            os.waitpid(self.process, 0)


@dataclass
class _Crew:
    """Those who paint the pages of a document."""

    pages: Sequence[Any]
    count: int
    shares: list[_Share] = field(default_factory=list)
    painted: dict[int, _Painted] = field(default_factory=dict)

    def paint(self, number: int, paint: Callable[..., None], stream: Any, scale: float = 1) -> None:
        """Paint a page; at the first one, the others begin with theirs."""
        if number == 0:
            self._begin(stream, scale)
        while self.shares and number >= self.shares[0].pages.start:
            self.painted.update(self.shares.pop(0).read())
        made = self.painted.pop(number, None)
        if made is None or not _take_over(made, self.pages[number], stream):
            paint(stream, scale)

    def close(self) -> None:
        """End those who are still painting."""
        for share in self.shares:
            share.close()

    def _begin(self, stream: Any, scale: float) -> None:
        ends = [len(self.pages) * one // self.count for one in range(1, self.count + 1)]
        for start, stop in pairwise(ends):
            try:
                ours, theirs = os.pipe()
            except OSError:
                return
            parent = os.getpid()
            try:
                process = os.fork()
            except OSError:
                os.close(ours)
                os.close(theirs)
                return
            if process == 0:
                self._paint_and_end(range(start, stop), stream, scale, theirs, parent)
            os.close(theirs)
            self.shares.append(_Share(range(start, stop), process, os.fdopen(ours, "rb")))

    def _paint_and_end(
        self, numbers: range, stream: Any, scale: float, pipe: int, parent: int
    ) -> None:
        """Paint pages in a copy of the process, which ends here."""
        try:
            die_with_parent()
            if os.getppid() != parent:
                return  # it ended before it could be said
            fonts: dict[Any, Any] = {}
            made = {n: _painted(self.pages[n], stream, scale, fonts) for n in numbers}
            with os.fdopen(pipe, "wb") as out:
                pickle.dump({n: one for n, one in made.items() if one is not None}, out)
        finally:
            # without what the first process has still to write and to tidy
            os._exit(0)


def _painted(page: Any, first: Any, scale: float, fonts: dict[Any, Any]) -> _Painted | None:
    """Paint a page on a stream like the first page's; None where it cannot be handed over."""
    known = {key: (len(font.to_unicode), len(font.widths)) for key, font in fonts.items()}
    marks: dict[Any, dict[str, Any]] = {}
    images: dict[str, dict[str, Any]] = {}
    resources: dict[str, Any] = {kind: {} for kind in ("ExtGState", *_MADE_IN_PLACE)}
    resources["ColorSpace"] = first._resources["ColorSpace"]
    stream = first.clone(fonts=fonts, resources=resources, images=images, tags=marks)
    # each page begins so
    stream.transform(d=-1, f=page.height * scale)
    begun = len(stream.stream)
    type(page).paint(page, stream, scale)
    in_place = {name for kind in _MADE_IN_PLACE for name in resources[kind]} - set(images)
    opacities = {name: dict(state) for name, state in resources["ExtGState"].items()}
    if (
        in_place
        or any(not set(state) <= {"ca", "CA"} for state in opacities.values())
        or not all(_alike_everywhere(font) for font in fonts.values())
    ):
        return None
    glyphs = {}
    for key, font in fonts.items():
        texts, widths = known.get(key, (0, 0))
        glyphs[key] = _Glyphs(
            font.hash,
            dict(islice(font.to_unicode.items(), texts, None)),
            dict(islice(font.widths.items(), widths, None)),
        )
    return _Painted(
        commands=commands_of(stream.stream[begun:]),
        marks=tuple((id(box), mark) for box, mark in marks.items()),
        opacities=opacities,
        images=tuple(
            (id(one["image"]), one["interpolate"], tuple(one["dpi_ratios"]))
            for one in images.values()
        ),
        glyphs=glyphs,
    )


def _alike_everywhere(font: Any) -> bool:
    """Whether the order of the pages is nothing to what is known of a font."""
    return bool(getattr(font, "in_its_units", False) and not (font.missing or font.used_in_forms))


def _take_over(made: _Painted, page: Any, stream: Any) -> bool:
    """Put a painted page on its stream; False where that needs what only painting it makes."""
    import pydyf  # type: ignore[import-untyped]

    fonts = stream._fonts
    if any(key not in fonts or fonts[key].hash != one.name for key, one in made.glyphs.items()):
        return False
    images = _images(page) if made.images else {}
    if any(place not in images for place, _, _ in made.images):
        return False
    for place, smooth, resolutions in made.images:
        for resolution in resolutions:
            stream.add_image(images[place], smooth, resolution)
    for key, one in made.glyphs.items():
        for known, new in ((fonts[key].to_unicode, one.texts), (fonts[key].widths, one.widths)):
            for glyph, value in new.items():
                known.setdefault(glyph, value)
    states = stream._resources["ExtGState"]
    for name, state in made.opacities.items():
        states.setdefault(name, pydyf.Dictionary(state))
    stream.stream.append(made.commands)
    stream._tags = _Marks(made.marks)
    return True


def _images(page: Any) -> dict[int, Any]:
    """The images of a page's boxes, by where they are in memory."""
    found = (getattr(box, "replacement", None) for box in page._page_box.descendants())
    return {id(image): image for image in found if image is not None}
