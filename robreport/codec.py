"""Results and records as strict JSON with arrays beside it, both ways."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from robreport.errors import MetricError, RecordError
from robreport.npz import KINDS
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
MAX_JSON_BYTES = 512 * 2**20
MAX_DEPTH = 100
_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}\Z")


def plain(value: Any) -> Any:
    """Return `value` as what JSON holds: dataclasses as objects, NumPy numbers as numbers.

    Raises
    ------
    MetricError
        A NaN, an infinity, or something that is no plain value.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # half a surrogate pair comes from a file name that is no UTF-8; it can be shown only
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        if abs(int(value)) >= 2**64:
            raise MetricError("a whole number of more than 64 bits cannot stand in a record")
        return int(value)
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise MetricError(f"{value} cannot stand in a record")
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _field(getattr(value, f.name), f.type) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, Path):
        return value.as_posix()
    raise MetricError(f"a {type(value).__name__} cannot stand in a record")


def _field(value: Any, declared: Any) -> Any:
    """Return a field as plain; whole numbers of a float's field as it will be read, 1 as 1.0."""
    found = plain(value)
    whole = isinstance(found, int) and not isinstance(found, bool)
    return float(found) if whole and declared in ("float", "float | None") else found


def to_json(tree: Any) -> bytes:
    """Return strict JSON (no NaN), UTF-8, stable order, one value a line."""
    text = json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def from_json(raw: bytes, what: str) -> Any:
    """Parse strict JSON.

    Raises
    ------
    RecordError
        Not JSON, not strict (NaN, infinities, a key twice, half a surrogate pair), too large, or
        nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not strict JSON")

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:40]} is beyond what a number can hold")
        return value

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("an object has a key twice")
        return found

    if len(raw) > MAX_JSON_BYTES:
        raise RecordError(f"{what} has {len(raw):,} bytes; at most {MAX_JSON_BYTES:,} are read.")
    try:
        tree = json.loads(raw, parse_constant=refuse, parse_float=number, object_pairs_hook=once)
        _check_tree(tree)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{what} is not strict JSON: {error}.") from None
    return tree


def _check_tree(tree: Any) -> None:
    """Refuse what recursion over the tree, or writing it again, would stumble over."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and not value.isascii():
                value.encode()
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


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
    except RecursionError:
        raise RecordError(f"{what} is nested too deeply.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{what} is damaged at {place or 'the top'}: {first['msg']}.") from None


