"""One job in progress: what it has sent so far, and what is known of its end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from robreport.isolation.endings import Ending
from robreport.isolation.joblog import JobLog
from robreport.isolation.jobprocess import MOST_ANSWER, plain_text
from robreport.isolation.processes import oom_kills

CHUNK = 1 << 16
_PAUSE = 0.05  # seconds between two reports of progress that are passed on
_MOST_STEPS = 1 << 62


def _refuse(constant: str) -> None:
    """Keep out NaN and Infinity, which are no JSON."""
    raise ValueError(constant)


class Running:
    """One job in progress, as the foreman sees it."""

    def __init__(self, job: dict[str, Any], channel: int, log: JobLog) -> None:
        self.job = job
        self.key: str = job["key"]
        self.pid = 0
        self.channel = channel
        self.log = log
        self.started = time.monotonic()
        self.answered: float | None = None
        self.ending = Ending(
            timeout=job["timeout"], memory=job["memory"], oom_kills_before=oom_kills()
        )
        self.below: list[int] = []
        self._buffer = bytearray()
        self._told = 0.0

    def read(self) -> list[Mapping[str, Any]] | None:
        """Take what the job has sent; return progress to pass on, or None when it sent nothing."""
        try:
            chunk = os.read(self.channel, CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk:
            self.close_channel()
            return None
        if self.answered is not None:
            return []
        self._buffer += chunk
        passed: list[Mapping[str, Any]] = []
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            passed += self._take(line)
        if len(self._buffer) > 2 * MOST_ANSWER:
            self.ending.reason = "garbage"
        return passed

    def _take(self, line: bytearray) -> list[Mapping[str, Any]]:
        if self.answered is not None:
            return []  # nothing follows an answer
        try:
            message = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            message = None
        match message:
            case {"progress": [int(done), int(total), str(what)]}:
                now = time.monotonic()
                if now - self._told < _PAUSE or max(abs(done), abs(total)) > _MOST_STEPS:
                    return []
                self._told = now
                return [{"progress": [done, total, plain_text(what[:200])], "key": self.key}]
            case {"value": _} | {"error": str(), "kind": "exception" | "memory", "trace": str()}:
                self.answered = time.monotonic()
                self.ending.answer = message
            case _:
                self.ending.reason = "garbage"
        return []

    def close_channel(self) -> None:
        if self.channel >= 0:
            os.close(self.channel)
            self.channel = -1
