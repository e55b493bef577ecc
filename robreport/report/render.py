"""One document in several formats, its charts drawn once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robreport.document import Document
from robreport.errors import RenderError, RobreportError
from robreport.report.records import RecordFiles
from robreport.report.theme import Theme


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """What a renderer may use beside the document.

    ``cache`` is the folder for things that are made once per version; None for the user's own.
    """

    cache: Path | None = None


Renderer = Callable[[Document, Theme, RecordFiles, RenderContext], bytes | str]


def render_all(
    document: Document,
    theme: Theme,
    record: RecordFiles,
    renderers: Mapping[str, Renderer],
    formats: Sequence[str],
    context: RenderContext | None = None,
) -> dict[str, bytes]:
    """Return ``{"report.html": bytes, …}``, one for each format.

    Raises
    ------
    RenderError
        A renderer is not known or broke.
    """
    from robreport.report.figures import fill_charts

    context = context or RenderContext()
    unknown = [name for name in formats if name not in renderers]
    if unknown:
        raise RenderError(f"unknown format {unknown[0]!r}; known: {', '.join(sorted(renderers))}.")
    filled = fill_charts(document, theme)
    files: dict[str, bytes] = {}
    for name in formats:
        try:
            made = renderers[name](filled, theme, record, context)
        except RobreportError:
            raise
        except Exception as error:  # another's renderer: its error is named, not passed on raw
            kind = type(error).__name__
            raise RenderError(f"the renderer {name!r} broke: {kind}: {error}") from error
        files[f"report.{name}"] = made.encode() if isinstance(made, str) else made
    return files
