"""Draws charts in a process of its own: JSON lines in, JSON lines out.

vl-convert holds the GIL while it draws, so a chart that never ends can only be stopped from
outside. Run as a script, it imports nothing of robreport: it starts fast, and what it is given
stays apart from what measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import IO, Any

CPU_SECONDS = 600
_SNIPPET = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, even in the middle of a chart."""
    with contextlib.suppress(Exception):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    if sys.platform == "linux":
        with contextlib.suppress(Exception):
            import ctypes
            import signal

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import vl_convert

    try:
        if "fonts" in request:
            vl_convert.register_font_directory(request["fonts"])
            return {"ready": True}
        if "bundle" in request:
            return {"bundle": vl_convert.javascript_bundle(_SNIPPET)}
        svg = vl_convert.vegalite_to_svg(request["spec"], allowed_base_urls=[])
        return {"svg": svg}
    except (ValueError, RuntimeError, TypeError) as error:
        lines = str(error).strip().splitlines()
        return {"error": lines[0] if lines else type(error).__name__}


def main() -> None:
    """Answer each line of standard input with one line on standard output."""
    _die_with_parent()
    # whatever a library prints must not mix with the answers
    answers: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
