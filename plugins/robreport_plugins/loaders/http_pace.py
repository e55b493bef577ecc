"""When the next request may be sent: a rate that every process of the user keeps together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# More processes than this do not wait for one service at a time; a time further ahead than they
# could have booked is of another boot, or of a slower rate.
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time as the client sees it; tests have one of their own.

    Attributes
    ----------
    now : callable
        Seconds that never go back, the same in every process.
    wall : callable
        Seconds since 1970.
    sleep : callable
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Pace:
    """Lets requests through one by one, at most `rate` per second.

    The time of the next one stands in a file, so that processes that measure at the same time
    keep the rate together. Where the file cannot be used, each keeps it for itself.
    """

    def __init__(self, rate: float, file: Path | None, clock: Clock) -> None:
        self._gap = 1.0 / rate
        self._file = file
        self._clock = clock
        self._next = float("-inf")

    def wait(self) -> None:
        """Return when the next request may be sent."""
        now = self._clock.now()
        start = self._booked(now)
        if start > now:
            self._clock.sleep(start - now)

    def _booked(self, now: float) -> float:
        if self._file is None:
            return self._book(now)
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self._file}.lock", timeout=10, mode=0o600):
                self._next = max(self._next, self._read())
                start = self._book(now)
                self._file.write_text(f"{self._next!r}\n", encoding="ascii")
                return start
        except (OSError, Timeout):
            self._file = None
            return self._book(now)

    def _book(self, now: float) -> float:
        if self._next > now + _MOST_WAITING * self._gap:
            self._next = now
        start = max(now, self._next)
        self._next = start + self._gap
        return start

    def _read(self) -> float:
        try:
            text = self._file.read_text(encoding="ascii")[:64] if self._file is not None else ""
            return float(text)
        except (OSError, ValueError):
            return float("-inf")


def pace_file(address: str) -> Path | None:
    """Return the file of the user's in which processes agree on a service's pace."""
    import platformdirs

    try:
        folder = platformdirs.user_state_path("robreport", appauthor=False) / "pace"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / hashlib.sha256(address.encode()).hexdigest()[:32]
