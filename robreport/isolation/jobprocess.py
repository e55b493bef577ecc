"""What happens inside the process of one job: limits, the call, and the one answer it sends."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import faulthandler
import json
import os
import pickle
import re
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from robreport.errors import RobreportError
from robreport.isolation.processes import adopt_orphans, die_with_parent

try:
    import resource
except ImportError:  # pragma: no cover - a system without limits
    resource = None  # type: ignore[assignment]

SILENCED = 71  # exit code of a job that could not send its answer
MOST_ANSWER = 1 << 24
MOST_ERROR = 1000
MOST_TRACE = 20_000
_LINE = 500  # a line of up to 512 bytes enters a pipe whole or not at all, everywhere
_PAUSE = 0.1  # seconds between two reports of progress
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_COLOUR = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]")
_NO_MEMORY = re.compile(r"can(?:'|no)t allocate memory|bad_alloc|out of memory", re.I)
_TRACEBACK_HEAD = MOST_TRACE // 4


def plain_text(text: str) -> str:
    """Return text that any document can hold: no colours, control codes or lone surrogates."""
    return _NOT_TEXT.sub("?", _COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def run_job(
    job: Mapping[str, Any], payload: bytes, channel: int, log: int, parent: int
) -> NoReturn:
    """Call the job's target in this fresh process, send the answer through `channel`, and exit.

    Parameters
    ----------
    job : mapping
        ``target``, ``timeout``, ``memory``, ``mapped``, ``folder`` (for temporary files).
    payload : bytes
        The pickled argument; it comes from the main process.
    channel, log : int
        Open file descriptors.
    parent : int
        Process id of the foreman.
    """
    me = os.getpid()
    _settle(job, channel, log, parent)
    voice = Voice(channel)
    try:
        line = _encode({"value": _call(str(job["target"]), payload, voice.tell)})
    except BaseException as error:  # noqa: BLE001 - the job's own, whatever it is: the answer
        if os.getpid() != me:
            given = error.code if isinstance(error, SystemExit) else None
            os._exit(given if isinstance(given, int) else 1)
        _lift_limit()
        line = _encode(describe(error))
    if os.getpid() != me:
        os._exit(0)  # a fork that the target made and let return: the answer is not its to give
    faulthandler.cancel_dump_traceback_later()
    try:
        voice.answer(line)
    except OSError:
        _leave(SILENCED)  # the target closed the channel; the foreman says so
    _leave(0)


class Voice:
    """The way out of the process: progress that may be lost, and one answer that may not.

    Parameters
    ----------
    channel : int
        The writing end of a pipe that does not block.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._last = -_PAUSE

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress: cheap, never blocking, and dropped when it comes too often."""
        now = time.monotonic()
        if now - self._last < _PAUSE:
            return
        self._last = now
        words = plain_text(str(what)[:200]).replace("\n", " ")
        done, total = int(done), int(total)
        while len(line := f"{json.dumps({'progress': [done, total, words]})}\n".encode()) > _LINE:
            words = words[: len(words) * 3 // 4]
            if not words:
                return  # numbers of hundreds of digits
        if not self._lock.acquire(blocking=False):
            return  # another thread is writing, or the answer has been given
        try:
            os.write(self._channel, line)
        except OSError:
            return  # the pipe is full (nobody listens just now) or closed: progress can be lost
        finally:
            self._lock.release()

    def answer(self, line: bytes) -> None:
        """Write the whole line, waiting for room where there is none; nothing follows it.

        Raises
        ------
        OSError
            The pipe is closed.
        """
        self._lock.acquire()
        waiting = select.poll()
        waiting.register(self._channel, select.POLLOUT)
        view = memoryview(line)
        while view:
            try:
                view = view[os.write(self._channel, view) :]
            except BlockingIOError:
                waiting.poll(1000)


def describe(error: BaseException) -> dict[str, str]:
    """Return kind, one sentence and the bounded traceback of whatever a target raised."""
    return {
        "error": _sentence(error),
        "kind": "memory" if is_memory_error(error) else "exception",
        "trace": _trace(error),
    }


def is_memory_error(error: BaseException) -> bool:
    """Tell whether an exception means that there was not enough memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and says_no_memory(_text(error))


