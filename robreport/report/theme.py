"""What a theme changes: templates, styles, the chart configuration and fonts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any


def default_folder() -> Path:
    """Return the folder of the default templates, styles and fonts."""
    return Path(str(files("robreport_templates"))) / "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """A look of the documents.

    Attributes
    ----------
    name : str
        What ``[report] theme`` calls it.
    template_loader : jinja2.BaseLoader or None
        Looked up before the default templates; None to keep those.
    css : str
        Style sheet text added after the default's (custom properties suffice for most).
    chart_config : mapping
        Vega-Lite ``config`` merged over the default's.
    fonts : Path or None
        A folder of font files to use instead of the shipped family: ``FAMILY-WEIGHT.ttf`` and,
        for HTML, ``FAMILY-WEIGHT.woff2``, WEIGHT being Regular, Medium, SemiBold or Bold.
    logo : str
        A ``data:`` URI shown on the cover; empty for none.
    label : str
        The words above the title ("Robustness and privacy audit").
    """

    name: str
    template_loader: Any = None
    css: str = ""
    chart_config: Mapping[str, Any] = field(default_factory=dict)
    fonts: Path | None = None
    logo: str = ""
    label: str = ""

    @property
    def font_folder(self) -> Path:
        """The folder whose fonts every document and chart of this theme uses."""
        return self.fonts or default_folder() / "fonts"
