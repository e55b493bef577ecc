"""`Workshop`: where jobs are handed in, and their reports come back."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from robreport.errors import RobreportError
from robreport.isolation.foreman import HEADER, interpreter_options
from robreport.isolation.job import Crashed, Finished, Job, Kind, Progress, Report
from robreport.isolation.joblog import tail
from robreport.isolation.processes import kill_group

PRELOADABLE = (
    "numpy", "scipy", "scipy.stats", "pandas", "sklearn", "sklearn.base", "sklearn.pipeline",
    "sklearn.tree", "sklearn.linear_model", "skops.io", "torch", "numba", "pydantic",
    "safetensors", "altair",
    "robreport.metric", "robreport.result", "robreport.bundle", "robreport.outcome",
)  # fmt: skip
"""What a foreman may import before it forks. Each was found to start nothing when imported."""

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS",
)  # fmt: skip
_MOST_RESTARTS = 3
_PATIENCE = 8.0


@dataclass(slots=True)
class _Crew:
    """A running foreman, the connection to it, and the thread that listens."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    folder: Path
    live: dict[str, int] = field(default_factory=dict)
    listener: threading.Thread | None = None
    dismissed: bool = False


class Workshop:
    """Runs jobs, `workers` at a time; a context manager, at whose end no process is left.

    To be used from one thread, which need not be the main one. Nothing depends on signals: when
    this process is killed, the foreman sees it and ends every job.

    Parameters
    ----------
    workers : int
        Jobs at a time.
    threads : int
        Threads of the numerical libraries in each job.
    preload : tuple of str
        Modules of `PRELOADABLE` that most jobs need; imported once.
    method : "fork", "spawn" or None
        How a process starts; None for the system's best: a fork of the foreman (0.01 s), or on
        macOS, whose own libraries do not survive a fork, a fresh interpreter.
    env : mapping
        Further environment variables of the jobs.

    Raises
    ------
    ValueError
        `workers` or `threads` below one, or a module that must not be preloaded.
    """

    def __init__(
        self,
        workers: int,
        threads: int = 1,
        preload: tuple[str, ...] = ("numpy",),
        method: Literal["fork", "spawn"] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if workers < 1 or threads < 1:
            raise ValueError(f"workers and threads must be at least 1, found {workers}, {threads}")
        if strange := [name for name in preload if name not in PRELOADABLE]:
            raise ValueError(f"{', '.join(strange)} must not be imported before a fork")
        self.workers = workers
        self.threads = threads
        self._method = method or ("spawn" if sys.platform == "darwin" else "fork")
        self._preload = preload if self._method == "fork" else ()
        self._env = dict(env or {})
        self._jobs: dict[str, Job] = {}
        self._reports: queue.SimpleQueue[Report | _Crew] = queue.SimpleQueue()
        self._kept: list[Report] = []
        self._crew: _Crew | None = None
        self._restarts = 0

    def __enter__(self) -> Self:
        # the foreman is hired with the first job: where all is known, none is needed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel_all()

    @property
    def pending(self) -> int:
        """Number of jobs whose `Finished` or `Crashed` has not been handed out yet."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Have a job done as soon as a worker is free, in the order of submission.

        Raises
        ------
        ValueError
            A job of that key is pending.
        TypeError, pickle.PicklingError, AttributeError
            The payload does not pickle.
        """
        if job.key in self._jobs:
            raise ValueError(f"a job {job.key!r} is pending already")
        message = _packed(job)
        self._jobs[job.key] = job
        self._send(self._foreman(), message)

    def next_report(self, timeout: float | None = None) -> Report | None:
        """Return the next report; None when `timeout` passed, or when no job is pending."""
        if self._kept:
            return self._handed(self._kept.pop(0))
        while self._jobs:
            try:
                report = self._reports.get(timeout=timeout)
            except queue.Empty:
                return None
            if not isinstance(report, _Crew):
                return self._handed(report)
            self._recover(report)
            if self._kept:
                return self._handed(self._kept.pop(0))
        return None

    def cancel_all(self) -> None:
        """End every job at once; on return none of their processes is alive.

        Jobs that had ended before are still reported by `next_report`; the others are forgotten.
        """
        crew, self._crew = self._crew, None
        if crew is not None:
            _dismiss(crew)
        ended: list[Report] = [r for r in self._kept if not isinstance(r, Progress)]
        with contextlib.suppress(queue.Empty):
            while True:
                report = self._reports.get_nowait()
                if isinstance(report, Finished | Crashed):
                    ended.append(report)
        self._kept = ended
        keys = {report.key for report in ended}
        self._jobs = {key: job for key, job in self._jobs.items() if key in keys}

    def _handed(self, report: Report) -> Report:
        if not isinstance(report, Progress):
            self._jobs.pop(report.key, None)
        return report

    def _foreman(self) -> _Crew:
        if self._crew is None:
            self._crew = _hire(self.workers, self.threads, self._method, self._preload, self._env)
            self._crew.listener = threading.Thread(
                target=_listen, args=(self._crew, self._reports), daemon=True, name="robreport"
            )
            self._crew.listener.start()
        return self._crew

    def _send(self, crew: _Crew, message: bytes) -> None:
        # Where the foreman has died, its listener says so, and the job is sent again.
        with contextlib.suppress(OSError):
            crew.socket.sendall(message)

    def _recover(self, crew: _Crew) -> None:
        """Report what a foreman that died was doing, and go on with another one."""
        if crew is not self._crew:
            return
        words = tail(crew.folder / "foreman.log").strip()
        _dismiss(crew)
        self._crew = None
        self._restarts += 1
        last_line = words.splitlines()[-1] if words else ""
        how = f"exit status {crew.process.returncode}" + (f": {last_line}" if last_line else "")
        over = self._restarts > _MOST_RESTARTS
        told = {report.key for report in self._kept}
        for key in [k for k in self._jobs if k not in told and (k in crew.live or over)]:
            error = f"it was lost when the process that watches all jobs died ({how})"
            self._kept.append(Crashed(key=key, kind="exit", error=error, trace=words))
            told.add(key)
        for key, job in self._jobs.items():
            if key not in told:
                self._send(self._foreman(), _packed(job))


def _packed(job: Job) -> bytes:
    order = {
        "key": job.key, "target": job.target, "timeout": job.timeout, "memory": job.memory,
        "mapped": job.mapped, "log": os.fspath(job.log.absolute()),
    }  # fmt: skip
    head = json.dumps(order).encode()
    payload = pickle.dumps(job.payload)
    return HEADER.pack(len(head), len(payload)) + head + payload


def _hire(
    workers: int, threads: int, method: str, preload: tuple[str, ...], env: Mapping[str, str]
) -> _Crew:
    """Start a foreman.

    Raises
    ------
    RobreportError
        This system has no process groups (Windows), or no process can be started.
    """
    if os.name != "posix":
        raise RobreportError(
            "Metrics run in processes that only Linux, macOS and WSL offer; use one of these."
        )
    surroundings = dict(os.environ)
    surroundings |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    # The order of sets must not depend on the run.
    surroundings.setdefault("PYTHONHASHSEED", "0")
    surroundings |= env
    try:
        folder = Path(tempfile.mkdtemp(prefix="robreport-"))
    except OSError as error:
        raise RobreportError(f"No temporary folder can be made: {error.strerror}.") from None
    ours, theirs = socket.socketpair()
    # sys.path is handed over whole, first thing: where this process found robreport, the foreman
    # does, and a json.py in the current folder is not taken for the library's.
    path = [str(Path(entry).absolute()) for entry in sys.path]
    code = (
        f"import sys; sys.path[:] = {path!r}\n"
        "from robreport.isolation.foreman import main\n"
        f"main({theirs.fileno()}, {workers}, {method!r}, {str(folder)!r}, "
        f"{os.getpid()}, {preload!r})"
    )
    try:
        with (folder / "foreman.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *interpreter_options(), "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=surroundings,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise RobreportError(
            f"The process that starts metrics cannot be started: {error.strerror}."
        ) from None
    finally:
        theirs.close()
    return _Crew(process, ours, folder)


def _listen(crew: _Crew, reports: queue.SimpleQueue[Report | _Crew]) -> None:
    """Turn what a foreman says into reports, until it has gone.

    In a thread of its own: a Ctrl-C, which only ever reaches the main thread, cannot cut a
    message in half here.
    """
    try:
        with contextlib.suppress(OSError), crew.socket.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the foreman died in mid-sentence
                message = json.loads(line)
                key = message["key"]
                if "started" in message:
                    crew.live[key] = message["started"]
                elif "progress" not in message:
                    crew.live.pop(key, None)
                reports.put(_report(key, message))
    finally:
        if not crew.dismissed:
            # Their leaders have died with the foreman; what these had started is still there.
            for leader in list(crew.live.values()):
                kill_group(leader)
            reports.put(crew)


def _report(key: str, message: Mapping[str, Any]) -> Report:
    if "started" in message:
        return Progress(key=key, done=0, total=0, what="")
    if "progress" in message:
        done, total, what = message["progress"]
        return Progress(key=key, done=done, total=total, what=what)
    seconds, peak = message["seconds"], message["peak_memory"]
    if "finished" in message:
        return Finished(key=key, value=message["finished"], seconds=seconds, peak_memory=peak)
    return Crashed(
        key=key, kind=cast("Kind", message["crashed"]), error=message["error"],
        trace=message["trace"], seconds=seconds, peak_memory=peak,
    )  # fmt: skip


def _dismiss(crew: _Crew) -> None:
    """Have a foreman end its jobs and leave; kill it, and them, when it does not."""
    crew.dismissed = True
    with contextlib.suppress(OSError):
        crew.socket.shutdown(socket.SHUT_WR)
    try:
        crew.process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        crew.process.kill()
        crew.process.wait()
        for leader in list(crew.live.values()):
            kill_group(leader)
    if crew.listener is not None:
        crew.listener.join(_PATIENCE)
    crew.socket.close()
    shutil.rmtree(crew.folder, ignore_errors=True)
