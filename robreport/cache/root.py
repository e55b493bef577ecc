"""Which folder is the cache, and that it is nobody else's."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from robreport.cache.entries import KINDS

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# What robreport has measured before. It may be removed at any time.\n"
)
_MARKER = "robreport-cache.json"
_VERSION = 1


def default_root() -> Path:
    """Return where the cache is when nothing else is said: ROBREPORT_CACHE, or the user's own."""
    given = os.environ.get("ROBREPORT_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("robreport", appauthor=False))


def claim(root: Path) -> None:
    """Make a folder a cache, or see that it is one.

    Raises
    ------
    OSError
        It cannot be made or written, holds something else, or belongs to another version.
    """
    marker = root / _MARKER
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not marker.exists():
        # The marker is the first file that any process puts there.
        # Only the charts' script, which a document may need before anything is measured, is older.
        if any(item.name != "charts" for item in root.iterdir()) and not marker.exists():
            raise FileExistsError(errno.EEXIST, "it holds something other than a cache", str(root))
        marker.write_text(json.dumps({"version": _VERSION}), encoding="utf-8")
        (root / _TAG).write_text(_TAG_TEXT, encoding="utf-8")
    elif (text := marker.read_text(encoding="utf-8")) and text != json.dumps({"version": _VERSION}):
        raise FileExistsError(errno.EEXIST, "it is of another version of robreport", str(root))
    for folder in (*KINDS, "pins", "tmp", "locks"):
        (root / folder).mkdir(exist_ok=True)
    if not os.access(root / "tmp", os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "it cannot be written", str(root))
