"""What a renderer is: a function of the document, the theme and the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """What a renderer may use beside document, theme and record.

    ``cache`` is the folder for things that are made once per version; None for the user's own.
    """

    cache: Path | None = None
