"""Process trees: who descends from whom, what memory they hold, and how to end them all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

_LINUX = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HAS_CHILDREN_FILE = Path(f"/proc/self/task/{os.getpid()}/children").exists()
_HELD = re.compile(rb"^(?:RssAnon|RssShmem):\s+(\d+) kB", re.M)
_SHARED_OUT = re.compile(rb"^(?:Pss_Anon|Pss_Shmem):\s+(\d+) kB", re.M)


def _prctl(option: int, value: int) -> bool:
    """Ask the Linux kernel for a property of this process; False where there is no such thing."""
    if not _LINUX:
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def adopt_orphans() -> bool:
    """Make this process the parent of descendants whose own parent has gone (Linux only).

    A process that leaves its session and its parent ("daemonises") then still stands under the
    process that answers for it.
    """
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when `parent` dies (Linux only).

    Exits at once when `parent` has died before the kernel could be asked.
    """
    asked = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    return asked


def children(pid: int) -> list[int]:
    """Return the direct children of a process; empty when it has gone."""
    if _HAS_CHILDREN_FILE:
        found: list[int] = []
        # A process that ends while it is looked at makes either call fail: it has no children.
        with contextlib.suppress(OSError):
            for task in os.scandir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    found += map(int, Path(task.path, "children").read_bytes().split())
        return found
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def descendants(pid: int) -> list[int]:
    """Return every process below `pid`, those nearest to it first."""
    found: list[int] = []
    level = [pid]
    seen = {pid}
    while level:
        level = [c for parent in level for c in children(parent) if c not in seen]
        seen.update(level)
        found += level
    return found


def held_memory(pids: Iterable[int], most: int | None = None) -> int:
    """Return the bytes of memory that processes hold together, mapped files left out.

    Pages of a file can be dropped by the kernel at any time, so that a data set opened with
    ``mmap`` does not count. The cheap sum counts a page once for each process that shares it
    after a fork; it is an upper bound, and is replaced by the exact sum when above `most`.
    """
    pids = list(pids)
    total = sum(_held(pid) for pid in pids)
    if most is not None and total > most and len(pids) > 1:
        total = sum(_shared_out(pid) for pid in pids)
    return total


def _held(pid: int) -> int:
    if _LINUX:
        with contextlib.suppress(OSError):
            lines = _HELD.findall(Path(f"/proc/{pid}/status").read_bytes())
            if lines:
                return 1024 * sum(map(int, lines))
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _shared_out(pid: int) -> int:
    """Bytes of one process, each shared page divided by the number of those that share it."""
    with contextlib.suppress(OSError):
        lines = _SHARED_OUT.findall(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
        if lines:
            return 1024 * sum(map(int, lines))
    return _held(pid)


def kill_all(pids: Iterable[int]) -> None:
    """Send SIGKILL to each process; those that have gone, or are another user's, are passed by."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Send SIGKILL to the process group that `leader` leads, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def oom_kills() -> int | None:
    """Return how often the kernel has killed for lack of memory since it started, if it says."""
    with contextlib.suppress(OSError):
        found = re.search(rb"^oom_kill (\d+)", Path("/proc/vmstat").read_bytes(), re.M)
        if found:
            return int(found[1])
    return None
