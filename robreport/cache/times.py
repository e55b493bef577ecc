"""How long things took, for the time that `robreport check` announces."""

from __future__ import annotations

import json
import math
from pathlib import Path

_MOST = 20_000


def read_times(path: Path) -> dict[str, float]:
    """Return seconds by key; what is damaged is left out."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: float(value)
        for key, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0
    }


def add_time(path: Path, scratch: Path, key: str, seconds: float) -> None:
    """Add one time, forgetting the oldest beyond 20,000; the file is replaced at once.

    Raises
    ------
    OSError
        It cannot be written.
    """
    times = read_times(path)
    times.pop(key, None)
    times[key] = round(seconds, 3)
    for old in list(times)[:-_MOST]:
        del times[old]
    scratch.write_text(json.dumps(times), encoding="utf-8")
    scratch.replace(path)
