"""Read audit.toml into an `AuditSpec`, with every problem that it has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from robreport.complaints import cleaned, join, problems_of, shown
from robreport.errors import Problem, SpecError, near_misses, unknown_word
from robreport.overrides import apply_overrides
from robreport.spec import (
    TABLES,
    AuditSpec,
    AuditTable,
    DataTable,
    ExecutionTable,
    MetricEntry,
    ModelEntry,
    PluginsTable,
    ReportTable,
    SplitEntry,
    ThreatEntry,
    jsonable,
)
from robreport.values import NAME, NAME_FORM

MAX_SPEC_BYTES = 4_000_000

_T = TypeVar("_T", bound=BaseModel)


def read_spec(path: Path, overrides: Sequence[str] = ()) -> AuditSpec:
    """Read and check a spec file; overrides are ``key=value`` as given to ``--set``.

    The result carries the problems found, so that the plan can report its own beside them.

    Raises
    ------
    SpecError
        The file cannot be read or is not TOML.
    """
    try:
        if path.is_dir():
            raise SpecError(
                [Problem("", f"{path} is a folder.", "Give the audit.toml inside it.")], str(path)
            )
        with path.open("rb") as file:
            raw = file.read(MAX_SPEC_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise SpecError([Problem("", f"cannot be read: {said}.")], str(path)) from None
    if len(raw) > MAX_SPEC_BYTES:
        raise SpecError(
            [Problem("", f"more than {MAX_SPEC_BYTES:,} bytes are too many for a spec.")],
            str(path),
        )
    try:
        text = raw.decode("utf-8-sig")
        tree = tomllib.loads(text)
    except RecursionError:
        raise SpecError([Problem("", "not usable TOML: nested too deeply.")], path.name) from None
    except ValueError as error:  # of TOML, of the encoding, and of numbers with too many digits
        raise SpecError([Problem("", f"not valid TOML: {error}.")], path.name) from None
    applied, problems = apply_overrides(tree, overrides)
    spec = parse_spec(
        tree, text=text, source=path.name, base=path.parent.absolute(),
        overrides=applied,
    )  # fmt: skip
    return spec.model_copy(update={"problems": (*problems, *spec.problems)})


def parse_spec(
    tree: Mapping[str, Any],
    *,
    text: str = "",
    source: str = "audit.toml",
    base: Path = Path(),
    overrides: Mapping[str, Any] | None = None,
) -> AuditSpec:
    """Return the spec of a TOML tree with every problem found in ``problems``."""
    reader = _Reader()
    spec = reader.spec(cleaned(tree, reader.problems))
    return spec.model_copy(
        update={
            "text": text,
            "source": source,
            "base": base,
            "overrides": jsonable(overrides or {}),
            "problems": tuple(reader.problems),
            "broken_names": frozenset(reader.broken),
            "places": reader.places,
        }
    )


class _Reader:
    """Validates table by table, so that one bad entry does not hide the others' problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.broken: set[str] = set()
        self.places: dict[str, str] = {}

    def spec(self, tree: Mapping[str, Any]) -> AuditSpec:
        for key in tree:
            if key not in TABLES:
                self.problems.append(Problem(join("", key), *unknown_word("table", key, TABLES)))
        if "audit" not in tree:
            self.problems.append(
                Problem("audit", "the table [audit] is missing.", 'Add [audit] with title = "...".')
            )
        audit = self.table(AuditTable, tree.get("audit", {"title": "untitled"}), "audit")
        data = self.data(tree["data"]) if "data" in tree else None
        threats = {}
        for name, entry in self.named(tree.get("threats", {}), "threats").items():
            threat = self.table(ThreatEntry, entry, join("threats", name))
            if threat is None:
                self.broken.add(name)
            else:
                threats[name] = threat
        return AuditSpec(
            audit=audit or AuditTable(title="untitled"),
            models=self.entries(ModelEntry, tree.get("models", []), "models"),
            data=data,
            threats=threats,
            metrics=self.entries(MetricEntry, self.with_names(tree.get("metrics", [])), "metrics"),
            report=self.table(ReportTable, tree.get("report", {}), "report") or ReportTable(),
            plugins=self.table(PluginsTable, tree.get("plugins", {}), "plugins") or PluginsTable(),
            execution=self.table(ExecutionTable, tree.get("execution", {}), "execution")
            or ExecutionTable(),
        )

    def table(self, kind: type[_T], value: object, where: str) -> _T | None:
        """Return `value` as `kind`, or None with its problems noted."""
        if not isinstance(value, Mapping):
            self.problems.append(Problem(where, f"a table is needed, found {shown(value)}."))
            return None
        try:
            return kind.model_validate(dict(value))
        except ValidationError as error:
            self.problems += problems_of(error, kind, where, value)
            return None

    def entries(self, kind: type[_T], value: object, where: str) -> tuple[_T, ...]:
        """Return the valid entries of an array of tables with unique names."""
        if not isinstance(value, list):
            self.problems.append(
                Problem(
                    where,
                    f"an array of tables is needed, found {shown(value)}.",
                    f"Write [[{where}]], with two brackets.",
                )
            )
            return ()
        found: dict[str, _T] = {}
        for i, item in enumerate(value):
            name = item.get("name") if isinstance(item, Mapping) else None
            good = isinstance(name, str) and NAME.match(name)
            place = self.places.get(str(name)) if kind is MetricEntry else None
            entry = self.table(
                kind, item, place or (f"{where}.{name}" if good else f"{where}[{i}]")
            )
            if entry is None:
                self.broken |= {name} if isinstance(name, str) else set()
            elif str(name) in found:
                self.problems.append(
                    Problem(
                        f"{where}[{i}].name",
                        f"the name '{name}' is taken by an earlier entry.",
                        "Give each entry a name of its own.",
                    )
                )
            else:
                found[str(name)] = entry
        return tuple(found.values())

    def with_names(self, metrics: object) -> object:
        """Give each metric entry without a name its id, when that is unique."""
        if not isinstance(metrics, list):
            return metrics
        nameless = [m for m in metrics if isinstance(m, Mapping) and "name" not in m]
        ids = [m.get("id") for m in nameless]
        named = []
        for i, entry in enumerate(metrics):
            identity = entry.get("id") if isinstance(entry, Mapping) else None
            if not isinstance(entry, Mapping) or "name" in entry:
                named.append(entry)
            elif isinstance(identity, str) and NAME.match(identity) and ids.count(identity) == 1:
                named.append({**entry, "name": identity})
            else:
                # a name for the time being, so that the entry's other problems are found, too
                name = f"nameless-{i}"
                self.places[name] = f"metrics[{i}]"
                named.append({**entry, "name": name})
                if ids.count(identity) > 1 and isinstance(identity, str):
                    self.problems.append(
                        Problem(
                            f"metrics[{i}].name",
                            f"is missing, and the id {shown(identity)} stands more than once.",
                            "Give each of these entries a name of its own.",
                        )
                    )
        return named

    def named(self, value: object, where: str) -> dict[str, Any]:
        """Return a table of named tables, without the badly named."""
        if not isinstance(value, Mapping):
            self.problems.append(Problem(where, f"a table is needed, found {shown(value)}."))
            return {}
        good = {}
        for name, item in value.items():
            if NAME.match(name):
                good[name] = item
            else:
                self.problems.append(Problem(join(where, name), f"a name has {NAME_FORM}."))
        return good

    def data(self, value: object) -> DataTable | None:
        """Return ``[data]`` with its valid splits."""
        if not isinstance(value, Mapping):
            self.problems.append(Problem("data", f"a table is needed, found {shown(value)}."))
            return None
        tree = dict(value)
        splits: dict[str, Any] = {}
        for role in ("train", "test", "calibration"):
            if role in tree:
                entry = self.table(SplitEntry, tree.pop(role), f"data.{role}")
                splits[role] = entry
        for group in ("ood", "shift", "extra"):
            if group in tree:
                made = {
                    name: self.table(SplitEntry, item, f"data.{group}.{name}")
                    for name, item in self.named(tree.pop(group), f"data.{group}").items()
                }
                splits[group] = {name: entry for name, entry in made.items() if entry}
        self.misspelled_splits(tree)
        table = self.table(DataTable, tree, "data")
        return table.model_copy(update=splits) if table else None

    def misspelled_splits(self, tree: dict[str, Any]) -> None:
        """Take tables out of ``[data]`` that look like a split or group of another name."""
        groups = ("train", "test", "calibration", "ood", "shift", "extra", "schema")
        for key in [k for k, v in tree.items() if isinstance(v, Mapping) and k != "schema"]:
            if near_misses(key, groups, 1):
                del tree[key]
                self.problems.append(
                    Problem(join("data", key), *unknown_word("table", key, groups))
                )
