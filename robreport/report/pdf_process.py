"""The processes that set the type of PDFs: started ahead of time, asked job by job."""

from __future__ import annotations

import atexit
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from robreport.errors import RenderError
from robreport.report.pdf_job import PdfJob, read_parts, write_job


class PdfProcess:
    """One process; gone after a job that breaks it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: nothing in the current folder may stand in for a library
            [sys.executable, "-P", "-m", "robreport.report.pdf_typeset"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _ALIVE.append(self)

    @property
    def running(self) -> bool:
        """Whether the process is there to be asked."""
        return self._process.poll() is None

    def send(self, job: PdfJob) -> None:
        """Hand over a job; what is wrong with the process shows in the answer."""
        if self._process.stdin is not None:
            with suppress(OSError):
                write_job(job, self._process.stdin)

    def answer(self) -> tuple[bytes, bytes]:
        """Return the kind of the answer and its content; both empty where the process ended."""
        try:
            if self._process.stdout is not None:
                kind, content = read_parts(self._process.stdout)
                return kind, content
        except (OSError, ValueError):
            pass  # it ended before or within its answer
        return b"", b""

    def close(self) -> int:
        """End the process, whatever it is doing, and return its exit status."""
        if self in _ALIVE:
            _ALIVE.remove(self)
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return code


_ALIVE: list[PdfProcess] = []
_IDLE: list[PdfProcess] = []


def start() -> None:
    """Start a process while something else goes on, so that it is ready when it is asked."""
    _IDLE.append(_take())


def begin(job: PdfJob) -> Callable[[], bytes]:
    """Have a PDF made by another process; call what is returned to wait for it.

    That raises a RenderError where the libraries are missing, or the process broke.
    """
    process = _take()
    process.send(job)

    def finish() -> bytes:
        kind = b""
        try:
            kind, content = process.answer()
        finally:
            # an answer that was not waited for would be taken for that to the next job
            if kind:
                _IDLE.append(process)
            else:
                code = process.close()
        if not kind:
            raise RenderError(f"the process that makes the PDF ended early (exit status {code})")
        return _content(kind, content)

    return finish


def _take() -> PdfProcess:
    while _IDLE:
        process = _IDLE.pop()
        if process.running:
            return process
        process.close()
    return PdfProcess()


def _content(kind: bytes, content: bytes) -> bytes:
    if kind == b"pdf":
        return content
    text = content.decode("utf-8", "replace")
    if kind == b"missing":
        raise RenderError(
            f"the PDF needs the Pango library, which this machine does not have ({text}); "
            "install it, for instance with 'apt-get install libpango-1.0-0 libpangoft2-1.0-0', "
            "or ask for HTML only."
        )
    raise RenderError(f"the PDF could not be set: {text}")


@atexit.register
def _close_all() -> None:
    while _ALIVE:
        _ALIVE[0].close()
