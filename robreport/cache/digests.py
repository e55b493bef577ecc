"""Digests: of plain values, files, arrays, and of the code of a distribution."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

_CHUNK = 1 << 24
_LARGE = 16 << 20
_NOT_CODE = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
_FILES: dict[tuple[str, int, int], str] = {}


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def digest(*parts: object) -> str:
    """Return the SHA-256 of plain values, the same in every process and on every machine.

    Parameters
    ----------
    *parts
        None, bool, int, float, str, bytes, and lists, tuples and mappings of these. The order of
        a mapping's keys does not matter; a list and a tuple are the same; ``1``, ``1.0``, ``True``
        and ``"1"`` are four values; floats count to the last bit.

    Raises
    ------
    TypeError
        A value of any other type, whose digest could not be relied on.
    """
    hashed = hashlib.sha256()
    _update(hashed, parts)
    return hashed.hexdigest()


def _update(hashed: _Hash, value: object) -> None:
    """Add one value; its type and length come first, so that no two values look alike."""
    match value:
        case None:
            hashed.update(b"n")
        case bool():
            hashed.update(b"t" if value else b"f")
        case int():
            _add(hashed, b"i", b"%d" % value)
        case float():
            _add(hashed, b"d", value.hex().encode())
        case str():
            _add(hashed, b"s", value.encode("utf-8", "surrogatepass"))
        case bytes():
            _add(hashed, b"y", value)
        case list() | tuple():
            _add(hashed, b"l", b"%d" % len(value))
            for item in value:
                _update(hashed, item)
        case Mapping():
            _add(hashed, b"m", b"%d" % len(value))
            items = sorted((digest(key), key, item) for key, item in value.items())
            for _, key, item in items:
                _update(hashed, key)
                _update(hashed, item)
        case _:
            raise TypeError(f"a {type(value).__name__} has no digest; make it plain first")


def _add(hashed: _Hash, kind: bytes, data: bytes) -> None:
    hashed.update(kind + b"%d:" % len(data))
    hashed.update(data)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_array(a: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of an array: its type, shape and values, however it lies in memory.

    Read in pieces, so that an array mapped from a file need not fit into memory.

    Raises
    ------
    TypeError
        An array of objects, whose bytes are addresses.
    """
    import numpy as np

    if a.dtype.hasobject:
        raise TypeError("an array of objects has no digest; give it a numeric or text type")
    hashed = hashlib.sha256()
    described = a.dtype.descr if a.dtype.names else a.dtype.str
    _update(hashed, [json.dumps(described), list(a.shape)])
    if a.ndim == 0 or a.size == 0:
        hashed.update(a.tobytes())
        return hashed.hexdigest()
    rows = max(1, _CHUNK // max(1, a.nbytes // len(a)))
    for start in range(0, len(a), rows):
        hashed.update(np.ascontiguousarray(a[start : start + rows]).tobytes())
    return hashed.hexdigest()


def distribution_digest(name: str) -> str:
    """Return a digest of the code that `name` stands for: all files of its distribution.

    Parameters
    ----------
    name : str
        A distribution ("robreport-foolbox"), or a module that belongs to none.

    Notes
    -----
    For an installed wheel, the files of its RECORD, as they are now; for an editable install or
    a bare module, the files of its packages. Of files over 16 MB the recorded hash counts, or
    size and time of change.

    Raises
    ------
    LookupError
        Neither a distribution nor a module of that name is found, or it has no files.
    """
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        rows = list(_module_rows(name))
    else:
        rows = list(_wheel_rows(found))
        if not rows or _is_editable(found):
            rows += [row for top in _top_level(found) for row in _module_rows(top)]
    if not rows:
        raise LookupError(f"no files of a distribution or module {name!r} were found")
    return digest(sorted(rows))


def _is_editable(found: importlib.metadata.Distribution) -> bool:
    try:
        told = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return True
    info = told.get("dir_info") if isinstance(told, dict) else None
    return bool(isinstance(info, dict) and info.get("editable"))


def _top_level(found: importlib.metadata.Distribution) -> list[str]:
    text = found.read_text("top_level.txt")
    if text:
        return text.split()
    # From its own list. Asking importlib who owns which package reads those of all distributions.
    code = [file.parts for file in found.files or () if file.suffix == ".py"]
    return sorted({parts[0] if len(parts) > 1 else parts[0].removesuffix(".py") for parts in code})


def _wheel_rows(found: importlib.metadata.Distribution) -> Iterator[list[str]]:
    for file in found.files or ():
        if file.name in _NOT_CODE or file.suffix == ".pyc":
            continue
        path = Path(str(found.locate_file(file)))
        recorded = f"{file.hash.mode}={file.hash.value}" if file.hash else ""
        yield [str(file), _file_row(path, recorded)]


def _module_rows(name: str) -> Iterator[list[str]]:
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None and Path(spec.origin).is_file():
            yield [top, _file_row(Path(spec.origin), "")]
        return
    for folder in spec.submodule_search_locations:
        for path in _walk(Path(folder)):
            yield [f"{top}/{path.relative_to(folder).as_posix()}", _file_row(path, "")]


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and not file.endswith((".pyc", ".pyo")):
                yield Path(here, file)


def _file_row(path: Path, recorded: str) -> str:
    """Return the digest of one file, remembered while its size and time of change stay."""
    try:
        stat = path.stat()
        if stat.st_size > _LARGE:
            return recorded or f"{stat.st_size} {stat.st_mtime_ns}"
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in _FILES:
            _FILES[key] = digest_file(path)
        return _FILES[key]
    except OSError:
        return "missing"
