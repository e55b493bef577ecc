"""What an entry consists of, written when it is kept and checked when it is read."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robreport.cache.digests import digest_file

_VERSION = 1
_MOST_META = 64 << 20


def make_manifest(
    folder: Path, kind: str, key: str, facts: Mapping[str, object]
) -> dict[str, Any] | None:
    """Return the manifest of a folder; None when it holds links or special files.

    Raises
    ------
    OSError
        A file cannot be read.
    TypeError, ValueError
        The facts are not plain JSON.
    """
    sizes = _sizes(folder)
    if sizes is None:
        return None
    meta = {
        "version": _VERSION,
        "kind": kind,
        "key": key,
        "created": time.time(),
        "bytes": sum(sizes.values()),
        "files": {name: [size, digest_file(folder / name)] for name, size in sizes.items()},
        "facts": dict(facts),
    }
    json.dumps(meta, allow_nan=False)
    return meta


def check_manifest(meta_file: Path, folder: Path, kind: str, key: str) -> bool:
    """Tell whether a folder is exactly what its manifest says, to the last byte."""
    try:
        if meta_file.stat().st_size > _MOST_META:
            return False
        meta = json.loads(meta_file.read_bytes())
        if [meta["version"], meta["kind"], meta["key"]] != [_VERSION, kind, key]:
            return False
        declared = {name: (size, hashed) for name, (size, hashed) in meta["files"].items()}
        sizes = _sizes(folder)
        if sizes is None or sizes != {name: size for name, (size, _) in declared.items()}:
            return False
        return all(digest_file(folder / name) == hashed for name, (_, hashed) in declared.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _sizes(folder: Path) -> dict[str, int] | None:
    """Return the size of every file below a folder; None when something is not a plain file."""
    if folder.is_symlink():
        return None
    found: dict[str, int] = {}
    for here, folders, files in os.walk(folder, onerror=_raise):
        for name in folders:
            if Path(here, name).is_symlink():
                return None
        for name in files:
            path = Path(here, name)
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return None
            found[path.relative_to(folder).as_posix()] = status.st_size
    return found


def _raise(error: OSError) -> None:
    raise error
