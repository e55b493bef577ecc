"""Read audit.toml into an `AuditSpec`: syntax and types; it knows no plugin."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)

from robreport.complaints import cleaned, join, problems_of, shown
from robreport.errors import Problem, SpecError, near_misses, unknown_word
from robreport.overrides import apply_overrides
from robreport.threat import Eps, Norm, parse_eps

NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}\Z")
NAME_FORM = "1 to 64 letters, digits, '.', '_' or '-'"
MAX_SPEC_BYTES = 4_000_000
TABLES = ("audit", "models", "data", "threats", "metrics", "report", "plugins", "execution")


def _name(value: str) -> str:
    # "." and ".." would lead out of the folders that names become
    if not NAME.match(value):
        raise ValueError(f"a name of {NAME_FORM} is needed, found {shown(value)}")
    return value


Name = Annotated[str, AfterValidator(_name)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
YesNo = Annotated[bool, Strict()]


def _eps_list(value: object) -> tuple[Eps, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("at least one eps is needed")
    budgets = tuple(item if isinstance(item, Eps) else parse_eps(item) for item in items)
    values = [budget.value for budget in budgets]
    if len(set(values)) != len(values):
        raise ValueError(f"each eps may stand once, found {', '.join(map(str, budgets))}")
    return tuple(sorted(budgets))


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = isinstance(value, str) and re.fullmatch(
            r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)\s*", value
        )
        if not match:
            raise ValueError(
                f"a duration such as '90s', '30m' or '2h' is needed, found {shown(value)}"
            )
        seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    if not 0 < seconds < 1e9:
        raise ValueError(f"a duration above 0 and below 30 years is needed, found {shown(value)}")
    return seconds


def _bytes(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        match = isinstance(value, str) and re.fullmatch(
            r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?i?B)\s*", value, re.IGNORECASE
        )
        if not match:
            raise ValueError(f"a size such as '512MB' or '8GB' is needed, found {shown(value)}")
        unit = match[2].upper()
        # 8GB is 8 * 10**9 bytes and 8GiB is 8 * 2**30, as the standards have it
        power = ("B", "KB", "MB", "GB", "TB").index(unit.replace("I", ""))
        size = int(float(match[1]) * (1024 if "I" in unit else 1000) ** power)
    if not 10**6 <= size < 2**60:
        raise ValueError(f"a size from 1 MB to 1 EB is needed, found {shown(value)}")
    return size


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value.lower()):
        raise ValueError(f"a SHA-256 of 64 hexadecimal digits is needed, found {shown(value)}")
    return value.lower()


def _bounds(
    value: tuple[float | tuple[float, ...], float | tuple[float, ...]],
) -> tuple[float | tuple[float, ...], float | tuple[float, ...]]:
    low, high = (side if isinstance(side, tuple) else (side,) for side in value)
    if (len(low) != len(high) and 1 not in (len(low), len(high))) or not low or not high:
        raise ValueError(f"the lower side has {len(low)} values and the upper {len(high)}")
    width = max(len(low), len(high))
    pairs = zip(low * (width // len(low)), high * (width // len(high)), strict=True)
    if not all(below < above for below, above in pairs):
        raise ValueError(f"the lower bound must lie below the upper, found {shown(value)}")
    return value


_T = TypeVar("_T", bound=BaseModel)


class Table(BaseModel):
    """A TOML table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AuditTable(Table):
    """``[audit]``: what the document says of itself."""

    title: str = Field(min_length=1, max_length=300)
    subtitle: str = Field("", max_length=300)
    seed: Whole = Field(0, ge=0, lt=2**32)
    prepared_by: str = ""
    distribution: str = ""
    status: str = ""
    purpose: str = ""
    out_of_scope: str = ""
    output: str = Field("audit", min_length=1)


class ModelEntry(Table):
    """One of ``[[models]]``; keys beyond these are its loader's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name
    version: str = ""
    loader: str
    path: Annotated[str, Field(min_length=1)] | None = None
    sha256: Annotated[str, AfterValidator(_digest)] | None = None
    trusted: YesNo = False

    @property
    def options(self) -> dict[str, Any]:
        """The loader's own keys."""
        return dict(self.__pydantic_extra__ or {})


class SplitEntry(Table):
    """One split of ``[data]``; keys beyond these are its loader's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    loader: str | None = None
    root: str | None = None
    limit: Annotated[Whole, Field(ge=1)] | None = None
    shuffle: YesNo = True

    @property
    def options(self) -> dict[str, Any]:
        """The loader's own keys."""
        return dict(self.__pydantic_extra__ or {})


class SchemaTable(Table):
    """``[data] schema``: what the columns of a table mean."""

    label: str | Whole | None = None
    classes: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    categorical: tuple[str | Whole, ...] = ()
    sensitive: tuple[str | Whole, ...] = ()
    group: str | Whole | None = None


