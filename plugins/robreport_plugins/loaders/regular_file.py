"""Look at a file before any library does: present, regular, not empty, how it begins."""

from __future__ import annotations

import stat
from pathlib import Path

from robreport import RobreportError

# What a library may raise on a damaged or hostile file. Listed, so that an interrupt, an exit
# or a broken import of our own is never mistaken for a bad file.
DAMAGED: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def beginning(
    path: Path, where: str, error: type[RobreportError], count: int = 16
) -> tuple[bytes, int]:
    """Return the first bytes of a regular, non-empty file, and its size in bytes.

    A folder, a device, a pipe or a socket is refused before it is opened, since reading one
    may never end.

    Raises
    ------
    error
        With one sentence that begins with `where`.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise error(f"{where}: is a folder, and a file is needed; name the file inside it.")
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{where}: is not a regular file; copy its contents into one.")
        if status.st_size == 0:
            raise error(f"{where}: the file is empty; export or download it again.")
        with path.open("rb") as stream:
            return stream.read(count), status.st_size
    except FileNotFoundError:
        raise error(f"{where}: no such file; check the path.") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise error(f"{where}: cannot be read ({reason}); check the path.") from None
