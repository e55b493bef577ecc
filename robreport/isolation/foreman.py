"""The process that starts jobs, watches their time and memory, and leaves none of them alive.

It stands between the main process and the jobs, so that neither a busy main process nor one that
is killed in mid-run changes what becomes of a job. It imports what every job will need, once, and
forks: a job then starts within hundredths of a second. It must stay single-threaded and must
never *run* what it has imported: code that ran torch hangs after a fork, and numba's OpenMP layer
dies of it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pickle
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robreport.isolation import jobprocess
from robreport.isolation.endings import judge
from robreport.isolation.joblog import JobLog
from robreport.isolation.processes import (
    adopt_orphans,
    children,
    descendants,
    held_memory,
    kill_all,
    kill_group,
)
from robreport.isolation.running import CHUNK, Running

HEADER = struct.Struct("!II")
_TICK = 0.2  # seconds between two looks at time and memory
_IDLE = 2.0
_GRACE = 3.0  # seconds that a process may take to exit after its answer
_MOST_WAITING_OUT = 1 << 20
_MOST_CHUNKS = 4 * jobprocess.MOST_ANSWER // CHUNK


class Foreman:
    """Starts, watches and ends jobs at the word of the main process.

    Parameters
    ----------
    control : socket
        To and from the main process; its end of file means "end everything and leave".
    workers : int
        Jobs at a time.
    method : "fork" or "spawn"
    folder : Path
        For temporary files; removed in the end.
    parent : int
        Process id of the main process.
    """

    def __init__(
        self, control: socket.socket, workers: int, method: str, folder: Path, parent: int
    ) -> None:
        self._adopts = adopt_orphans()
        self._control = control
        self._workers = workers
        self._method = method
        self._folder = folder
        self._parent = parent
        self._waiting: deque[tuple[dict[str, Any], bytes]] = deque()
        self._running: dict[int, Running] = {}
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._open = True
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe()
        for end in (self._wake_r, self._wake_w):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Work until the main process has gone or says that it is over."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        self._control.setblocking(False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        watched = 0.0
        try:
            while self._open and os.getppid() == self._parent:
                self._turn()
                if time.monotonic() - watched >= _TICK:
                    watched = time.monotonic()
                    self._watch()
                self._reap()
                while self._waiting and len(self._running) < self._workers:
                    self._start(*self._waiting.popleft())
        finally:
            self._end_everything()

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one line to the main process, now or when it has room."""
        if "progress" in message and len(self._outbox) > _MOST_WAITING_OUT:
            return
        self._outbox += json.dumps(message).encode() + b"\n"
        self._flush()

    def _stop(self, *_: object) -> None:
        self._open = False

    def _turn(self) -> None:
        timeout = _TICK if self._running else _IDLE
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._control:
                if events & selectors.EVENT_WRITE:
                    self._flush()
                if events & selectors.EVENT_READ:
                    self._listen()
            elif key.fileobj == self._wake_r:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_r, 4096)
            else:
                self._hear(key.data)

    def _flush(self) -> None:
        try:
            sent = self._control.send(self._outbox) if self._outbox else 0
            del self._outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._open = False
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        if self._selector.get_map() and self._control in self._selector.get_map():
            self._selector.modify(self._control, wanted)

    def _listen(self) -> None:
        try:
            chunk = self._control.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._open = False
            return
        self._inbox += chunk
        while len(self._inbox) >= HEADER.size:
            of_job, of_payload = HEADER.unpack_from(self._inbox)
            middle = HEADER.size + of_job
            end = middle + of_payload
            if len(self._inbox) < end:
                return
            job = json.loads(self._inbox[HEADER.size : middle])
            self._waiting.append((job, bytes(self._inbox[middle:end])))
            del self._inbox[:end]

    def _hear(self, running: Running) -> bool:
        """Pass on what a job says; False when there is nothing, now or any more."""
        channel = running.channel
        messages = running.read()
        for message in messages or ():
            self.say(message)
        if running.channel < 0:
            self._selector.unregister(channel)
        return messages is not None

    def _start(self, job: dict[str, Any], payload: bytes) -> None:
        self._count += 1
        folder = self._folder / f"job{self._count}"
        job["folder"] = str(folder)
        try:
            folder.mkdir()
            log = JobLog(Path(job["log"]))
        except OSError as error:
            self._refuse(job, f"its log or temporary folder cannot be made: {error}")
            return
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        running = Running(job, reading, log)
        try:
            if self._method == "fork":
                running.pid = self._fork(running, payload, writing)
            else:
                running.pid = _spawn(job, payload, writing, log, folder)
        except OSError as error:
            running.close_channel()
            log.close()
            self._refuse(job, f"no process could be started: {error}")
            return
        finally:
            os.close(writing)
        self._running[running.pid] = running
        self._selector.register(reading, selectors.EVENT_READ, running)
        self.say({"started": running.pid, "key": running.key})

    def _refuse(self, job: Mapping[str, Any], error: str) -> None:
        shutil.rmtree(job["folder"], ignore_errors=True)
        self.say({"crashed": "exit", "error": error, "trace": "", "key": job["key"],
                  "seconds": 0.0, "peak_memory": 0})  # fmt: skip

    def _fork(self, running: Running, payload: bytes, writing: int) -> int:
        with warnings.catch_warnings():
            # The interpreter warns of threads that a BLAS may have; those survive a fork.
            warnings.simplefilter("ignore")
            me = os.getpid()
            pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._control.close()
            for end in (self._wake_r, self._wake_w):
                os.close(end)
            running.close_channel()
            for other in self._running.values():
                other.close_channel()
                other.log.close()
            jobprocess.run_job(running.job, payload, writing, running.log.descriptor, me)
        finally:
            os._exit(70)

    def _watch(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            running.below = below = descendants(running.pid)
            running.log.keep_short()
            held = held_memory([running.pid, *below], running.job["memory"])
            running.ending.peak_memory = max(running.ending.peak_memory, held)
            seconds = now - running.started
            if running.answered is not None:
                if now - running.answered > _GRACE:
                    self._kill(running, "lingered")
            elif running.job["memory"] is not None and held > running.job["memory"]:
                self._kill(running, "memory")
            elif running.job["timeout"] is not None and seconds > running.job["timeout"]:
                self._kill(running, "timeout")
            elif running.ending.reason:
                self._kill(running, running.ending.reason)
        self._end_orphans()

    def _kill(self, running: Running, reason: str) -> None:
        running.ending.reason = reason
        below = descendants(running.pid)
        kill_group(running.pid)
        kill_all([running.pid, *below])

    def _end_orphans(self) -> None:
        """Kill what finished jobs left behind.

        Each job is the parent of its own orphans while it lives, so that an unknown child of
        this process can only come from a job that has ended.
        """
        for child in children(os.getpid()):
            if child not in self._running:
                kill_all([child, *descendants(child)])

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            running = self._running.get(pid)
            if running is not None:
                self._finish(running, os.waitstatus_to_exitcode(status), usage.ru_maxrss)

    def _finish(self, running: Running, code: int, high_water: int) -> None:
        seconds = time.monotonic() - running.started
        del self._running[running.pid]
        kill_group(running.pid)
        if not self._adopts:
            kill_all(running.below)  # the last that was seen, where orphans go to init
        self._end_orphans()
        for _ in range(_MOST_CHUNKS):
            if running.channel < 0 or not self._hear(running):
                break
        if running.channel >= 0:
            self._selector.unregister(running.channel)
            running.close_channel()
        ending = running.ending
        ending.code = code
        in_bytes = high_water if sys.platform == "darwin" else 1024 * high_water
        ending.peak_memory = max(ending.peak_memory, in_bytes)
        running.log.keep_short()
        report = judge(ending, running.log)
        running.log.close()
        shutil.rmtree(running.job["folder"], ignore_errors=True)
        if running.answered is not None:
            seconds = running.answered - running.started
        self.say({**report, "key": running.key, "seconds": round(seconds, 6),
                  "peak_memory": ending.peak_memory})  # fmt: skip

    def _end_everything(self) -> None:
        self._waiting.clear()
        until = time.monotonic() + 5
        for running in self._running.values():
            self._kill(running, "cancelled")
        while time.monotonic() < until:
            self._end_orphans()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not children(os.getpid()):
                break
            time.sleep(0.01)
        for running in self._running.values():
            running.log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._control.settimeout(2)
            self._control.sendall(self._outbox)


def _spawn(job: Mapping[str, Any], payload: bytes, writing: int, log: JobLog, folder: Path) -> int:
    """Start a job in a fresh interpreter, for systems where forking one is not safe."""
    order = folder / "order.pickle"
    order.write_bytes(pickle.dumps((dict(job), payload)))
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from robreport.isolation.foreman import main_of_job\n"
        f"main_of_job({str(order)!r}, {writing}, {log.descriptor}, {os.getpid()})"
    )
    for descriptor in (writing, log.descriptor):
        os.set_inheritable(descriptor, True)
    try:
        return os.posix_spawn(
            sys.executable, [sys.executable, *interpreter_options(), "-c", code], os.environ
        )
    finally:
        os.set_inheritable(log.descriptor, False)


def interpreter_options() -> list[str]:
    """Return the options of this interpreter that its children should share."""
    options = ["-B"] if sys.flags.dont_write_bytecode else []
    return options + [f"-W{option}" for option in sys.warnoptions]


def main_of_job(order: str, writing: int, log: int, parent: int) -> None:
    """Be the process of one spawned job."""
    job, payload = pickle.loads(Path(order).read_bytes())
    jobprocess.run_job(job, payload, writing, log, parent)


def main(
    descriptor: int, workers: int, method: str, folder: str, parent: int, preload: Sequence[str]
) -> None:
    """Be the foreman."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for name in preload:
        # A library that is not there, or is broken, is the business of the job that needs it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=descriptor)
    Foreman(control, workers, method, Path(folder), parent).serve()
