"""Which entries a running process uses: nothing else may remove those.

A pin is a pair of files, ``ID.lock`` and ``ID.keys``. The process holds the lock as long as it
lives, however it dies; the keys name the entries that it was given.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

_OURS: dict[tuple[int, Path], Pin] = {}


class Pin:
    """This process's pin in one cache, made when first needed.

    Raises
    ------
    OSError
        The cache cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._keys = folder / f"{self.name}.keys"
        self._lock = FileLock(folder / f"{self.name}.lock", thread_local=False)
        # Another process may be asking just now whether anybody holds the new file.
        self._lock.acquire(timeout=5)

    def hold(self, entry: str) -> None:
        """Mark an entry as used until this process ends."""
        with self._keys.open("a", encoding="utf-8") as file:
            file.write(f"{entry}\n")


def own_pin(folder: Path) -> Pin:
    """Return the pin of this process, one for all that it does with a cache."""
    mine = (os.getpid(), folder)
    if mine not in _OURS:
        for theirs in [other for other in _OURS if other[0] != mine[0]]:
            # Inherited by a fork: the lock is the parent's, and must outlive this copy of it.
            _INHERITED.append(_OURS.pop(theirs))
        _OURS[mine] = Pin(folder)
    return _OURS[mine]


_INHERITED: list[Pin] = []


def is_alive(folder: Path, name: str) -> bool:
    """Tell whether the process of a pin is still there; clears the pin away when it is not."""
    lock_file = folder / f"{name}.lock"
    if any(pin.name == name for (pid, _), pin in _OURS.items() if pid == os.getpid()):
        return True
    if not lock_file.exists():
        return False
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return True  # it cannot be asked: better to keep too much
    with contextlib.suppress(OSError):
        (folder / f"{name}.keys").unlink(missing_ok=True)
        lock_file.unlink(missing_ok=True)
    lock.release()
    return False


def held_entries(folder: Path, but: str = "") -> set[str]:
    """Return the entries that running processes use, those of one pin left out."""
    held: set[str] = set()
    with contextlib.suppress(OSError):
        for lock_file in folder.glob("*.lock"):
            if lock_file.stem != but and is_alive(folder, lock_file.stem):
                with contextlib.suppress(OSError):
                    held.update((folder / f"{lock_file.stem}.keys").read_text().split())
    return held
