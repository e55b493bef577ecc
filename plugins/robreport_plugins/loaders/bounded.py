"""Read compressed files without trusting their word about how large they are."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from robreport import DataError, RobreportError

LARGEST = 4 * 2**30
"""Most bytes that one array or file may have after decompression."""

# Deflate cannot pack better than about 1032:1, so a larger claim is a lie or a bomb.
DEFLATE_RATIO = 1100
# Tables of numbers and words shrink tenfold, repetitive ones a hundredfold. What unpacks to far
# more than its size is no data, and reading it would fill the memory many times over.
_RATIO = 400
_ALWAYS = 64 * 2**20
_CHUNK = 1 << 20
UNPACKING: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    ValueError,
)
# An encrypted member is a RuntimeError, an unknown way of packing a NotImplementedError.
UNREADABLE_ARCHIVE: tuple[type[Exception], ...] = (*UNPACKING, NotImplementedError, RuntimeError)


def believable(size: int) -> int:
    """Return how many bytes the data in a packed file of that size may have."""
    return max(_ALWAYS, size * _RATIO)


def open_packed(path: Path, head: bytes) -> tuple[IO[bytes], str]:
    """Return the file opened for reading and its packing, judged by its first bytes."""
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path, "rb")), "gzip"
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path, "rb"), "xz"
    if head.startswith(b"BZh"):
        return bz2.open(path, "rb"), "bzip2"
    return path.open("rb"), ""


def read_exactly(stream: IO[bytes], count: int, where: str) -> bytearray:
    """Return exactly `count` bytes, growing only as they arrive.

    Raises
    ------
    DataError
        The stream ends early or its packing is damaged.
    """
    data = bytearray()
    try:
        while len(data) < count:
            chunk = stream.read(min(_CHUNK, count - len(data)))
            if not chunk:
                raise DataError(
                    f"{where}: is truncated: {len(data):,} of {count:,} bytes are there; "
                    "copy or download it again."
                )
            data += chunk
    except UNPACKING as error:
        raise DataError(f"{where}: is damaged ({error}); copy or download it again.") from None
    return data


def read_all(stream: IO[bytes], where: str, largest: int = LARGEST) -> bytearray:
    """Return everything up to `largest` bytes.

    Raises
    ------
    DataError
        There is more, or the packing is damaged.
    """
    data = bytearray()
    try:
        while chunk := stream.read(_CHUNK):
            data += chunk
            if len(data) > largest:
                raise DataError(
                    f"{where}: unpacks to more than {largest:,} bytes; split it into parts."
                )
    except UNPACKING as error:
        raise DataError(f"{where}: is damaged ({error}); copy or download it again.") from None
    return data


def check_archive(
    path: Path, size: int, where: str, error: type[RobreportError], *, packed: bool
) -> list[str]:
    """Return the member names of a zip archive whose claimed sizes are believable.

    Parameters
    ----------
    packed : bool
        Whether members may be compressed; if not, together they cannot exceed the file.

    Raises
    ------
    error
        Damaged, or its members claim more than the file can hold (overlapping or a bomb).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except UNREADABLE_ARCHIVE:
        raise error(
            f"{where}: is a damaged or truncated archive; export or download it again."
        ) from None
    claimed = sum(member.file_size for member in members)
    most = min(LARGEST, size * DEFLATE_RATIO) if packed else size
    if claimed > most:
        raise error(
            f"{where}: its members claim {claimed:,} bytes in a file of {size:,}, "
            "which is not believable; it is refused unread."
        )
    return [member.filename for member in members]
