"""Where things that are made once are kept between runs, and how they are written there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def default_cache() -> Path:
    """Return the user's cache folder, or the one that ``ROBREPORT_CACHE`` names."""
    given = os.environ.get("ROBREPORT_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("robreport")


def keep(path: Path, text: str) -> None:
    """Write beside and rename, so that nobody reads half a file; no cache is no harm."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text.encode())
        beside.replace(path)
    with suppress(OSError):
        beside.unlink()
