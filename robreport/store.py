"""An `AuditRun` to and from its run folder: audit.json, arrays.npz, artifacts, manifest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robreport.codec import (
    arrays_from_npz,
    arrays_to_npz,
    from_json,
    outcome_from_json,
    outcome_to_json,
    parse,
    plain,
    result_from_json,
    result_to_json,
    to_json,
)
from robreport.errors import OutputError, RecordError
from robreport.outcome import (
    AuditRun,
    Computed,
    Failed,
    ModelFacts,
    Outcome,
    Requirement,
    Skipped,
    SplitFacts,
    Status,
    Verdict,
)
from robreport.policy import worst_first
from robreport.result import Result

SCHEMA_VERSION = 1
RECORD, ARRAYS, MANIFEST, ARTIFACTS = "audit.json", "arrays.npz", "manifest.json", "artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as bytes: what a run folder holds and a document embeds."""

    audit_json: bytes
    arrays_npz: bytes


def status_of(outcome: Outcome, requirements: Sequence[Requirement]) -> Status:
    """Return an outcome's status: its worst requirement, or info."""
    if isinstance(outcome, Failed):
        return Status.ERROR
    if isinstance(outcome, Skipped):
        return Status.NOT_RUN
    mine = [
        r for r in requirements
        if r.name == outcome.about.name and r.model == outcome.about.model
    ]  # fmt: skip
    return worst_first(mine)[0].status if mine else Status.INFO


def encode(run: AuditRun) -> Record:
    """Return the record of a run."""
    outcomes, arrays = [], {}
    for outcome in run.outcomes:
        tree, named = outcome_to_json(outcome, status_of(outcome, run.requirements))
        outcomes.append(tree)
        arrays.update(named)
    tree = {
        "schema_version": SCHEMA_VERSION,
        "audit": plain(run.audit),
        "verdict": plain(run.verdict),
        "spec": plain(run.spec),
        "spec_text": run.spec_text,
        "models": plain(run.models),
        "data": plain(run.data),
        "schema": plain(run.schema),
        "plugins": plain(run.plugins),
        "environment": plain(run.environment),
        "outcomes": outcomes,
        "requirements": plain(run.requirements),
        "coverage": run.coverage,
        "execution": {**plain(run.execution), "outcomes": _volatile(run.outcomes)},
    }
    return Record(audit_json=to_json(tree), arrays_npz=arrays_to_npz(arrays))


def _volatile(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for outcome in outcomes:
        if isinstance(outcome, Computed):
            found[outcome.about.key] = {
                "seconds": round(outcome.seconds, 3),
                "cached": outcome.cached,
                "peak_memory": int(outcome.peak_memory),
            }
        elif isinstance(outcome, Failed):
            found[outcome.about.key] = {
                "seconds": round(outcome.seconds, 3),
                "trace": outcome.trace,
                "log": outcome.log,
            }
    return found


def load_run(folder: Path) -> tuple[AuditRun, Record]:
    """Read a run folder; nothing in it is run, sizes are bounded.

    Raises
    ------
    RecordError
        It is no run folder, of another schema version, or damaged.
    """
    if not (folder / RECORD).is_file():
        raise RecordError(f"{folder} is not a run folder: it has no {RECORD}.")
    try:
        raw = (folder / RECORD).read_bytes()
        npz = (folder / ARRAYS).read_bytes() if (folder / ARRAYS).is_file() else b""
    except OSError as error:
        raise RecordError(f"{folder} cannot be read: {error.strerror}.") from None
    arrays = arrays_from_npz(folder / ARRAYS, ARRAYS) if npz else {}
    run = decode(raw, arrays, folder / ARTIFACTS)
    return run, Record(audit_json=raw, arrays_npz=npz or arrays_to_npz({}))


def decode(raw: bytes, arrays: Mapping[str, Any], artifacts: Path = Path(ARTIFACTS)) -> AuditRun:
    """Return the run of a record's bytes.

    Raises
    ------
    RecordError
        Of another schema version, or damaged.
    """
    tree = from_json(raw, RECORD)
    if not isinstance(tree, Mapping):
        raise RecordError(f"{RECORD} is damaged: an object is needed.")
    version = tree.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"{RECORD} has the schema version {version!r}; this robreport reads {SCHEMA_VERSION}."
        )
    fields = {
        "audit": dict[str, Any], "spec": dict[str, Any], "spec_text": str,
        "models": tuple[ModelFacts, ...], "data": tuple[SplitFacts, ...],
        "schema": dict[str, Any], "plugins": tuple[dict[str, Any], ...],
        "environment": dict[str, Any], "requirements": tuple[Requirement, ...],
        "verdict": Verdict, "execution": dict[str, Any],
    }  # fmt: skip
    parsed = {name: parse(kind, tree.get(name), f"{RECORD} {name}") for name, kind in fields.items()}
    volatile = parsed["execution"].get("outcomes", {})
    volatile = volatile if isinstance(volatile, Mapping) else {}
    listed = tree.get("outcomes")
    if not isinstance(listed, list):
        raise RecordError(f"{RECORD} is damaged: outcomes must be a list.")
    outcomes = tuple(outcome_from_json(item, arrays, volatile, artifacts) for item in listed)
    return AuditRun(outcomes=outcomes, **parsed)


