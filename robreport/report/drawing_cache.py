"""Drawings that were made before: one file per specification, fonts and version of the drawer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from robreport.distributions import version_of
from robreport.report import fonts
from robreport.report.cache_folder import keep

MOST_FILES, MOST_BYTES = 2000, 64_000_000
"""What the folder may hold; what was not used for longest goes first."""
_LARGEST = 20_000_000


class DrawingCache:
    """The drawings in ``charts/`` of a cache folder, as the drawer made them.

    Parameters
    ----------
    cache : Path
        The cache folder; it need not exist.
    font_folder : Path
        The fonts decide how wide a text is, so that drawings depend on their content.
    """

    def __init__(self, cache: Path, font_folder: Path) -> None:
        self._folder = cache / "charts"
        digest = hashlib.sha256(version_of("vl-convert-python").encode())
        for font in fonts.font_files(font_folder, "ttf"):
            digest.update(f"\n{font.path.name}\n".encode())
            digest.update(hashlib.sha256(font.path.read_bytes()).digest())
        self._common = digest.digest()
        self._wrote = False

    def get(self, request: str) -> str | None:
        """Return the drawing that once answered `request`; None when there is no sound one."""
        path = self._path(request)
        with suppress(OSError, UnicodeDecodeError):
            if path.stat().st_size <= _LARGEST:
                digest, _, text = path.read_bytes().decode().partition("\n")
                if digest == _digest(text):
                    with suppress(OSError):
                        os.utime(path)
                    return text
        return None

    def put(self, request: str, text: str) -> None:
        """Keep a drawing for the next time."""
        with suppress(UnicodeEncodeError):
            keep(self._path(request), f"{_digest(text)}\n{text}")
            self._wrote = True

    def prune(self) -> None:
        """Remove what was not used for longest, when something came and there is too much."""
        if not self._wrote:
            return
        found = []
        with suppress(OSError):
            for path in self._folder.glob("*.svg"):
                state = path.stat()
                found.append((state.st_mtime, path.name, state.st_size))
        for name in _surplus(sorted(found, reverse=True)):
            with suppress(OSError):
                (self._folder / name).unlink()

    def _path(self, request: str) -> Path:
        digest = hashlib.sha256(self._common + request.encode("utf-8", "surrogatepass"))
        return self._folder / f"{digest.hexdigest()}.svg"


def _surplus(newest_first: Sequence[tuple[float, str, int]]) -> list[str]:
    """The names of the files that do not fit."""
    size, names = 0, []
    for i, (_, name, length) in enumerate(newest_first):
        size += length
        if i >= MOST_FILES or size > MOST_BYTES:
            names.append(name)
    return names


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
