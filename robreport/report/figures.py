"""Chart specifications to drawings, in a process of its own that cannot stall the document."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from robreport.document import (
    Block,
    Document,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    Section,
)
from robreport.errors import RenderError
from robreport.outcome import Status
from robreport.report import chart_theme, fonts, svg
from robreport.report.cache_folder import default_cache
from robreport.report.drawing_cache import DrawingCache
from robreport.report.svg import Drawing
from robreport.report.theme import Theme

CHART_SECONDS = 30.0
"""How long one chart may take, the start of its process included."""
CHART_BYTES = 20_000_000
"""The longest specification and the longest drawing that are accepted."""

_SCRIPT = Path(__file__).with_name("chart_process.py")


def render_charts(
    figures: Sequence[FigureBlock],
    theme: Theme,
    seconds: float = CHART_SECONDS,
    cache: Path | None = None,
) -> list[Drawing | str]:
    """Return the drawing of each figure, or the sentence that says why there is none.

    Parameters
    ----------
    figures : sequence of FigureBlock
        Their anchors, unique in the document, name the ids inside the drawings.
    theme : Theme
    seconds : float
        Limit for each chart; one that exceeds it loses only itself.
    cache : Path or None
        The folder where drawings are kept; no process is started for what is there. None keeps
        nothing.
    """
    kept = DrawingCache(cache, theme.font_folder) if cache is not None else None
    family = fonts.family(theme.font_folder)
    results: list[Drawing | str] = ["" for _ in figures]
    waiting: list[tuple[int, str]] = []
    for i, figure in enumerate(figures):
        try:
            text = json.dumps({"spec": chart_theme.prepare(figure.spec, theme)}, allow_nan=False)
        except RenderError as error:
            results[i] = str(error)
        except (ValueError, TypeError, RecursionError, AttributeError) as error:
            results[i] = f"the chart is no valid specification: {error}"
        else:
            if len(text) > CHART_BYTES:
                results[i] = f"the chart holds {len(text):,} bytes; too many to draw"
            elif kept is not None and (known := kept.get(text)) is not None:
                results[i] = _drawing({"svg": known}, figure.anchor, family)
            else:
                waiting.append((i, text))
    while waiting:
        with ChartProcess(theme.font_folder) as process:
            while waiting:
                i, text = waiting.pop(0)
                answer = process.ask(text, seconds)
                results[i] = _drawing(answer, figures[i].anchor, family)
                if kept is not None and isinstance(results[i], Drawing):
                    kept.put(text, answer["svg"])
                if not process.alive:
                    break
    if kept is not None:
        kept.prune()
    return results


def _drawing(answer: dict[str, Any], anchor: str, family: str) -> Drawing | str:
    if "svg" not in answer:
        return str(answer.get("error", "the chart could not be drawn"))
    try:
        return svg.clean(answer["svg"], anchor, family)
    except RenderError as error:
        return str(error)
    except RecursionError:
        return "the drawing is nested too deeply"


class ChartProcess:
    """One process that draws; gone after the first chart that hangs or kills it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._process = subprocess.Popen(
            # -P: nothing in the current folder may stand in for a library
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self.alive = True
        self._requests: SimpleQueue[str | None] = SimpleQueue()
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._owed = 0
        # from threads: a process that hangs neither empties its pipe nor ends its answer
        Thread(target=self._write, daemon=True).start()
        Thread(target=self._read, daemon=True).start()
        if folder is not None:
            self.send({"fonts": str(folder)})

    def __enter__(self) -> ChartProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.alive = False
        self._requests.put(None)
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        stdout = self._process.stdout
        if stdout is not None:
            with suppress(ValueError, OSError), stdout:
                for line in stdout:
                    self._lines.put(line)
        self._lines.put("")

    def _write(self) -> None:
        stdin = self._process.stdin
        if stdin is None:
            return
        with suppress(ValueError, OSError), stdin:
            while (text := self._requests.get()) is not None:
                stdin.write(text + "\n")
                stdin.flush()

    def send(self, request: dict[str, Any]) -> None:
        """Ask for something whose answer is of no interest."""
        self._requests.put(json.dumps(request))
        self._owed += 1

    def ask(self, text: str, seconds: float) -> dict[str, Any]:
        """Return the answer to one request, or ``{"error": reason}``."""
        if not self.alive:
            return {"error": "the process that draws the charts has ended"}
        self._requests.put(text)
        end = time.monotonic() + seconds
        line = ""
        try:
            for _ in range(self._owed + 1):
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
                if not line:
                    break
        except Empty:
            self.alive = False
            return {"error": f"the chart was stopped after {seconds:g} s without an end"}
        self._owed = 0
        if not line:
            self.alive = False
            return {"error": "the process that draws the charts ended while drawing this one"}
        if len(line) > CHART_BYTES:
            return {"error": f"the drawing has {len(line):,} bytes; too many for a page"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def fill_charts(
    document: Document,
    theme: Theme,
    seconds: float = CHART_SECONDS,
    cache: Path | None = None,
) -> Document:
    """Return the document with every chart drawn; one that cannot be drawn says why instead.

    Figures that are drawn already stay as they are, so that several formats share one drawing.
    What was drawn before comes from the cache folder, the user's own when `cache` is None.
    """
    missing = [f for section in document.sections for f in _figures(section) if not f.svg]
    if not missing:
        return document
    drawn = render_charts(missing, theme, seconds, cache or default_cache())
    by_anchor = {
        figure.anchor: _filled(figure, result)
        for figure, result in zip(missing, drawn, strict=True)
    }
    return replace(document, sections=tuple(_with(s, by_anchor) for s in document.sections))


def _filled(figure: FigureBlock, result: Drawing | str) -> FigureBlock | FailureBlock:
    if isinstance(result, Drawing):
        return replace(figure, svg=result.svg, width=result.width)
    return FailureBlock(
        status=Status.ERROR,
        title=f"Figure {figure.number}. {figure.title}" if figure.number else figure.title,
        reason=f"This chart could not be drawn: {result.rstrip('.')}. What it shows: {figure.alt}",
        anchor=figure.anchor,
    )


def drawn_figures(document: Document) -> list[FigureBlock]:
    """Return the figures that have a drawing, in the order of the document."""
    return [f for section in document.sections for f in _figures(section) if f.svg]


def _figures(section: Section) -> list[FigureBlock]:
    found: list[FigureBlock] = []
    for block in section.blocks:
        inner = block.figures if isinstance(block, FigureGroup) else (block,)
        found += [b for b in inner if isinstance(b, FigureBlock)]
    for inner_section in section.sections:
        found += _figures(inner_section)
    return found


def _with(section: Section, drawn: dict[str, FigureBlock | FailureBlock]) -> Section:
    blocks: list[Block] = []
    for block in section.blocks:
        if isinstance(block, FigureGroup):
            inner = tuple(
                drawn.get(f.anchor, f) if isinstance(f, FigureBlock) else f for f in block.figures
            )
            blocks.append(FigureGroup(figures=inner))
        elif isinstance(block, FigureBlock):
            blocks.append(drawn.get(block.anchor, block))
        else:
            blocks.append(block)
    inner_sections = tuple(_with(s, drawn) for s in section.sections)
    return replace(section, blocks=tuple(blocks), sections=inner_sections)
