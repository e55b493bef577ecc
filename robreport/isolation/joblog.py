"""A job's log: everything that it and its libraries print, kept short."""

from __future__ import annotations

import os
from pathlib import Path

from robreport.isolation.jobprocess import plain_text

MOST_LOG = 8 << 20
_HEAD = 256 << 10
_TAIL = 1 << 20
_AROUND = (f'File "{Path(__file__).parent}{os.sep}', 'File "<string>"')
_TRACE_MARKS = ("Fatal Python error", "Timeout (")


class JobLog:
    """An open log file that is cut back to its beginning and its end when it grows too long.

    Raises
    ------
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending, so that what a job writes after a cut lands behind it.
        flags = os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND
        self.descriptor = os.open(path, flags, 0o644)
        self._open = True
        self._left_out = 0

    def keep_short(self) -> None:
        """Cut out the middle when the file is longer than `MOST_LOG`; a note says how much.

        What is written during the cut is lost with the middle, or stands before the note.
        """
        size = os.fstat(self.descriptor).st_size
        if size <= MOST_LOG:
            return
        tail = os.pread(self.descriptor, _TAIL, size - _TAIL)
        self._left_out += size - _HEAD - len(tail)
        os.ftruncate(self.descriptor, _HEAD)
        note = f"\n[robreport left out {self._left_out:,} bytes of output here]\n"
        os.write(self.descriptor, note.encode() + tail)

    def end(self, most: int = 20_000) -> str:
        """Return the last `most` bytes as text that any document can hold."""
        size = os.fstat(self.descriptor).st_size
        return _text(os.pread(self.descriptor, most, max(0, size - most)), most)

    def trace(self) -> str:
        """Return the traceback that the interpreter wrote when it was ended, if it did."""
        text = self.end()
        starts = [at for mark in _TRACE_MARKS if (at := text.rfind(mark)) >= 0]
        if not starts:
            return ""
        lines = text[max(starts) :].splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith(_AROUND)).strip()

    def close(self) -> None:
        """Close the file; twice does no harm."""
        if self._open:
            self._open = False
            os.close(self.descriptor)


def tail(path: Path, most: int = 4000) -> str:
    """Return the last `most` bytes of a log as text that any document can hold.

    A log that is not there, or cannot be read, is empty.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return _text(file.read(most), most)
    except OSError:
        return ""


def _text(data: bytes, most: int) -> str:
    if len(data) == most:
        data = data.lstrip(bytes(range(0x80, 0xC0)))  # the cut may have split a character
    return plain_text(data.decode("utf-8", "replace"))
