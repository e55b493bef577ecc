"""How a job ended, and the one sentence that says so."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robreport.isolation.joblog import JobLog
from robreport.isolation.jobprocess import MOST_ANSWER, SILENCED, says_no_memory
from robreport.isolation.processes import oom_kills

_HINTS = {
    "SIGSEGV": "segmentation fault: native code used memory that is not its own",
    "SIGBUS": "bus error: a file that was mapped into memory shrank, or the disk is full",
    "SIGABRT": "native code gave up",
    "SIGILL": "illegal instruction: a library was built for another processor",
    "SIGFPE": "native code divided by zero",
    "SIGTERM": "another process asked it to end",
    "SIGXCPU": "the system's limit of processor time",
    "SIGXFSZ": "the system's limit of file size",
}


@dataclass(slots=True, kw_only=True)
class Ending:
    """What the foreman knows of a job by the time that its process has gone.

    ``answer`` is what the process sent; ``reason`` why the foreman ended it, empty when it did
    not; ``code`` its exit status, negative for a signal.
    """

    timeout: float | None
    memory: int | None
    oom_kills_before: int | None
    answer: Mapping[str, Any] | None = None
    reason: str = ""
    code: int = 0
    peak_memory: int = 0


def size_words(n: int) -> str:
    """Return a number of bytes as people write it: 8 GB, 1.5 GB, 300 MB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} bytes"


def seconds_words(seconds: float) -> str:
    """Return a duration as people write it: 30 min, 90 s, 0.5 s."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"


def judge(ending: Ending, log: JobLog) -> dict[str, Any]:
    """Return ``{"finished": value}`` or ``{"crashed": kind, "error": ..., "trace": ...}``.

    An answer stands, whatever happened to the process after it.
    """
    answer = ending.answer
    if answer is not None and "value" in answer:
        return {"finished": answer["value"]}
    if answer is not None:
        error = str(answer["error"])
        # A graphics card's memory has no limit of ours.
        if answer["kind"] == "memory" and ending.memory is not None and "CUDA" not in error:
            error = f"{error} (limit {size_words(ending.memory)})"
        return _crashed(str(answer["kind"]), error, str(answer["trace"]))
    match ending.reason:
        case "timeout" if ending.timeout is not None:
            error = f"there was no result within {seconds_words(ending.timeout)}, the time limit"
            return _crashed("timeout", error, log.trace())
        case "memory" if ending.memory is not None:
            return _crashed("memory", _too_much(ending.memory), "")
        case "garbage":
            error = (
                "the process sent something other than progress and one answer of at most "
                f"{MOST_ANSWER:,} bytes, and was ended"
            )
            return _crashed("exit", error, "")
    if ending.code < 0:
        return _killed(ending, log)
    if ending.code == SILENCED:
        error = "the process closed files that it had not opened, and could not answer"
        return _crashed("exit", error, "")
    error = f"the process ended with exit code {ending.code} before there was a result"
    return _crashed("exit", error, "")


def _too_much(limit: int) -> str:
    # how much it was at that instant differs from run to run, and the words stand in the record
    return f"the process used more memory than {size_words(limit)}, the limit, and was ended"


def _killed(ending: Ending, log: JobLog) -> dict[str, Any]:
    try:
        name = signal.Signals(-ending.code).name
    except ValueError:
        name = f"signal {-ending.code}"
    if name == "SIGKILL":
        return _killed_from_outside(ending)
    if ending.memory is not None and says_no_memory(log.end(4000)):
        limit = size_words(ending.memory)
        error = f"the process ran out of memory (limit {limit}): native code gave up with {name}"
        return _crashed("memory", error, log.trace())
    hint = f" ({_HINTS[name]})" if name in _HINTS else ""
    return _crashed("signal", f"the process was killed by {name}{hint}", log.trace())


def _killed_from_outside(ending: Ending) -> dict[str, Any]:
    """A SIGKILL that the foreman did not send: the kernel's for lack of memory, or a person's."""
    now = oom_kills()
    if now is None or ending.oom_kills_before is None or now > ending.oom_kills_before:
        error = "the process was killed by SIGKILL, it seems for lack of memory"
        return _crashed("memory", error, "")
    error = "the process was killed by SIGKILL from outside"
    return _crashed("signal", error, "")


def _crashed(kind: str, error: str, trace: str) -> dict[str, Any]:
    return {"crashed": kind, "error": error, "trace": trace}