def save_result(result: Result, folder: Path) -> None:
    """Write one result into a folder: result.json, arrays.npz, artifacts (copied)."""
    tree, arrays = result_to_json(result)
    for name, path in result.artifacts.items():
        target = folder / ARTIFACTS / path.name
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target)
        elif path.is_file():
            shutil.copy2(path, target)
        else:
            raise OutputError(f"the artifact {name} was declared but not written.")
    (folder / ARRAYS).write_bytes(arrays_to_npz(arrays))
    (folder / "result.json").write_bytes(to_json(tree))


def load_result(folder: Path) -> Result:
    """Read a result written by `save_result`."""
    tree = from_json((folder / "result.json").read_bytes(), "result.json")
    arrays = arrays_from_npz(folder / ARRAYS, ARRAYS)
    return result_from_json(tree, arrays, "result.json", folder / ARTIFACTS)


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds what this tool writes, so that it may be replaced."""
    return (folder / RECORD).is_file() and (folder / MANIFEST).is_file()


def check_output(place: Path) -> None:
    """Refuse a place that holds something other than a run folder.

    Raises
    ------
    OutputError
        Something else is there, or its parent cannot be written.
    """
    if place.is_symlink() or place.exists():
        empty = place.is_dir() and not any(place.iterdir())
        if not place.is_dir() or not (empty or is_run_folder(place)):
            raise OutputError(
                f"{place} exists and is not a run folder; it was left alone. Choose another "
                "place with --output."
            )


@contextlib.contextmanager
def run_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder beside `place`; on success it takes the place, else it is removed.

    Raises
    ------
    OutputError
        No space, no permission, or something else is there. An earlier run there is kept.
    """
    check_output(place)
    fresh: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        fresh.chmod(0o755)
        yield fresh
        _replace(fresh, place)
        fresh = None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"no space left for {place}; nothing was lost: free some and run again, finished "
                "measurements come from the cache."
            ) from None
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from None
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)


def _replace(fresh: Path, place: Path) -> None:
    """Put `fresh` where `place` is, keeping the old one until the new one stands."""
    old: Path | None = None
    if place.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{place.name}-old-", dir=place.parent))
        os.rename(place, old / "run")
    try:
        os.rename(fresh, place)
    except OSError:
        if old is not None:
            os.rename(old / "run", place)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def write_record(folder: Path, record: Record, run: AuditRun) -> None:
    """Write audit.json, arrays.npz and the artifacts of every outcome."""
    (folder / RECORD).write_bytes(record.audit_json)
    (folder / ARRAYS).write_bytes(record.arrays_npz)
    for outcome in run.outcomes:
        if isinstance(outcome, Computed):
            for path in outcome.result.artifacts.values():
                target = folder / ARTIFACTS / outcome.about.key / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, target)


def write_manifest(folder: Path) -> None:
    """Write manifest.json: the SHA-256 of every other file in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    digests = {path.relative_to(folder).as_posix(): _sha256(path) for path in files}
    (folder / MANIFEST).write_bytes(to_json({"schema_version": SCHEMA_VERSION, "sha256": digests}))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
