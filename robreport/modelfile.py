"""Digests of a model's file and of the code beside the spec that it is made with."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robreport.errors import ModelError


def file_digest(path: str | None) -> str:
    """Return the SHA-256 of a model's file; empty for a model without one.

    Raises
    ------
    ModelError
        It cannot be read.
    """
    if not path:
        return ""
    try:
        # a pipe or a device may never end
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ModelError(f"{Path(path).name} is no plain file.")
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"the file {Path(path).name} cannot be read: {error.strerror}.") from None


def code_digest(options: Mapping[str, Any], base: Path) -> str:
    """Return a digest of the files beside the spec that a loader's options name; empty for none.

    These are files such as initial weights, and, when an option names code as
    ``module:callable``, every Python file there, since any of them may be imported by it.
    """
    words = [value for value in options.values() if isinstance(value, str)]
    files = {base / word for word in words if _is_file(base / word)}
    if any(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", word) for word in words):
        # an editor's lock is a link to nothing, and a folder may be called so, too
        files |= {path for path in base.glob("*.py") if path.is_file()}
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + file_digest(str(path)).encode() + b"\0")
    return digest.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a text that can be no file name
