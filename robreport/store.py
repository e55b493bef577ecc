"""An `AuditRun` to and from its run folder: audit.json, arrays.npz, artifacts, manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robreport.codec import (
    MAX_JSON_BYTES,
    from_json,
    outcome_from_json,
    outcome_to_json,
    parse,
    plain,
    result_from_json,
    result_to_json,
    to_json,
)
from robreport.datacard import card_problem
from robreport.errors import MetricError, RecordError
from robreport.npz import MAX_ARRAYS_BYTES, arrays_from_npz, arrays_to_npz
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
from robreport.runfolder import (
    ARRAYS,
    ARTIFACTS,
    MANIFEST,
    RECORD,
    check_output,
    is_run_folder,
    run_folder,
    write_manifest,
)

__all__ = [
    "ARRAYS", "ARTIFACTS", "MANIFEST", "RECORD", "SCHEMA_VERSION", "Record", "check_output",
    "decode", "encode", "is_run_folder", "load_result", "load_run", "run_folder", "save_result",
    "status_of", "write_manifest", "write_record",
]  # fmt: skip
SCHEMA_VERSION = 1


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
        "spec_text": plain(run.spec_text),
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
                "spent": {k: round(float(v), 3) for k, v in outcome.result.spent.items()},
            }
        elif isinstance(outcome, Failed):
            found[outcome.about.key] = {
                "seconds": round(outcome.seconds, 3),
                "trace": plain(outcome.trace),
                "log": plain(outcome.log),
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
        raw = _bounded(folder / RECORD, MAX_JSON_BYTES)
        npz = arrays_to_npz({})
        if (folder / ARRAYS).is_file():
            npz = _bounded(folder / ARRAYS, MAX_ARRAYS_BYTES)
    except OSError as error:
        raise RecordError(f"{folder} cannot be read: {error.strerror}.") from None
    run = decode(raw, arrays_from_npz(npz, ARRAYS), folder / ARTIFACTS)
    return run, Record(audit_json=raw, arrays_npz=npz)


def _bounded(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise RecordError(f"{path.name} has more than the {most:,} bytes that are read.")
    return content


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
    if isinstance(version, bool) or version != SCHEMA_VERSION:
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
    parsed = {
        name: parse(kind, tree.get(name), f"{RECORD} {name}") for name, kind in fields.items()
    }
    volatile = parsed["execution"].get("outcomes")
    if not isinstance(volatile, Mapping):
        raise RecordError(f"{RECORD} is damaged: execution.outcomes must be an object.")
    listed = tree.get("outcomes")
    if not isinstance(listed, list):
        raise RecordError(f"{RECORD} is damaged: outcomes must be a list.")
    outcomes = tuple(outcome_from_json(item, arrays, volatile, artifacts) for item in listed)
    run = AuditRun(outcomes=outcomes, **parsed)
    _check_consistent(run, tree, listed)
    return run


def _check_consistent(run: AuditRun, tree: Mapping[str, Any], listed: list[Any]) -> None:
    """Refuse a record that says one thing twice, differently."""
    keys = [outcome.about.key for outcome in run.outcomes]
    for i, outcome in enumerate(run.outcomes):
        if keys[i] in keys[:i]:
            raise RecordError(f"{RECORD} is damaged: {keys[i]} stands twice among the outcomes.")
        status = status_of(outcome, run.requirements)
        if listed[i].get("status") != str(status):
            raise RecordError(
                f"{RECORD} is damaged: {keys[i]} has the status {listed[i].get('status')!r}, and "
                f"its requirements make it {str(status)!r}."
            )
    for split in run.data:
        problem = card_problem(split.card, split.n) if split.card is not None else ""
        if problem:
            raise RecordError(f"{RECORD} is damaged: data.{split.role}: {problem}.")
    if tree.get("coverage") != run.coverage:
        raise RecordError(f"{RECORD} is damaged: coverage does not count the outcomes.")


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
            raise MetricError(f"the artifact {name} was declared but not written")
    (folder / ARRAYS).write_bytes(arrays_to_npz(arrays))
    (folder / "result.json").write_bytes(to_json(tree))


def load_result(folder: Path) -> Result:
    """Read a result written by `save_result`.

    Raises
    ------
    RecordError
        A part of it is missing or damaged.
    """
    try:
        raw = _bounded(folder / "result.json", MAX_JSON_BYTES)
    except OSError as error:
        raise RecordError(f"result.json cannot be read: {error.strerror}.") from None
    arrays = arrays_from_npz(folder / ARRAYS, ARRAYS)
    tree = from_json(raw, "result.json")
    result = result_from_json(tree, arrays, "result.json", folder / ARTIFACTS)
    for name, path in result.artifacts.items():
        if not path.exists():
            raise RecordError(f"result.json names the artifact {name}, which is missing.")
    return result


def write_record(folder: Path, record: Record, run: AuditRun) -> None:
    """Write audit.json, arrays.npz and the artifacts of every outcome."""
    (folder / RECORD).write_bytes(record.audit_json)
    (folder / ARRAYS).write_bytes(record.arrays_npz)
    for outcome in run.outcomes:
        if isinstance(outcome, Computed):
            for path in outcome.result.artifacts.values():
                target = folder / ARTIFACTS / outcome.about.key / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy_artifact(path, target)


def _copy_artifact(path: Path, target: Path) -> None:
    """Copy a file or folder; a link in a record that somebody sent could lead anywhere."""
    inside = path.rglob("*") if path.is_dir() else ()
    for item in (path, *inside):
        if item.is_symlink() or not (item.is_file() or item.is_dir()):
            raise RecordError(f"the artifact {item.name} is missing or no plain file; left alone.")
    copy = shutil.copytree if path.is_dir() else shutil.copy2
    copy(path, target)
