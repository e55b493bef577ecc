"""Tell a file's format by its first bytes and its members, without reading what it holds."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

from robreport_plugins.loaders.bounded import UNREADABLE_ARCHIVE

_HEAD = 4096
_MOST_MEMBERS = 100_000


def file_kind(path: Path) -> str:
    """Return the format of a file, or nothing when it is none that is told apart here.

    It is one of ``folder``, ``safetensors``, ``state dict``, ``torch.export``, ``torchscript``,
    ``skops``, ``npz``, ``zip``, ``pickle``, ``mat``, ``hdf5``, ``parquet``, ``idx``, ``onnx``,
    ``xgboost json``, ``xgboost ubj``, ``lightgbm`` and ``packed`` (gzip, xz or bzip2).
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return "folder"
        if not stat.S_ISREG(status.st_mode):
            return ""
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return ""
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    for magic, kind in (
        (b"\x89HDF", "hdf5"), (b"MATLAB 5.0 MAT-file", "mat"), (b"PAR1", "parquet"),
        (b"\x1f\x8b", "packed"), (b"\xfd7zXZ\x00", "packed"), (b"BZh", "packed"),
    ):  # fmt: skip
        if head.startswith(magic):
            return kind
    if len(head) > 9 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] < 1 << 32:
        return "safetensors"
    if len(head) >= 4 and head[:2] == b"\0\0" and head[2] in (8, 9, 11, 12, 13, 14):
        return "idx"
    if head[:1] == b"\x80" and 2 <= head[1] <= 5:
        return "pickle"
    if head.startswith(b"x") and _unpacked(head).startswith(b"\x80"):
        return "pickle"  # as joblib packs one
    text = head.lstrip()
    if text.startswith(b"{") and b'"learner"' in text:
        return "xgboost json"
    if head[:1] == b"{" and b"learner" in head[:64]:
        return "xgboost ubj"
    if text.startswith(b"tree\n") and b"version=" in text[:200]:
        return "lightgbm"
    # protocol buffers: the first field of a network is its version, a small number
    if head[:1] == b"\x08" and len(head) > 3 and 1 <= head[1] <= 64 and head[2:3] in b"\x12\x22:B":
        return "onnx"
    return ""


def _unpacked(head: bytes) -> bytes:
    """Return the first bytes of a zlib stream; nothing where it is none."""
    try:
        return zlib.decompressobj().decompress(head, 64)
    except zlib.error:
        return b""


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:_MOST_MEMBERS]
    except UNREADABLE_ARCHIVE:
        return "zip"
    inner = {name.partition("/")[2] for name in names}
    if "schema.json" in names:
        return "skops"
    if "constants.pkl" in inner:
        return "torchscript"
    if inner & {"archive_format", "models/model.json", "serialized_exported_program.json"} or (
        "serialized_exported_program.json" in names
    ):
        return "torch.export"
    if "data.pkl" in inner:
        return "state dict"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"
