"""Where an entry lies, and which there are."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KINDS = ("outcomes", "data", "artifacts", "bundles")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: ``kind/key``, its folder, bytes, and the time when it was last used."""

    name: str
    path: Path
    size: int
    used: float


def entry_path(root: Path, kind: str, key: str) -> Path:
    """Return the folder of an entry.

    Raises
    ------
    ValueError
        The kind is unknown, or the key is no digest.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    if not _KEY.fullmatch(key):
        raise ValueError(f"a cache key is a SHA-256 in hexadecimal, found {key!r}")
    return root / kind / key[:2] / key


def list_entries(root: Path, kinds: Iterable[str]) -> list[Entry]:
    """Return every entry of some kinds, damaged ones with a size of 0."""
    found = []
    for kind in kinds:
        for path in (root / kind).glob("??/*"):
            if not _KEY.fullmatch(path.name):
                continue
            size, used = 0, 0.0
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                used = (path / "meta.json").stat().st_mtime
                size = int(json.loads((path / "meta.json").read_bytes())["bytes"])
            found.append(Entry(f"{kind}/{path.name}", path, size, used))
    return found
