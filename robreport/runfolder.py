"""The folder of a finished run: put in place whole, and replaced only when it is one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from robreport.errors import OutputError

RECORD, ARRAYS, MANIFEST, ARTIFACTS = "audit.json", "arrays.npz", "manifest.json", "artifacts"
MANIFEST_VERSION = 1
MAX_MANIFEST_BYTES = 64 * 2**20


def listed_files(folder: Path) -> frozenset[str] | None:
    """Return the files that a run folder's manifest lists, or None when it is no run folder."""
    try:
        if not (folder / RECORD).is_file():
            return None
        with (folder / MANIFEST).open("rb") as file:
            tree = json.loads(file.read(MAX_MANIFEST_BYTES))
        digests = tree["sha256"]
        # other tools write files of these names, too
        if not isinstance(tree["schema_version"], int) or RECORD not in digests:
            return None
        return frozenset(map(str, digests))
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds what this tool writes, so that it may be replaced."""
    return listed_files(folder) is not None


def check_output(place: Path) -> None:
    """Refuse a place that cannot be written, or that holds something other than a run folder.

    Raises
    ------
    OutputError
        Something else is there: a file, a link, another folder, or a run folder in which somebody
        has put files of their own. Or no folder can be made there.
    """
    try:
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            what = "a link" if place.is_symlink() else "no folder"
            raise OutputError(f"{place} is {what}; it was left alone. {_ADVICE}")
        if place.is_dir() and any(place.iterdir()):
            _check_replaceable(place)
        parent = next(folder for folder in place.absolute().parents if folder.exists())
        if not parent.is_dir():
            raise OutputError(f"{place} cannot be written: {parent} is no folder. {_ADVICE}")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(f"{place} cannot be written: no permission in {parent}. {_ADVICE}")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise OutputError(f"{place} cannot be written: {said}.") from None


_ADVICE = "Choose another place with --output."


def _check_replaceable(place: Path) -> None:
    listed = listed_files(place)
    if listed is None:
        raise OutputError(f"{place} exists and is not a run folder; it was left alone. {_ADVICE}")
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        # hidden files are a file manager's
        if name in listed or name == MANIFEST or path.name.startswith("."):
            continue
        if path.is_symlink() or not path.is_dir():
            raise OutputError(
                f"{place} holds {name}, which is not of the run; it was left alone. Move that "
                "file away, or choose another place with --output."
            )


@contextlib.contextmanager
def run_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder beside `place`; on success it takes the place, else it is removed.

    Raises
    ------
    OutputError
        No space, no permission, or something else is there. An earlier run there is kept.
    """
    place = place.absolute()
    check_output(place)
    made: list[Path] = []
    fresh: Path | None = None
    try:
        made = [folder for folder in place.parents if not folder.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".robreport-", dir=place.parent))
        fresh.chmod(0o777 & ~_umask())
        yield fresh
        _replace(fresh, place)
        fresh = None
        made = []
    except OSError as error:
        if no_space(error):
            raise OutputError(
                f"no space left for {place}; nothing was lost: free some and run again, finished "
                "measurements come from the cache."
            ) from None
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from None
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _umask() -> int:
    """The user's mask: who keeps folders private keeps this one private, too."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def no_space(error: OSError) -> bool:
    """Whether an error says that a disk, or one's share of it, is full."""
    codes = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    if isinstance(error, shutil.Error):
        # copying a tree collects the texts of its errors and drops their numbers
        return any(os.strerror(code) in str(error) for code in codes)
    return error.errno in codes


def _replace(fresh: Path, place: Path) -> None:
    """Put `fresh` where `place` is, keeping the old one until the new one stands."""
    # an hour may have passed since it was looked at
    check_output(place)
    if not place.exists():
        fresh.rename(place)
        return
    aside = Path(tempfile.mkdtemp(prefix=".robreport-old-", dir=place.parent))
    old = aside / "run"
    try:
        place.rename(old)
        fresh.rename(place)
    except BaseException:
        # an interrupt between the two must not lose the old one
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    finally:
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Write manifest.json: the SHA-256 of every other file in the folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    digests = {
        name: _sha256(path)
        for name, path in sorted(files.items())
        if name != MANIFEST and path.is_file()
    }
    tree = {"schema_version": MANIFEST_VERSION, "sha256": digests}
    (folder / MANIFEST).write_bytes(json.dumps(tree, indent=1).encode() + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