Bound = Number | tuple[Number, ...]


class DataTable(Table):
    """``[data]``; keys beyond these are the default options of its splits' loaders."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: Literal["classification", "regression"]
    loader: str | None = None
    root: str = "."
    bounds: Annotated[tuple[Bound, Bound], AfterValidator(_bounds)] | None = None
    columns: SchemaTable = Field(default_factory=SchemaTable, alias="schema")
    train: SplitEntry | None = None
    test: SplitEntry | None = None
    calibration: SplitEntry | None = None
    ood: dict[Name, SplitEntry] = Field(default_factory=dict)
    shift: dict[Name, SplitEntry] = Field(default_factory=dict)
    extra: dict[Name, SplitEntry] = Field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The loader's own keys, shared by all splits."""
        return dict(self.__pydantic_extra__ or {})

    def splits(self) -> Iterator[tuple[str, SplitEntry]]:
        """Yield (role, entry) in the order train, test, calibration, ood, shift, extra."""
        for role in ("train", "test", "calibration"):
            entry = getattr(self, role)
            if entry is not None:
                yield role, entry
        for group in ("ood", "shift", "extra"):
            for name, entry in getattr(self, group).items():
                yield f"{group}.{name}", entry


class ThreatEntry(Table):
    """One of ``[threats.NAME]``."""

    norm: Norm
    eps: Annotated[tuple[Eps, ...], BeforeValidator(_eps_list)]
    knowledge: Literal["white box", "black box"] = "white box"
    goal: Literal["untargeted", "targeted"] = "untargeted"


def _metric_id(value: str) -> str:
    if not NAME.match(value):
        raise ValueError(f"an id such as 'attacks.suite' is needed, found {shown(value)}")
    return value


class MetricEntry(Table):
    """One of ``[[metrics]]``."""

    name: Name
    id: Annotated[str, AfterValidator(_metric_id)]
    threats: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    require: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()
    allow_missing: YesNo = False


class ReportTable(Table):
    """``[report]``."""

    formats: tuple[str, ...] = ("html", "pdf")
    theme: str = "default"


class PluginsTable(Table):
    """``[plugins]``: which distributions may be loaded; all when left out."""

    allow: tuple[str, ...] | None = None


class ExecutionTable(Table):
    """``[execution]``: how the audit is run; only threads and device can change a number."""

    workers: Whole = Field(
        default_factory=lambda: max(1, min(4, os.cpu_count() or 1)), ge=1, le=256
    )
    threads: Whole = Field(1, ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timeout: Annotated[float | None, BeforeValidator(_seconds)] = 7200.0
    memory: Annotated[int | None, BeforeValidator(_bytes)] = None
    cache: str | None = None


class AuditSpec(BaseModel):
    """The whole of ``audit.toml``, with the text it came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audit: AuditTable
    models: tuple[ModelEntry, ...] = ()
    data: DataTable | None = None
    threats: dict[Name, ThreatEntry] = Field(default_factory=dict)
    metrics: tuple[MetricEntry, ...] = ()
    report: ReportTable = Field(default_factory=ReportTable)
    plugins: PluginsTable = Field(default_factory=PluginsTable)
    execution: ExecutionTable = Field(default_factory=ExecutionTable)

    source: str = "audit.toml"
    base: Path = Path()
    text: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    broken_names: frozenset[str] = frozenset()
    places: dict[str, str] = Field(default_factory=dict)

    def path(self, where: str, value: str) -> Path:
        """Resolve a path of the spec: beside the file, or the current folder for ``--set``."""
        base = Path.cwd() if self.overridden(where) else self.base
        # not `resolve`: it raises on a loop of links, which whoever opens the path reports better
        return (base / value).absolute()

    def overridden(self, where: str) -> bool:
        """Whether ``--set`` gave the value at a path, or a table around it."""
        return any(where == key or where.startswith(f"{key}.") for key in self.overrides)

    def place(self, name: str) -> str:
        """Return the TOML path of the metric entry of that name."""
        return self.places.get(name, f"metrics.{name}")

    def normalised(self) -> dict[str, Any]:
        """Return what decides the results, as plain JSON: no workers, limits or output."""
        # not mode="json": it would make null of an infinity
        plain = self.model_dump(include=set(TABLES), by_alias=True, exclude_none=True)
        plain["audit"].pop("output", None)
        plain["execution"] = {
            key: plain["execution"][key]
            for key in ("threads", "device")
            if key in plain["execution"]
        }
        for threat in plain["threats"].values():
            threat["eps"] = [budget["text"] for budget in threat["eps"]]
        return dict(jsonable(plain))


def jsonable(value: Any) -> Any:
    """Return a TOML value as strict JSON: dates and numbers that are not finite as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, set | frozenset):
        return sorted(map(jsonable, value), key=str)
    if value is None or isinstance(value, str | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


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
