"""Resolve a spec against the registry: what will be loaded and measured, or every problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from robreport.errors import Problem, SpecError, unknown_word
from robreport.metric import Comparison, Metric, Params
from robreport.outcome import Subject
from robreport.plugins import AnyMetric, Registry
from robreport.requirement import Expression, parse_expression
from robreport.result import facets
from robreport.spec import AuditSpec, MetricEntry, ModelEntry, SplitEntry, problems_of
from robreport.threat import ThreatModel, parse_eps

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
            params=self.params.model_dump(mode="json"),
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


def make_plan(spec: AuditSpec, registry: Registry) -> Plan:
    """Return the plan of a spec.

    Raises
    ------
    SpecError
        With every problem of the spec: those found on reading it, and unknown ids, loaders,
        parameters, threats, models, splits and requirements.
    """
    planner = _Planner(spec, registry)
    plan = planner.plan()
    if planner.problems:
        raise SpecError(planner.problems, spec.source)
    return plan


class _Planner:
    def __init__(self, spec: AuditSpec, registry: Registry) -> None:
        self.spec = spec
        self.registry = registry
        self.problems = list(spec.problems)

    def add(self, where: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(where, message, hint))

    def unknown(self, where: str, kind: str, word: str, known: Iterable[str]) -> None:
        """Note an unknown name, with the plugins that might have offered it."""
        message, hint = unknown_word(kind, word, known)
        if self.registry.failed:
            names = ", ".join(f"{r.name} ({r.error})" for r in self.registry.failed)
            hint = f"{hint} Plugins that failed to load: {names}.".strip()
        self.add(where, message, hint)

    def plan(self) -> Plan:
        threats = {
            name: ThreatModel(
                name=name, norm=entry.norm, eps=entry.eps, knowledge=entry.knowledge,
                goal=entry.goal,
            )
            for name, entry in self.spec.threats.items()
        }  # fmt: skip
        self.report()
        models = tuple(m for entry in self.spec.models if (m := self.model(entry)))
        requirements = {
            entry.name: (
                self.expressions(entry, "require", threats),
                self.expressions(entry, "warn", threats),
            )
            for entry in self.spec.metrics
        }
        units = tuple(unit for entry in self.spec.metrics for unit in self.units(entry, threats))
        if not self.spec.metrics and not self.spec.problems:
            self.add("metrics", "nothing is to be measured.", "Add a [[metrics]] entry.")
        splits = self.splits(units)
        return Plan(
            spec=self.spec, registry=self.registry, models=models, splits=splits,
            threats=threats, units=units, requirements=requirements,
        )  # fmt: skip

    def report(self) -> None:
        for i, name in enumerate(self.spec.report.formats):
            if name not in self.registry.renderers:
                self.unknown(f"report.formats[{i}]", "format", name, self.registry.renderers)
        if self.spec.report.theme not in self.registry.themes:
            self.unknown("report.theme", "theme", self.spec.report.theme, self.registry.themes)

    def model(self, entry: ModelEntry) -> PlannedModel | None:
        where = f"models.{entry.name}"
        loader = self.registry.model_loaders.get(entry.loader)
        if loader is None:
            self.unknown(f"{where}.loader", "model loader", entry.loader,
                         self.registry.model_loaders)
            return None
        options = self.options(loader.Options, entry.options, where, ModelEntry)
        path = None
        if entry.path is not None:
            path = self.spec.path(f"{where}.path", entry.path)
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                self.add(f"{where}.path", f"the file {entry.path!r} {what}.",
                         "Paths are relative to the spec's folder.")
        return PlannedModel(entry=entry, path=path, options=options) if options else None

    def options(
        self, kind: type[Params], given: Mapping[str, Any], where: str, common: type[Any] | None
    ) -> Params | None:
        try:
            return kind.model_validate(dict(given))
        except ValidationError as error:
            problems = problems_of(error, kind, where)
            if common is not None:
                problems = [_with_common(problem, kind, common) for problem in problems]
            self.problems += problems
            return None

    def splits(self, units: Sequence[Unit]) -> tuple[PlannedSplit, ...]:
        data = self.spec.data
        if data is None:
            return ()
        found = [split for role, entry in data.splits() if (split := self.split(role, entry))]
        roles = {split.role for split in found}
        wanted = {role for unit in units for role in unit.roles}
        if "calibration" in wanted and "calibration" not in roles and "test" in roles:
            test = next(split for split in found if split.role == "test")
            found.insert(
                found.index(test) + 1,
                PlannedSplit(role="calibration", loader=test.loader, root=test.root, options=None,
                             carved_from="test"),
            )
        if not found and not self.spec.problems:
            self.add("data", "no split is declared.", "Add [data.test].")
        return tuple(found)

    def split(self, role: str, entry: SplitEntry) -> PlannedSplit | None:
        data = self.spec.data
        if data is None:
            return None
        where = f"data.{role}"
        name = entry.loader or data.loader
        if name is None:
            self.add(f"{where}.loader", "no loader is declared, here or in [data].",
                     f"Known: {', '.join(sorted(self.registry.data_loaders))}.")
            return None
        loader = self.registry.data_loaders.get(name)
        if loader is None:
            at = f"{where}.loader" if entry.loader else "data.loader"
            if not any(problem.where == at for problem in self.problems):
                self.unknown(at, "data loader", name, self.registry.data_loaders)
            return None
        shared = data.options
        if entry.loader not in (None, data.loader):
            # another loader than the default's: take from [data] only what it knows
            shared = {k: v for k, v in shared.items() if k in loader.Options.model_fields}
        options = self.options(loader.Options, {**shared, **entry.options}, where, SplitEntry)
        if options is None:
            return None
        if entry.root is not None:
            root = self.spec.path(f"{where}.root", entry.root)
        else:
            root = self.spec.path("data.root", data.root)
        if not root.is_dir():
            at = f"{where}.root" if entry.root is not None else "data.root"
            if not any(problem.where == at for problem in self.problems):
                self.add(at, f"the folder {entry.root or data.root!r} does not exist.",
                         "Paths are relative to the spec's folder; override with --set.")
        return PlannedSplit(role=role, loader=name, root=root, options=options, limit=entry.limit,
                            shuffle=entry.shuffle)

    def units(self, entry: MetricEntry, threats: Mapping[str, ThreatModel]) -> list[Unit]:
        where = f"metrics.{entry.name}"
        metric = self.registry.metrics.get(entry.id)
        if metric is None:
            self.unknown(f"{where}.id", "metric", entry.id, self.registry.metrics)
            return []
        params = self.options(metric.Params, entry.params, f"{where}.params", None)
        chosen = self.chosen_threats(entry, metric, threats)
        names = self.chosen_models(entry)
        if params is None:
            return []
        if issubclass(metric, Comparison):
            return [Unit(entry=entry, metric=metric, kind="comparison", model=None, params=params,
                         threats=chosen, roles=())]  # fmt: skip
        roles, missing = self.roles(metric)
        if metric.scope == "data":
            return [Unit(entry=entry, metric=metric, kind="data", model=None, params=params,
                         threats=chosen, roles=roles, missing=missing)]  # fmt: skip
        if not self.spec.models and not self.spec.broken_names:
            self.add(where, f"{entry.id} measures a model, and none is declared.",
                     "Add a [[models]] entry.")
        return [
            Unit(entry=entry, metric=metric, kind="model", model=name, params=params,
                 threats=chosen, roles=roles, missing=missing)
            for name in names
        ]  # fmt: skip

    def roles(self, metric: type[Metric]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the declared roles that a metric reads, and the ones it misses."""
        declared = [role for role, _ in self.spec.data.splits()] if self.spec.data else []
        found: list[str] = []
        missing: list[str] = []
        for pattern in metric.splits:
            if pattern.endswith(".*"):
                found += [role for role in declared if role.startswith(pattern[:-1])]
            elif pattern.rstrip("?") in declared or (
                pattern == "calibration" and "test" in declared
            ):
                found.append(pattern.rstrip("?"))
            elif not pattern.endswith("?"):
                missing.append(pattern)
        return tuple(found), tuple(missing)

    def chosen_models(self, entry: MetricEntry) -> list[str]:
        known = [model.name for model in self.spec.models]
        if entry.models is None:
            return known
        for i, name in enumerate(entry.models):
            if name not in known and name not in self.spec.broken_names:
                self.unknown(f"metrics.{entry.name}.models[{i}]", "model", name, known)
        return [name for name in known if name in entry.models]

    def chosen_threats(
        self, entry: MetricEntry, metric: AnyMetric, threats: Mapping[str, ThreatModel]
    ) -> tuple[ThreatModel, ...]:
        where = f"metrics.{entry.name}.threats"
        takes = getattr(metric, "threats", "none")
        norms = getattr(metric, "norms", ())
        if entry.threats and takes == "none":
            self.add(where, f"{entry.id} works without threat models.", "Leave the key out.")
            return ()
        if takes == "required" and not entry.threats:
            known = ", ".join(threats) or "none declared"
            self.add(where, f"{entry.id} needs at least one threat model; known: {known}.",
                     'Add threats = ["…"] and a [threats.NAME] table.')
        found = []
        for i, name in enumerate(entry.threats):
            threat = threats.get(name)
            if threat is None:
                if name not in self.spec.broken_names:
                    self.unknown(f"{where}[{i}]", "threat", name, threats)
            elif norms and threat.norm not in norms:
                self.add(f"{where}[{i}]", f"{entry.id} does not work in the norm {threat.norm}; "
                         f"it does in {', '.join(norms)}.")
            else:
                found.append(threat)
        return tuple(found)

    def expressions(
        self, entry: MetricEntry, level: Literal["require", "warn"],
        threats: Mapping[str, ThreatModel],
    ) -> tuple[Expression, ...]:
        found = []
        metric = self.registry.metrics.get(entry.id)
        for i, text in enumerate(getattr(entry, level)):
            where = f"metrics.{entry.name}.{level}[{i}]"
            try:
                expression = parse_expression(text)
            except ValueError as error:
                self.add(where, f"{error}.")
                continue
            found.append(expression)
            if metric is not None and metric.scalar_help:
                self.check_scalar(where, expression, entry, metric, threats)
        return tuple(found)

    def check_scalar(
        self, where: str, expression: Expression, entry: MetricEntry, metric: AnyMetric,
        threats: Mapping[str, ThreatModel],
    ) -> None:
        """Note a requirement on a scalar that the metric cannot return."""
        base, given = facets(expression.scalar)
        shapes: dict[str, list[tuple[str, ...]]] = {}
        for pattern in metric.scalar_help:
            name, parts = facets(pattern)
            shapes.setdefault(name, []).append(parts)
        if base not in shapes:
            self.unknown(where, "scalar", base, metric.scalar_help)
            return
        fitting = [parts for parts in shapes[base] if len(parts) == len(given)]
        if not fitting:
            forms = " or ".join(
                f"{base}[{', '.join(p)}]" if p else base for p in shapes[base]
            )
            self.add(where, f"{expression.scalar!r} has the wrong facets; it is written {forms}.")
            return
        for word, value in zip(fitting[0], given, strict=True):
            if len(fitting) == 1 and word == "threat" and value not in entry.threats:
                self.unknown(where, "threat of this entry", value, entry.threats)
            if len(fitting) == 1 and word == "eps":
                self.check_eps(where, value, [threats[t] for t in given if t in threats])

    def check_eps(self, where: str, value: str, named: Sequence[ThreatModel]) -> None:
        try:
            eps = parse_eps(value)
        except ValueError as error:
            self.add(where, f"{error}.")
            return
        for threat in named:
            if all(eps.value != known.value for known in threat.eps):
                known = ", ".join(map(str, threat.eps))
                self.add(where, f"eps {value} is not among those of threats.{threat.name}: {known}.")


def _with_common(problem: Problem, kind: type[Params], common: type[Any]) -> Problem:
    """Name the entry's common keys too where an unknown loader option was found."""
    match = re.match(r"unknown key '(.+?)'; known: ", problem.message)
    if not match:
        return problem
    names = [*kind.model_fields, *common.model_fields]
    message, hint = unknown_word("key", match[1], names)
    return Problem(problem.where, message, hint)
