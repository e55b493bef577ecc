"""What an audit.toml may hold: tables, keys and types; it knows no plugin."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from robreport.errors import Problem
from robreport.threat import Norm
from robreport.values import (
    Bounds,
    Bytes,
    Digest,
    EpsList,
    MetricId,
    Name,
    Seconds,
    Whole,
    YesNo,
)

TABLES = ("audit", "models", "data", "threats", "metrics", "report", "plugins", "execution")


class Table(BaseModel):
    """A TOML table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AuditTable(Table):
    """``[audit]``: what the document says of itself."""

    title: str = Field(min_length=1, max_length=300, description="What the cover says.")
    subtitle: str = Field("", max_length=300, description="A second line on the cover.")
    seed: Whole = Field(0, ge=0, lt=2**32, description="Every random choice follows from it.")
    prepared_by: str = Field("", description="Who made the audit, on the cover.")
    distribution: str = Field("", description="Who may read the document, on the cover.")
    status: str = Field("", description="Of the document, such as draft or final, on the cover.")
    purpose: str = Field("", description="What the audit is to decide.")
    out_of_scope: str = Field("", description="What the audit says nothing about.")
    output: str = Field(
        "audit",
        min_length=1,
        description="The run folder, relative to the audit file; --output overrides. An existing "
        "folder is replaced only if it is a run folder.",
    )


class ModelEntry(Table):
    """One of ``[[models]]``; keys beyond these are its loader's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name = Field(description="What the document and other entries call the model; unique.")
    version: str = Field("", description="Shown beside the name.")
    loader: str = Field(description="Which loader reads the file.")
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="The model's file, relative to the audit file."
    )
    sha256: Digest | None = Field(
        None, description="SHA-256 that the file must have; another file is refused."
    )
    trusted: YesNo = Field(
        False,
        description="Allow formats that can run code when read, such as pickle; the report says "
        "so.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The loader's own keys."""
        return dict(self.__pydantic_extra__ or {})


class SplitEntry(Table):
    """One split of ``[data]``; keys beyond these are its loader's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    loader: str | None = Field(
        None, description="Which loader reads this split; that of [data] when left out."
    )
    root: str | None = Field(
        None, description="Folder that the split's paths start from; that of [data] when left out."
    )
    limit: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="Use only so many examples, the first after a seeded shuffle."
    )
    shuffle: YesNo = Field(
        True, description="false: limit takes the first examples in the file's own order."
    )

    @property
    def options(self) -> dict[str, Any]:
        """The loader's own keys."""
        return dict(self.__pydantic_extra__ or {})


class SchemaTable(Table):
    """``[data] schema``: what the columns of a table mean."""

    label: str | Whole | None = Field(None, description="Name or position of the label's column.")
    classes: tuple[str, ...] | None = Field(
        None, description="Names of the classes, in the order of their numbers."
    )
    features: tuple[str, ...] | None = Field(
        None, description="Names of the features, in the order of the inputs."
    )
    categorical: tuple[str | Whole, ...] = Field(
        (), description="Columns whose values are categories, also where they look like numbers."
    )
    sensitive: tuple[str | Whole, ...] = Field(
        (), description="Columns that describe what must not decide, such as sex or origin."
    )
    group: str | Whole | None = Field(
        None, description="Column that says which group a row belongs to."
    )
    frozen: tuple[str | Whole, ...] = Field(
        (), description="Columns that nobody can change, and so no attack may."
    )
    drop: tuple[str | Whole, ...] = Field(
        (), description="Columns that are no inputs of the models."
    )
    positive: str | None = Field(
        None, description="The positive one of two classes; it becomes the last."
    )


