"""Try a stranger's file out without letting it take all the memory there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

EXTRA = 4 << 30
"""Bytes that trying a network out may take beside what its file takes."""


@contextlib.contextmanager
def memory_bound(extra: int = EXTRA) -> Iterator[None]:
    """Let this process take only so many more bytes meanwhile, where the system can do that.

    What asks for more gets none: a MemoryError, or what a library makes of it.
    """
    limit = _limit(extra)
    if limit is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY and soft <= limit:
        yield
        return
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _limit(extra: int) -> int | None:
    """Return what the process has as data now and `extra`; None where nobody says."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024 + extra
    return None
