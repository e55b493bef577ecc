"""The text of a file, whatever it is packed in, decoded and of bounded size."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path
from typing import IO

from robreport import DataError
from robreport_plugins.loaders.bounded import (
    UNREADABLE_ARCHIVE,
    believable,
    check_archive,
    open_packed,
    read_all,
)
from robreport_plugins.loaders.regular_file import beginning
from robreport_plugins.loaders.wording import listed, shown

_LARGEST_TEXT = 2 * 2**30
_ENCODINGS = (
    "ascii", "utf-8", "utf-16", "utf-32", "latin", "iso8859", "cp", "mac", "koi8", "shift_jis",
    "euc", "gb", "big5",
)  # fmt: skip


def check_encoding(name: str) -> str:
    """Return the name of an encoding of text.

    Raises
    ------
    ValueError
        It is none. Python's others pack, escape or run through tables of their own.
    """
    try:
        known = codecs.lookup(name).name.startswith(_ENCODINGS)
    except (LookupError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"{shown(name)} is no encoding of text; such as 'utf-8', 'latin-1' or 'cp1252' is"
        )
    return name


def read_text(path: Path, encoding: str, where: str) -> bytearray | bytes:
    """Return the file's text as UTF-8, unpacked from gzip, xz, bzip2, or a zip of one file.

    Raises
    ------
    DataError
        It is missing, damaged, of another encoding, or unpacks to more than a table would.
    """
    head, size = beginning(path, where, DataError)
    most = min(_LARGEST_TEXT, believable(size))
    if head.startswith(b"PK\x03\x04"):
        data = _read_zip(path, size, most, where)
    else:
        stream, packing = open_packed(path, head)
        with stream:
            data = read_all(stream, where, most if packing else _LARGEST_TEXT)
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        zeros = b"\x00" in data
        text: bytearray | bytes = data.removeprefix(codecs.BOM_UTF8)
    else:
        try:
            decoded = data.decode(encoding)
        except (UnicodeError, LookupError):
            raise DataError(
                f"{where}: is not {encoding} text; correct encoding, or save it as UTF-8."
            ) from None
        zeros = "\x00" in decoded
        text = decoded.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
    if zeros:
        raise DataError(
            f"{where}: holds zero bytes, so it is no text table of this encoding; save it as UTF-8."
        )
    return text


def _read_zip(path: Path, size: int, most: int, where: str) -> bytearray:
    names = check_archive(path, size, where, DataError, packed=True)
    # what a Macintosh adds to every archive is not meant
    files = [n for n in names if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(files) != 1:
        raise DataError(
            f"{where}: is a zip archive of {len(files)} files ({listed(map(shown, files), 3)}); "
            "one table is needed, so pack it alone or unpack it."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            stream: IO[bytes] = archive.open(files[0])
            with stream:
                return read_all(stream, where, most)
    except UNREADABLE_ARCHIVE as error:
        raise DataError(f"{where}: is damaged or encrypted ({error}).") from None
