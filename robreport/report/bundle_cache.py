"""The JavaScript that makes charts interactive, made once per version of vl-convert."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from robreport.distributions import version_of
from robreport.report.cache_folder import default_cache, keep
from robreport.report.figures import ChartProcess

BUNDLE_SECONDS = 60.0
_LARGEST = 4_000_000


def vega_bundle(cache: Path | None = None) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; empty when it cannot be made.

    A document without it shows the same charts, only still.
    """
    folder = (cache or default_cache()) / "charts"
    path = folder / f"vega-{version_of('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        if path.stat().st_size <= _LARGEST:
            text = path.read_text("utf-8")
            if text.strip():
                return text
    with ChartProcess() as process:
        answer = process.ask(json.dumps({"bundle": True}), BUNDLE_SECONDS)
    text = str(answer.get("bundle") or "")
    # the text must not end its own <script>; in JavaScript strings both spellings are the same
    text = text.replace("\r", "").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    if text:
        keep(path, text)
    return text
