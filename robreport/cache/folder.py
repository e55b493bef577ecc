"""The cache folder: entries that appear whole or not at all, and are checked when read."""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import logging
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from filelock import FileLock, Timeout

from robreport.cache.digests import digest
from robreport.cache.entries import KINDS, Entry, entry_path, list_entries
from robreport.cache.manifest import check_manifest, make_manifest
from robreport.cache.pins import Pin, held_entries, is_alive, own_pin
from robreport.cache.root import claim, default_root
from robreport.cache.times import add_time, read_times
from robreport.errors import OutputError, UsageError

MOST_BYTES = 20 * 10**9

_TIMES = "seconds.json"
_TIMES = "seconds.json"
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# What robreport has measured before. It may be removed at any time.\n"
)
_MARKER = "robreport-cache.json"
_PATIENCE = 30.0
_GIVES_UP = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR,
     errno.ENAMETOOLONG, errno.EMLINK, errno.ENOLCK}
)  # fmt: skip
_LOG = logging.getLogger("robreport.cache")


class Info(TypedDict):
    """How many entries of a kind there are, and their size."""

    entries: int
    bytes: int


class Cache:
    """Entries by kind and key, shared by all processes of a user.

    Parameters
    ----------
    root : path or None
        The folder; `default_root` when left out. It is made when missing. A folder that holds
        something else is never touched: the cache is then not used.
    warn : callable (text) or None
        Is told once when the cache turns itself off; the log of ``robreport.cache`` by default.

    Attributes
    ----------
    root : Path
    problem : str
        Why the cache is not used; empty while it is.
    """

    def __init__(
        self,
        root: Path | str | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.root = Path(root if root is not None else default_root()).absolute()
        self.problem = ""
        self._warn = warn or _LOG.warning
        self._pins = self.root / "pins"
        try:
            claim(self.root)
            self._remove_stale()
        except (OSError, Timeout) as error:
            self._turn_off(error)

    @property
    def usable(self) -> bool:
        """Whether entries are found and kept."""
        return not self.problem

    def get(self, kind: str, key: str) -> Path | None:
        """Return the folder that was kept under a key, checked file by file; None without one.

        It stays until this process ends, whatever is pruned or cleared meanwhile. A damaged entry
        is removed and counts as none.

        Raises
        ------
        ValueError
            The kind is unknown, or the key is no digest.
        """
        entry = self._entry(kind, key)
        if not self.usable:
            return None
        try:
            if not entry.is_dir():
                return None
            with self._lock():
                if not entry.is_dir():
                    return None
                self._pin().hold(f"{kind}/{key}")
            if check_manifest(entry / "meta.json", entry / "payload", kind, key):
                os.utime(entry / "meta.json")
                return entry / "payload"
            _LOG.warning("a damaged entry of the cache was removed: %s/%s", kind, key)
            self._discard(entry)
        except FileNotFoundError:
            return None  # it was removed meanwhile
        except (OSError, Timeout) as error:
            self._turn_off(error)
        return None

    @contextlib.contextmanager
    def put(self, kind: str, key: str, **facts: object) -> Iterator[Path]:
        """Yield an empty folder to write into; it is kept under the key when the block ends well.

        Only write into the folder inside the block: when the disk is full the block is left
        there, and the cache turned off. Where another process has kept the same key meanwhile,
        what was written is dropped. `facts` (plain values) are remembered beside it.

        Raises
        ------
        ValueError
            The kind is unknown, or the key is no digest.
        """
        self._entry(kind, key)
        folder = self._scratch()
        try:
            yield folder
            self.keep(kind, key, folder, **facts)
        except OSError as error:
            if error.errno not in _GIVES_UP:
                raise
            self._turn_off(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, kind: str, key: str, folder: Path, **facts: object) -> Path | None:
        """Move a finished folder into the cache and return where it is now.

        None, with the folder left where it was, when it cannot be kept: the cache is off, or the
        folder holds links or special files.

        Raises
        ------
        ValueError
            The kind is unknown, or the key is no digest.
        """
        entry = self._entry(kind, key)
        if not self.usable:
            return None
        staged: Path | None = None
        try:
            meta = make_manifest(folder, kind, key, facts)
            if meta is None:
                return None
            staged = self._new("entry")
            staged.mkdir()
            (staged / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
            _move(folder, staged / "payload")
            if self._place(staged, entry, f"{kind}/{key}"):
                return entry / "payload"
            existing = self.get(kind, key)
            if existing is not None:
                shutil.rmtree(staged)
                return existing
            if self._place(staged, entry, f"{kind}/{key}"):  # the existing one was damaged
                return entry / "payload"
            return None
        except (OSError, Timeout) as error:
            self._turn_off(error)
            return None
        finally:
            if staged is not None and staged.exists():
                if not folder.exists() and (staged / "payload").exists():
                    _move(staged / "payload", folder)  # whatever went wrong, nothing is lost
                shutil.rmtree(staged, ignore_errors=True)

    def facts(self, kind: str, key: str) -> Mapping[str, Any]:
        """Return what was remembered beside an entry; empty when there is none."""
        try:
            meta = json.loads((self._entry(kind, key) / "meta.json").read_bytes())
            found = meta["facts"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    def artifact(self, key: str, build: Callable[[Path], None]) -> Path:
        """Return a folder that ``build(folder)`` filled, now or earlier, here or elsewhere.

        Of several processes that ask at the same time one builds and the others wait. Where the
        cache is off, the folder is a temporary one, the same for every call with this key.
        """
        full = digest("artifact", key)
        known = self.get("artifacts", full) or _LOOSE.get((self.root, full))
        if known is not None and known.is_dir():
            return known
        with contextlib.ExitStack() as stack:
            if self.usable:
                try:
                    (self.root / "locks").mkdir(exist_ok=True)
                    stack.enter_context(FileLock(self.root / "locks" / f"{full}.lock"))
                except OSError as error:
                    self._turn_off(error)
            known = self.get("artifacts", full)
            if known is not None:
                return known
            folder = self._scratch()
            try:
                build(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            kept = self.keep("artifacts", full, folder)
            if kept is not None:
                return kept
            _LOOSE[self.root, full] = folder
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return folder

    def work_folder(self) -> Path:
        """Return a folder on the cache's own disk, removed some time after this process has ended.

        Raises
        ------
        OSError
            It cannot be made.
        """
        folder = self.root / "tmp" / self._pin().name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remember_seconds(self, key: str, seconds: float) -> None:
        """Remember how long something took."""
        if not self.usable or not math.isfinite(seconds) or seconds < 0:
            return
        try:
            with self._lock():
                add_time(self.root / _TIMES, self._new("times"), key, seconds)
        except (OSError, Timeout) as error:
            self._turn_off(error)

    def seconds(self, key: str) -> float | None:
        """Return how long something took the last time; None when that is not known."""
        return read_times(self.root / _TIMES).get(key)

    def info(self) -> dict[str, Info]:
        """Return the number of entries and their bytes, by kind."""
        found: dict[str, Info] = {}
        for kind in KINDS:
            sizes = [entry.size for entry in list_entries(self.root, (kind,))]
            found[kind] = Info(entries=len(sizes), bytes=sum(sizes))
        return found

    def clear(self, kind: str | None = None) -> int:
        """Remove all entries (of a kind) that no other running process uses; return how many.

        Raises
        ------
        UsageError
            The folder is not a cache of robreport, or cannot be written; nothing was removed.
        """
        if kind is not None and kind not in KINDS:
            raise UsageError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}.")
        if not self.root.exists():
            return 0
        if not self.usable:
            raise UsageError(f"The cache cannot be cleared: {self.problem}.")
        kinds = KINDS if kind is None else (kind,)
        removed = self._remove(list_entries(self.root, kinds), 0, but=self._pin().name)
        if kind is None:
            with contextlib.suppress(OSError):
                (self.root / _TIMES).unlink(missing_ok=True)
        return removed

    def prune(self, most_bytes: int = MOST_BYTES) -> int:
        """Remove what was used longest ago until the rest fits; return how many entries went.

        What a running process uses stays.
        """
        return self._remove(list_entries(self.root, KINDS), most_bytes) if self.usable else 0

    def _remove(self, entries: list[Entry], most_bytes: int, but: str = "") -> int:
        total = sum(entry.size for entry in entries)
        removed = 0
        try:
            for entry in sorted(entries, key=lambda entry: (entry.used, entry.name)):
                if total <= most_bytes and most_bytes > 0:
                    break
                trash = self._new("trash")
                with self._lock():
                    # Asked anew each time: a process may have been given the entry just now.
                    if entry.name in held_entries(self._pins, but) or not entry.path.exists():
                        continue
                    entry.path.rename(trash)
                shutil.rmtree(trash, ignore_errors=True)
                total -= entry.size
                removed += 1
        except (OSError, Timeout) as error:
            self._turn_off(error)
        return removed

    def _remove_stale(self) -> None:
        """Remove what processes that have gone left behind."""
        held_entries(self._pins)
        for folder in (self.root / "tmp").iterdir():
            if not is_alive(self._pins, folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def _entry(self, kind: str, key: str) -> Path:
        return entry_path(self.root, kind, key)

    def _lock(self) -> FileLock:
        return FileLock(self.root / "cache.lock", timeout=_PATIENCE)

    def _pin(self) -> Pin:
        return own_pin(self._pins)

    def _new(self, word: str) -> Path:
        """Return a path that nothing has yet, on the cache's own disk."""
        return self.work_folder() / f"{word}-{uuid.uuid4().hex}"

    def _scratch(self) -> Path:
        """Return an empty folder, in the cache where that is possible."""
        if self.usable:
            try:
                folder = self._new("new")
                folder.mkdir()
            except OSError as error:
                self._turn_off(error)
            else:
                return folder
        try:
            return Path(tempfile.mkdtemp(prefix="robreport-"))
        except OSError as error:
            raise OutputError(f"No temporary folder can be made: {error.strerror}.") from None

    def _place(self, staged: Path, entry: Path, name: str) -> bool:
        """Let a finished entry appear; False when there is one already."""
        entry.parent.mkdir(exist_ok=True)
        with self._lock():
            if entry.exists():
                return False
            self._pin().hold(name)
            staged.rename(entry)
        return True

    def _discard(self, entry: Path) -> None:
        trash = self._new("trash")
        with contextlib.suppress(FileNotFoundError):
            entry.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def _turn_off(self, error: OSError | Timeout) -> None:
        if self.problem:
            return
        reason = "it is locked" if isinstance(error, Timeout) else error.strerror or str(error)
        self.problem = f"{self.root}: {reason}"
        self._warn(f"the cache is not used: {self.problem}")


_LOOSE: dict[tuple[Path, str], Path] = {}
"""Artifacts of this process that could not be kept."""


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(source, target)
        shutil.rmtree(source, ignore_errors=True)