def says_no_memory(text: str) -> bool:
    """Tell whether a library's last words say that memory ran out."""
    return bool(_NO_MEMORY.search(text))


def _settle(job: Mapping[str, Any], channel: int, log: int, parent: int) -> None:
    if os.getsid(0) != os.getpid():
        os.setsid()
    adopt_orphans()
    if not die_with_parent(parent):
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    os.set_inheritable(channel, False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, place)
    os.close(nothing)
    if log > 2:
        os.close(log)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for name, place in (("stdout", 1), ("stderr", 2)):
        stream = open(  # noqa: SIM115
            place, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = str(job["folder"])
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None
    faulthandler.enable(file=2, all_threads=True)
    if job["timeout"] is not None:
        # Shortly before the foreman ends this process, the log says where it was.
        warning = max(job["timeout"] - 0.25, job["timeout"] / 2)
        faulthandler.dump_traceback_later(min(warning, threading.TIMEOUT_MAX), file=2)
    if resource is not None:
        _limit(job["memory"], job["mapped"])


def _limit(memory: int | None, mapped: int) -> None:
    """Make an allocation beyond `memory` fail inside the process, where it can say so.

    RLIMIT_DATA and not RLIMIT_AS, which counts a gigabyte of mapped libraries. What this process
    has already, and the files it will map copy-on-write, come on top.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if memory is None:
        return
    try:
        found = re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        found = None
    if found is None:
        return  # a system that counts otherwise: the foreman's watch is the limit
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = 1024 * int(found[1]) + memory + mapped
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _lift_limit() -> None:
    """Give back the room that is needed to say that there was none."""
    if resource is not None:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _watch_parent(parent: int) -> None:
    """End this process group when the foreman has gone, where the kernel does not do it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _call(target: str, payload: bytes, tell: Callable[[int, int, str], None]) -> Any:
    module, _, name = target.partition(":")
    function: Any = import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function(pickle.loads(payload), tell)


def _encode(answer: Mapping[str, Any]) -> bytes:
    """Return one line of strict JSON."""
    try:
        line = json.dumps(answer, allow_nan=False, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        text = f"the job returned something that JSON cannot hold: {_text(error)}"
        return _encode({"error": text, "kind": "exception", "trace": ""})
    if len(line) > MOST_ANSWER:
        text = (
            f"the job returned {len(line):,} bytes; at most {MOST_ANSWER:,} are taken, "
            "larger results belong in a file"
        )
        return _encode({"error": text, "kind": "exception", "trace": ""})
    return line


def _leave(code: int) -> NoReturn:
    """Run what libraries registered for the exit, flush Python's and C's output, and exit.

    Threads that never end are not waited for; the foreman ends a process that lingers.
    """
    try:
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - a library's farewell cannot undo the answer
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        # The target may have closed or replaced its output.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    try:
        ctypes.CDLL(None).fflush(None)
    finally:
        os._exit(code)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an exception whose own text cannot be made
        return "(its text could not be made)"


def _sentence(error: BaseException) -> str:
    name = type(error).__name__
    text = " ".join(plain_text(_text(error)).split())
    if len(text) > MOST_ERROR:
        text = f"{text[:MOST_ERROR]} ..."
    if isinstance(error, RobreportError) and text:
        return text
    if isinstance(error, SystemExit):
        return f"it called sys.exit({text})"
    return f"{name}: {text}" if text else f"{name} without a message"


def _trace(error: BaseException) -> str:
    """Return the traceback from the target inwards; the frames around it are nobody's concern."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        shown = traceback.TracebackException(type(error), error, frames, compact=True)
        text = plain_text("".join(shown.format()))
    except Exception:  # noqa: BLE001 - a hostile exception may break its own printing
        return ""
    if len(text) <= MOST_TRACE:
        return text
    return f"{text[:_TRACEBACK_HEAD]}\n[...]\n{text[_TRACEBACK_HEAD + 8 - MOST_TRACE :]}"