def result_to_json(result: Result, prefix: str = "") -> tuple[dict[str, Any], dict[str, Array]]:
    """Return (JSON, arrays by key): ``prefix`` + name; pictures at ``prefix`` + images/NAME."""
    check_result(result)
    arrays: dict[str, Array] = {}
    named: dict[str, Any] = {}
    for name, array in result.arrays.items():
        # not ascontiguousarray: it makes a row of a single number
        kept = np.asarray(array, order="C")
        if kept.dtype.kind not in KINDS or not kept.dtype.itemsize:
            raise MetricError(f"array {name} has dtype {kept.dtype}, which no record can hold")
        arrays[prefix + name] = kept
        named[name] = {"key": prefix + name, "shape": list(kept.shape), "dtype": str(kept.dtype)}
    images: dict[str, Any] = {}
    for name, grid in result.images.items():
        key = f"{prefix}images/{name}"
        arrays[key] = np.asarray(grid.images, order="C")
        fields = {
            f.name: plain(getattr(grid, f.name))
            for f in dataclasses.fields(grid)
            if f.name != "images"
        }
        images[name] = {**fields, "key": key}
    tree = {
        "answer": plain(result.answer),
        "scalars": plain(result.scalars),
        "tables": plain(result.tables),
        "figures": plain(result.figures),
        "images": images,
        "findings": plain(result.findings),
        "caveats": plain(result.caveats),
        "checks": plain(result.checks),
        "arrays": named,
        "artifacts": {name: plain(path.name) for name, path in result.artifacts.items()},
        "spent": {name: round(float(seconds), 3) for name, seconds in result.spent.items()},
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
    for field in dataclasses.fields(Result):
        if field.name not in tree:
            raise RecordError(f"{what} is damaged: it has no {field.name}.")

    def array(key: object) -> Array:
        if not isinstance(key, str) or key not in arrays:
            raise RecordError(f"{what} refers to the array {key!r}, which is missing.")
        return arrays[key]

    def described(name: str, item: object) -> Array:
        fields = _mapping({name: item}, name, f"{what}.arrays")
        found = array(fields.get("key"))
        if fields.get("shape") != list(found.shape) or fields.get("dtype") != str(found.dtype):
            raise RecordError(f"{what}.arrays.{name} does not describe the array that is there.")
        return found

    images = {}
    for name, item in _mapping(tree, "images", what).items():
        fields = dict(_mapping({"images": item}, "images", what))
        pixels = array(fields.pop("key", None))
        grid = parse(_GridFields, fields, f"{what}.images.{name}")
        images[name] = ImageGrid(images=pixels, **dataclasses.asdict(grid))
    named = _mapping(tree, "arrays", what)
    result = Result(
        answer=parse(str, tree.get("answer"), f"{what}.answer"),
        scalars=parse(dict[str, Scalar], tree["scalars"], f"{what}.scalars"),
        tables=parse(dict[str, Table], tree["tables"], f"{what}.tables"),
        figures=parse(dict[str, Figure], tree["figures"], f"{what}.figures"),
        images=images,
        findings=parse(tuple[Finding, ...], tree["findings"], f"{what}.findings"),
        caveats=parse(tuple[Caveat, ...], tree["caveats"], f"{what}.caveats"),
        checks=parse(tuple[Check, ...], tree["checks"], f"{what}.checks"),
        arrays={name: described(name, item) for name, item in named.items()},
        artifacts={
            name: (artifacts or Path()) / _file_name(file, f"{what}.artifacts.{name}")
            for name, file in _mapping(tree, "artifacts", what).items()
        },
        spent=parse(dict[str, float], tree["spent"], f"{what}.spent"),
    )
    try:
        return check_result(result)
    except MetricError as error:
        raise RecordError(f"{what} cannot be used: {error}.") from None


def _file_name(value: object, what: str) -> str:
    """Return a bare file name: one that leads into no other folder."""
    if not isinstance(value, str) or not re.fullmatch(r"(?!\.\.?\Z)[^/\\\0]{1,255}", value):
        raise RecordError(f"{what} is damaged: {value!r} is no file name.")
    return value


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
        return {**tree, "outcome": "skipped", "reason": plain(outcome.reason)}, {}
    if isinstance(outcome, Failed):
        reason = plain(outcome.error)
        return {**tree, "outcome": "failed", "reason": reason, "kind": outcome.kind}, {}
    result, arrays = result_to_json(outcome.result, prefix=f"{about.key}/")
    del result["spent"]
    return {**tree, "outcome": "computed", **result}, arrays


def outcome_from_json(
    tree: object, arrays: Mapping[str, Array], execution: Mapping[str, Any], artifacts: Path
) -> Outcome:
    """Return the outcome of a record's entry, with what `execution` knows of it."""
    if not isinstance(tree, Mapping):
        raise RecordError("audit.json is damaged: an outcome must be an object.")
    fields = {f.name: tree[f.name] for f in dataclasses.fields(Subject) if f.name in tree}
    about = cast(Subject, parse(Subject, fields, "audit.json outcome"))
    for name in (about.name, *([] if about.model is None else [about.model])):
        # names become folders
        if not _NAME.match(name):
            raise RecordError(
                f"audit.json is damaged: {name!r} is no name of a measurement or model."
            )
    volatile = execution.get(about.key, {})
    volatile = volatile if isinstance(volatile, Mapping) else {}
    what = f"audit.json outcome {about.key}"
    kind = tree.get("outcome")
    if kind == "skipped":
        return cast(Skipped, parse(Skipped, {"about": about, "reason": tree.get("reason")}, what))
    if kind == "failed":
        fields = {
            "about": about,
            "error": tree.get("reason"),
            "kind": tree.get("kind"),
            **{k: volatile[k] for k in ("trace", "log", "seconds") if k in volatile},
        }
        return cast(Failed, parse(Failed, fields, what))
    if kind != "computed":
        raise RecordError(f"{what} is of the unknown kind {kind!r}.")
    spent = _mapping(volatile, "spent", what)
    result = result_from_json({**tree, "spent": spent}, arrays, what, artifacts / about.key)
    numbers = {k: volatile[k] for k in ("seconds", "cached", "peak_memory") if k in volatile}
    checked = parse(_Volatile, numbers, what)
    return Computed(about=about, result=result, **dataclasses.asdict(checked))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Volatile:
    seconds: float = 0.0
    cached: bool = False
    peak_memory: int = 0
