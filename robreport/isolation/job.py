"""One call to be made in a process of its own, and what comes back of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["exception", "exit", "signal", "memory", "timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call in a process of its own.

    Attributes
    ----------
    key : str
        Unique among those pending; reports carry it.
    target : str
        ``package.module:function``, imported in the process and called as
        ``function(payload, tell)``. ``tell(done, total, what)`` reports progress. What it returns
        must be plain JSON of at most a megabyte; larger results belong in a file.
    payload : Any
        Anything small that pickles.
    timeout : float or None
        Seconds from the start of the process.
    memory : int or None
        Bytes that the process and those that it starts may hold together; mapped files do not
        count.
    log : Path
        Takes everything that the process and its libraries print; cut short beyond 8 MB.
    mapped : int
        Bytes of files that the job will open with ``mmap_mode="c"``: the limit on allocation,
        which counts them, is raised by as much.
    """

    key: str
    target: str
    payload: Any
    log: Path
    timeout: float | None = None
    memory: int | None = None
    mapped: int = 0

    def __post_init__(self) -> None:
        module, colon, function = self.target.partition(":")
        if not (module and colon and function):
            raise ValueError(f"job target must read 'module:function', found {self.target!r}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise ValueError(f"job timeout must be a positive number, found {self.timeout}")
        if self.memory is not None and self.memory <= 0:
            raise ValueError(f"job memory must be a positive number, found {self.memory}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job has started (``done = total = 0``, no words), or says how far it is."""

    key: str
    done: int
    total: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job returned `value`. `peak_memory` is in bytes, the most that was resident at once."""

    key: str
    value: Any
    seconds: float
    peak_memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """A job did not return; `error` is one sentence without its full stop."""

    key: str
    kind: Kind
    error: str
    trace: str = ""
    seconds: float = 0.0
    peak_memory: int = 0


Report = Progress | Finished | Crashed
