"""The document as one HTML file that works offline, with scripts and without."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robreport.document import Document, FigureBlock
from robreport.report import chart_theme
from robreport.report.bundle_cache import vega_bundle
from robreport.report.figures import drawn_figures, fill_charts
from robreport.report.page import render_page, spec_id
from robreport.report.records import RecordFiles
from robreport.report.theme import Theme, default_folder

MOST_ARRAY_BYTES = 500_000
"""Larger arrays are represented by their digest; the PDF and the run folder have them."""


def render_html(
    document: Document, theme: Theme, record: RecordFiles, *, cache: Path | None = None
) -> bytes:
    """Return the report as a self-contained page.

    Static drawings stand in place; where scripts run, each is swapped for the interactive chart
    once that has been drawn. Nothing is fetched, and no script runs but the two whose hashes the
    content security policy names.
    """
    document = fill_charts(document, theme, cache=cache)
    figures = drawn_figures(document)
    scripts: list[str] = []
    bundle = vega_bundle(cache) if figures else ""
    if bundle:
        upgrade = (default_folder() / "upgrade.js").read_text("utf-8")
        scripts = [bundle, upgrade]
    page = render_page(
        document,
        theme,
        medium="screen",
        more={
            "policy": _policy(scripts),
            "scripts": [Markup(script) for script in scripts],
            "specs": [
                {"id": spec_id(f), "json": script_json(_live_spec(f, theme))} for f in figures
            ]
            if scripts
            else [],
            "record": _record(record),
        },
    )
    return page.encode("utf-8", "replace")


def _live_spec(figure: FigureBlock, theme: Theme) -> dict[str, Any]:
    """The drawn specification, with tooltips."""
    spec = chart_theme.prepare(figure.spec, theme)
    config = chart_theme.merged({"mark": {"tooltip": True}}, spec["config"])
    return {**spec, "config": config}


def _policy(scripts: list[str]) -> str:
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() + "'"
        for s in scripts
    ]
    allowed = " ".join(hashes) or "'none'"
    return (
        "default-src 'none'; "
        f"script-src {allowed}; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: object) -> Markup:
    """Return JSON that cannot leave the ``<script>`` element it stands in."""
    return _inert(json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False))


def _inert(text: str) -> Markup:
    """Spell ``<``, ``>`` and ``&`` as JSON escapes: they occur inside strings only."""
    return Markup(
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _record(record: RecordFiles) -> dict[str, object]:
    digest = hashlib.sha256(record.arrays_npz).hexdigest()
    arrays: dict[str, object] = {"sha256": digest, "bytes": len(record.arrays_npz)}
    if len(record.arrays_npz) <= MOST_ARRAY_BYTES:
        arrays["base64"] = base64.b64encode(record.arrays_npz).decode()
    return {
        "sha256": hashlib.sha256(record.audit_json).hexdigest(),
        "json": _inert(record.audit_json.decode("utf-8")),
        "arrays": script_json(arrays),
    }
