"""Results and records as strict JSON with arrays beside it, both ways."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from robreport.errors import MetricError, RecordError
from robreport.outcome import Computed, Failed, Outcome, Skipped, Status, Subject
from robreport.result import (
    Caveat,
    Check,
    Figure,
    Finding,
    ImageGrid,
    Result,
    Scalar,
    Table,
    check_result,
)

Array = npt.NDArray[Any]
MAX_ARRAYS_BYTES = 4 * 2**30
MAX_JSON_BYTES = 512 * 2**20


def plain(value: Any) -> Any:
    """Return `value` as what JSON holds: dataclasses as objects, NumPy numbers as numbers.

    Raises
    ------
    MetricError
        A NaN, an infinity, or something that is no plain value.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise MetricError(f"{value} cannot stand in a record")
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, Path):
        return value.as_posix()
    raise MetricError(f"a {type(value).__name__} cannot stand in a record")


def to_json(tree: Any) -> bytes:
    """Return strict JSON (no NaN), UTF-8, stable order, one value a line."""
    text = json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def from_json(raw: bytes, what: str) -> Any:
    """Parse strict JSON.

    Raises
    ------
    RecordError
        Not JSON, not strict (NaN), too large, or nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not strict JSON")

    if len(raw) > MAX_JSON_BYTES:
        raise RecordError(f"{what} has {len(raw):,} bytes; at most {MAX_JSON_BYTES:,} are read.")
    try:
        return json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{what} is not strict JSON: {error}.") from None


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the validator of a (data)class."""
    return TypeAdapter(kind)


