"""An end for processes whose parent is gone."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, even in the middle of a page."""
    if sys.platform == "linux":
        with suppress(Exception):
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
