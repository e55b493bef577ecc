"""Arrays to npz bytes, the same for the same arrays, and back from files that may be hostile."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.errors import RecordError

Array = npt.NDArray[Any]
MAX_ARRAYS_BYTES = 4 * 2**30
MAX_ARRAYS = 20_000
# booleans, numbers and texts: no objects, which could hold code, and no records
KINDS = "biufU"
_ARRAY_KEY = re.compile(r"[A-Za-z0-9._@-]+(/[A-Za-z0-9._@-]+)*\Z")


def arrays_to_npz(arrays: Mapping[str, Array]) -> bytes:
    """Return a compressed npz with the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.asarray(arrays[key], order="C"), allow_pickle=False
            )
            # a fixed date: the archive must not depend on the clock
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())
    return buffer.getvalue()


def arrays_from_npz(source: Path | bytes, what: str) -> dict[str, Array]:
    """Read an npz, a file or its bytes, that may be hostile: no pickle, bounded size.

    Raises
    ------
    RecordError
        Not an npz, damaged, or larger unpacked than is read.
    """
    try:
        with zipfile.ZipFile(
            io.BytesIO(source) if isinstance(source, bytes) else source
        ) as archive:
            members = archive.infolist()
            _check_members(members, what)
            return {
                info.filename.removesuffix(".npy"): _read_array(archive, info) for info in members
            }
    except RecordError:
        raise
    except (Exception, RecursionError) as error:  # noqa: BLE001 - zipfile, zlib and NumPy raise many
        raise RecordError(f"{what} is damaged: {type(error).__name__}: {error}.") from None


def _check_members(members: Sequence[zipfile.ZipInfo], what: str) -> None:
    names = [info.filename for info in members]
    if len(names) > MAX_ARRAYS:
        raise RecordError(f"{what} holds {len(names):,} arrays; at most {MAX_ARRAYS:,} are read.")
    if len(set(names)) < len(names):
        raise RecordError(f"{what} holds two arrays of one name.")
    for info in members:
        key = info.filename.removesuffix(".npy")
        parts = key.split("/")
        if key == info.filename or not _ARRAY_KEY.match(key) or not {".", ".."}.isdisjoint(parts):
            raise RecordError(f"{what} holds {info.filename!r}, which is no name of an array.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RecordError(f"{what} is compressed in a way that is not read.")
    total = sum(info.file_size for info in members)
    if total > MAX_ARRAYS_BYTES:
        raise RecordError(
            f"{what} unpacks to {total:,} bytes; at most {MAX_ARRAYS_BYTES:,} are read."
        )


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """Return one array; its header must describe the bytes that are there, before they are taken.

    NumPy's own reader allocates what the header says: a few bytes could ask for a terabyte.
    """
    with archive.open(info) as file:
        # no more than was declared, however much the stream would unpack to
        content = io.BytesIO(file.read(info.file_size + 1))
    version = np.lib.format.read_magic(content)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(content, max_header_size=10_000)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(content, max_header_size=10_000)
    else:
        raise ValueError(f"array format {version} is not read")
    shape, fortran, dtype = header
    size = dtype.itemsize * math.prod(shape)
    left = len(content.getbuffer()) - content.tell()
    if dtype.kind not in KINDS or not dtype.itemsize or dtype.subdtype is not None:
        raise ValueError(f"arrays of {dtype} are not read")
    if any(length < 0 for length in shape) or size != left:
        raise ValueError(f"{info.filename}: its header describes {size:,} bytes, it has {left:,}")
    flat = np.frombuffer(content.getbuffer(), dtype=dtype, offset=content.tell())
    if dtype.kind == "U":
        points = flat.astype(dtype.newbyteorder("=")).view(np.uint32)
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise ValueError(f"{info.filename} holds texts that are no Unicode")
    return flat.copy().reshape(shape, order="F" if fortran else "C")