def parse(kind: Any, tree: object, what: str) -> Any:
    """Return `tree` as `kind`.

    Raises
    ------
    RecordError
        It does not fit, naming the first place.
    """
    try:
        return adapter(kind).validate_python(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{what} is damaged at {place or 'the top'}: {first['msg']}.") from None


def result_to_json(result: Result, prefix: str = "") -> tuple[dict[str, Any], dict[str, Array]]:
    """Return (JSON, arrays by key); keys are ``prefix`` + name, pictures ``prefix`` + images/NAME."""
    check_result(result)
    arrays: dict[str, Array] = {}
    named: dict[str, Any] = {}
    for name, array in result.arrays.items():
        kept = np.ascontiguousarray(array)
        if kept.dtype.kind not in "biufU":
            raise MetricError(f"array {name} has dtype {kept.dtype}, which no record can hold")
        arrays[prefix + name] = kept
        named[name] = {"key": prefix + name, "shape": list(kept.shape), "dtype": str(kept.dtype)}
    images: dict[str, Any] = {}
    for name, grid in result.images.items():
        key = f"{prefix}images/{name}"
        arrays[key] = np.ascontiguousarray(grid.images)
        fields = {f.name: plain(getattr(grid, f.name)) for f in dataclasses.fields(grid)
                  if f.name != "images"}
        images[name] = {**fields, "key": key}
    tree = {
        "answer": result.answer,
        "scalars": plain(result.scalars),
        "tables": plain(result.tables),
        "figures": plain(result.figures),
        "images": images,
        "findings": plain(result.findings),
        "caveats": plain(result.caveats),
        "checks": plain(result.checks),
        "arrays": named,
        "artifacts": {name: path.name for name, path in result.artifacts.items()},
    }
    return tree, arrays


def result_from_json(
    tree: Mapping[str, Any], arrays: Mapping[str, Array], what: str, artifacts: Path | None = None
) -> Result:
    """Return the result of its JSON and arrays.

    Raises
    ------
    RecordError
        Something is missing, of another type, or could not stand in a record.
    """
    if not isinstance(tree, Mapping):
        raise RecordError(f"{what} is damaged: an object is needed.")

    def array(key: object) -> Array:
        if not isinstance(key, str) or key not in arrays:
            raise RecordError(f"{what} refers to the array {key!r}, which is missing.")
        return arrays[key]

    images = {}
    for name, item in _mapping(tree, "images", what).items():
        fields = dict(_mapping({"images": item}, "images", what))
        pixels = array(fields.pop("key", None))
        grid = parse(_GridFields, fields, f"{what}.images.{name}")
        images[name] = ImageGrid(images=pixels, **dataclasses.asdict(grid))
    named = _mapping(tree, "arrays", what)
    result = Result(
        answer=parse(str, tree.get("answer"), f"{what}.answer"),
        scalars=parse(dict[str, Scalar], tree.get("scalars", {}), f"{what}.scalars"),
        tables=parse(dict[str, Table], tree.get("tables", {}), f"{what}.tables"),
        figures=parse(dict[str, Figure], tree.get("figures", {}), f"{what}.figures"),
        images=images,
        findings=parse(tuple[Finding, ...], tree.get("findings", ()), f"{what}.findings"),
        caveats=parse(tuple[Caveat, ...], tree.get("caveats", ()), f"{what}.caveats"),
        checks=parse(tuple[Check, ...], tree.get("checks", ()), f"{what}.checks"),
        arrays={
            name: array(item.get("key") if isinstance(item, Mapping) else None)
            for name, item in named.items()
        },
        artifacts={
            name: (artifacts or Path()) / Path(str(file)).name
            for name, file in _mapping(tree, "artifacts", what).items()
        },
    )
    try:
        return check_result(result)
    except MetricError as error:
        raise RecordError(f"{what} cannot be used: {error}.") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _GridFields:
    """An `ImageGrid` without its pixels."""

    title: str
    caption: str
    alt: str
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    cell_labels: tuple[tuple[str, ...], ...] = ()


def _mapping(tree: Mapping[str, Any], key: str, what: str) -> Mapping[str, Any]:
    value = tree.get(key, {})
    if not isinstance(value, Mapping):
        raise RecordError(f"{what}.{key} is damaged: an object is needed.")
    return value


def outcome_to_json(outcome: Outcome, status: Status) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return an outcome as the record holds it, without what is volatile, and its arrays."""
    about = outcome.about
    tree = {
        "name": about.name,
        "metric": about.metric,
        "model": about.model,
        "status": str(status),
        "reason": "",
        **{key: plain(getattr(about, key)) for key in (
            "title", "question", "summary", "reading", "limits", "references", "knowledge",
            "params", "threats", "splits",
        )},
    }  # fmt: skip
    if isinstance(outcome, Skipped):
        return {**tree, "outcome": "skipped", "reason": outcome.reason}, {}
    if isinstance(outcome, Failed):
        return {**tree, "outcome": "failed", "reason": outcome.error, "kind": outcome.kind}, {}
    result, arrays = result_to_json(outcome.result, prefix=f"{about.key}/")
    return {**tree, "outcome": "computed", **result}, arrays


def outcome_from_json(
    tree: object, arrays: Mapping[str, Array], execution: Mapping[str, Any], artifacts: Path
) -> Outcome:
    """Return the outcome of a record's entry, with what `execution` knows of it."""
    if not isinstance(tree, Mapping):
        raise RecordError("audit.json is damaged: an outcome must be an object.")
    fields = {f.name: tree[f.name] for f in dataclasses.fields(Subject) if f.name in tree}
    about = cast(Subject, parse(Subject, fields, "audit.json outcome"))
    volatile = execution.get(about.key, {})
    volatile = volatile if isinstance(volatile, Mapping) else {}
    what = f"audit.json outcome {about.key}"
    kind = tree.get("outcome")
    if kind == "skipped":
        return cast(Skipped, parse(Skipped, {"about": about, "reason": tree.get("reason")}, what))
    if kind == "failed":
        fields = {"about": about, "error": tree.get("reason"), "kind": tree.get("kind"),
                  **{k: volatile[k] for k in ("trace", "log", "seconds") if k in volatile}}
        return cast(Failed, parse(Failed, fields, what))
    if kind != "computed":
        raise RecordError(f"{what} is of the unknown kind {kind!r}.")
    result = result_from_json(tree, arrays, what, artifacts / about.key)
    numbers = {k: volatile[k] for k in ("seconds", "cached", "peak_memory") if k in volatile}
    checked = parse(_Volatile, numbers, what)
    return Computed(about=about, result=result, **dataclasses.asdict(checked))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Volatile:
    seconds: float = 0.0
    cached: bool = False
    peak_memory: int = 0


def arrays_to_npz(arrays: Mapping[str, Array]) -> bytes:
    """Return a compressed npz with the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(arrays[key]), allow_pickle=False)
            # a fixed date: the archive must not depend on the clock
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())
    return buffer.getvalue()


def arrays_from_npz(path: Path, what: str) -> dict[str, Array]:
    """Read an npz that may be hostile: no pickle, bounded size.

    Raises
    ------
    RecordError
        Not an npz, damaged, or larger unpacked than is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > MAX_ARRAYS_BYTES:
                raise RecordError(f"{what} unpacks to {total:,} bytes; at most "
                                  f"{MAX_ARRAYS_BYTES:,} are read.")
            found = {}
            for info in archive.infolist():
                with archive.open(info) as file:
                    content = io.BytesIO(file.read(info.file_size + 1))
                found[info.filename.removesuffix(".npy")] = np.lib.format.read_array(
                    content, allow_pickle=False, max_header_size=10_000
                )
            return found
    except RecordError:
        raise
    except Exception as error:  # zipfile, zlib and the header parser raise many kinds
        raise RecordError(f"{what} is damaged: {type(error).__name__}: {error}.") from None