class DataTable(Table):
    """``[data]``; keys beyond these are the default options of its splits' loaders."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: Literal["classification", "regression"] = Field(
        description="Whether models predict classes or values; one audit, one task."
    )
    loader: str | None = Field(
        None, description="Which loader reads the data; a split may name its own."
    )
    root: str = Field(
        ".", description="Folder that the splits' paths start from, relative to the audit file."
    )
    bounds: Bounds | None = Field(
        None,
        description="[low, high], each a number or one per feature: attacks stay inside, and data "
        "outside is refused.",
    )
    columns: SchemaTable = Field(
        default_factory=SchemaTable,
        alias="schema",
        description="For tables: what the columns mean.",
    )
    train: SplitEntry | None = Field(None, description="What the models were trained on: members.")
    test: SplitEntry | None = Field(
        None, description="What the models have not seen: non-members, and the reference."
    )
    calibration: SplitEntry | None = Field(
        None,
        description="For thresholds that are set before testing; a seeded fifth of test where a "
        "metric asks for it and it is left out.",
    )
    ood: dict[Name, SplitEntry] = Field(
        default_factory=dict, description="Named sets of inputs that are of another kind."
    )
    shift: dict[Name, SplitEntry] = Field(
        default_factory=dict, description="Named, labelled sets that are shifted or corrupted."
    )
    extra: dict[Name, SplitEntry] = Field(
        default_factory=dict, description="Named sets that some metric asks for by their name."
    )

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

    norm: Norm = Field(description="In which a perturbation is measured.")
    eps: EpsList = Field(
        description="Perturbation budgets in data space, as numbers or fractions such as '8/255'."
    )
    knowledge: Literal["white box", "black box"] = Field(
        "white box", description="Whether the attacker knows the model or only asks it."
    )
    goal: Literal["untargeted", "targeted"] = Field(
        "untargeted", description="Whether any wrong class will do, or a chosen one."
    )
    scale: Literal["none", "std", "range"] = Field(
        "none",
        description="Units of eps: the data's, or each column's standard deviation or range.",
    )
    frozen: tuple[str, ...] = Field(
        (), description="Columns that stay as they are, beside those of data.schema."
    )
    increase: tuple[str, ...] = Field((), description="Columns that may only grow.")
    decrease: tuple[str, ...] = Field((), description="Columns that may only shrink.")
    integer: tuple[str, ...] = Field(
        (), description="Columns of whole numbers, beside those found in the data."
    )
    one_hot: tuple[tuple[str, ...], ...] = Field(
        (), description="Groups of columns of which one is 1 and the others 0."
    )


class MetricEntry(Table):
    """One of ``[[metrics]]``."""

    name: Name = Field(
        description="What the document calls the entry; its id when left out and unique."
    )
    id: MetricId = Field(description="Which metric: robreport metrics lists them.")
    threats: tuple[str, ...] = Field(
        (), description="Names of threat models, for metrics that take them."
    )
    models: tuple[str, ...] | None = Field(
        None, description="Names of the models to measure; all when left out."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="The metric's own parameters.")
    require: tuple[str, ...] = Field(
        (),
        description="What must hold, such as 'robust_accuracy[linf, 8/255] >= 0.5'; the threshold "
        "may be a fraction or a percentage.",
    )
    warn: tuple[str, ...] = Field((), description="The same, for a warning instead of a failure.")
    allow_missing: YesNo = Field(
        False, description="true: the audit does not fail when this could not be measured."
    )


class ReportTable(Table):
    """``[report]``."""

    formats: tuple[str, ...] = Field(("html", "pdf"), description="Documents to write.")
    theme: str = Field("default", description="How the documents look.")


class PluginsTable(Table):
    """``[plugins]``: which distributions may be loaded; all when left out."""

    allow: tuple[str, ...] | None = Field(
        None, description="Names of distributions whose plugins may be loaded."
    )


class ExecutionTable(Table):
    """``[execution]``: how the audit is run; only threads and device can change a number."""

    workers: Whole = Field(
        default_factory=lambda: max(1, min(4, os.cpu_count() or 1)),
        ge=1,
        le=256,
        description="Measurements at a time.",
    )
    threads: Whole = Field(
        1, ge=1, le=256, description="Threads of each measurement; part of what decides a number."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where models run.")
    timeout: Seconds = Field(
        7200.0, description="Limit of one measurement, such as '30m', or in seconds."
    )
    memory: Bytes = Field(None, description="Limit of one measurement, such as '8GB', or in bytes.")
    cache: str | None = Field(
        None,
        description="Folder of finished measurements; the user's cache folder when left out.",
    )


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
