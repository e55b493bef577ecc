"""What a plan holds: the models and splits to load, and each measurement to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robreport.bundle import Needs
from robreport.metric import Comparison, Params
from robreport.outcome import Subject
from robreport.plugins import AnyMetric, Registry
from robreport.requirement import Expression
from robreport.spec import AuditSpec, MetricEntry, ModelEntry, jsonable
from robreport.threat import ThreatModel

CALIBRATION_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A model to load: its entry, resolved path and validated loader options."""

    entry: ModelEntry
    path: Path | None
    options: Params

    @property
    def name(self) -> str:
        return self.entry.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSplit:
    """A split to load. `carved_from` names the split that a calibration part is taken from."""

    role: str
    loader: str
    root: Path
    options: Params | None
    limit: int | None = None
    shuffle: bool = True
    carved_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One measurement: a metric on one model, on the data, or a comparison of outcomes."""

    entry: MetricEntry
    metric: AnyMetric
    kind: Literal["model", "data", "comparison"]
    model: str | None
    params: Params
    threats: tuple[ThreatModel, ...]
    roles: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``name@model``, as in the record."""
        return f"{self.entry.name}@{self.model}" if self.model else self.entry.name

    @property
    def needs(self) -> Needs:
        """What model and data must offer for it."""
        if issubclass(self.metric, Comparison):
            return Needs.NONE
        return self.metric.needs_of(self.params)

    def subject(self, sizes: Mapping[str, int] | None = None) -> Subject:
        """Return the words and parameters that the record keeps of this measurement."""
        metric = self.metric
        return Subject(
            name=self.entry.name,
            metric=metric.id,
            model=self.model,
            title=metric.title,
            question=metric.question,
            summary=metric.summary,
            reading=metric.reading,
            limits=metric.limits,
            references=tuple(metric.references),
            knowledge=metric.knowledge,
            params=dict(jsonable(self.params.model_dump())),
            threats=tuple(threat.name for threat in self.threats),
            splits={role: (sizes or {}).get(role, 0) for role in self.roles},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A spec that can be run, with everything resolved."""

    spec: AuditSpec
    registry: Registry
    models: tuple[PlannedModel, ...]
    splits: tuple[PlannedSplit, ...]
    threats: Mapping[str, ThreatModel]
    units: tuple[Unit, ...]
    requirements: Mapping[str, tuple[tuple[Expression, ...], tuple[Expression, ...]]]

    @property
    def allow_missing(self) -> frozenset[str]:
        """Names of the entries whose absence does not fail the audit."""
        return frozenset(e.name for e in self.spec.metrics if e.allow_missing)
