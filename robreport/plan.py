"""Resolve a spec against the registry: what will be loaded and measured, or every problem."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from robreport.bundle import Needs
from robreport.complaints import join, keys_of, problems_of
from robreport.errors import Problem, SpecError, near_misses, unknown_word
from robreport.metric import Comparison, Metric, Params
from robreport.outcome import Subject
from robreport.plugins import AnyMetric, Registry
from robreport.requirement import Expression, parse_expression
from robreport.result import facets
from robreport.spec import (
    AuditSpec,
    DataTable,
    MetricEntry,
    ModelEntry,
    SplitEntry,
    jsonable,
)
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

    @property
    def needs(self) -> Needs:
        """What model and data must offer for it."""
        asked = getattr(self.metric, "needs_of", None)
        return asked(self.params) if asked is not None else Needs.NONE

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
                goal=entry.goal, scale=entry.scale, frozen=entry.frozen,
                increase=entry.increase, decrease=entry.decrease, integer=entry.integer,
                one_hot=entry.one_hot,
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
            self.unknown(
                f"{where}.loader", "model loader", entry.loader, self.registry.model_loaders
            )
            return None
        options = self.options(loader.Options, entry.options, where, keys_of(ModelEntry))
        path = None
        if entry.path is not None:
            path = self.spec.path(f"{where}.path", entry.path)
            self.exists(path, f"{where}.path", entry.path, folder=False)
        if options is None:
            return None
        return PlannedModel(entry=entry, path=path, options=options)

    def exists(self, path: Path, where: str, written: str, *, folder: bool) -> None:
        """Note a path that leads to nothing, or to a folder instead of a file."""
        what = "folder" if folder else "file"
        try:
            if path.is_dir() if folder else path.is_file():
                return
            if not path.exists():
                wrong = "does not exist"
            else:
                wrong = f"is no {what}"
        except OSError as error:
            wrong = f"cannot be looked at ({error.strerror})"
        base = "current folder" if self.spec.overridden(where) else "spec's folder"
        if not self.noted(where):
            self.add(
                where, f"the {what} {written!r} {wrong}.", f"Paths are relative to the {base}."
            )

    def noted(self, where: str) -> bool:
        return any(problem.where == where for problem in self.problems)

    def options(
        self, kind: type[Params], given: Mapping[str, Any], where: str, also: Sequence[str] = ()
    ) -> Params | None:
        """Return the validated options or parameters; `also` are the keys known beside them."""
        try:
            return kind.model_validate(dict(given))
        except ValidationError as error:
            self.problems += problems_of(error, kind, where, given, also)
            return None

    def splits(self, units: Sequence[Unit]) -> tuple[PlannedSplit, ...]:
        data = self.spec.data
        if data is None:
            return ()
        found = [split for role, entry in data.splits() if (split := self.split(role, entry))]
        self.shared_options()
        roles = {split.role for split in found}
        wanted = {role for unit in units for role in unit.roles}
        if "calibration" in wanted and "calibration" not in roles and "test" in roles:
            test = next(split for split in found if split.role == "test")
            found.insert(
                found.index(test) + 1,
                PlannedSplit(
                    role="calibration",
                    loader=test.loader,
                    root=test.root,
                    options=None,
                    carved_from="test",
                ),
            )
        if not list(data.splits()) and not self.spec.problems:
            self.add("data", "no split is declared.", "Add [data.test].")
        return tuple(found)

    def split(self, role: str, entry: SplitEntry) -> PlannedSplit | None:
        data = self.spec.data
        if data is None:
            return None
        where = f"data.{role}"
        name = entry.loader or data.loader
        if name is None:
            self.add(
                f"{where}.loader",
                "no loader is declared, here or in [data].",
                f"Known: {', '.join(sorted(self.registry.data_loaders))}.",
            )
            return None
        loader = self.registry.data_loaders.get(name)
        if loader is None:
            at = f"{where}.loader" if entry.loader else "data.loader"
            if not self.noted(at):
                self.unknown(at, "data loader", name, self.registry.data_loaders)
            return None
        # splits of several loaders share [data]: each takes from it what it knows
        known = keys_of(loader.Options)
        shared = {key: value for key, value in data.options.items() if key in known}
        first = len(self.problems)
        options = self.options(
            loader.Options, {**shared, **entry.options}, where, keys_of(SplitEntry)
        )
        self.move_shared(first, role, set(shared) - set(entry.options))
        at, written = (
            ("data.root", data.root) if entry.root is None else (f"{where}.root", entry.root)
        )
        root = self.spec.path(at, written)
        self.exists(root, at, written, folder=True)
        if options is None:
            return None
        return PlannedSplit(
            role=role,
            loader=name,
            root=root,
            options=options,
            limit=entry.limit,
            shuffle=entry.shuffle,
        )

    def move_shared(self, first: int, role: str, shared: Collection[str]) -> None:
        """Let the problems from `first` on name [data] where the value stands there; once each."""
        fresh = self.problems[first:]
        del self.problems[first:]
        for problem in fresh:
            where = problem.where
            for key in shared:
                at = join(f"data.{role}", key)
                if where == at or where.startswith((f"{at}.", f"{at}[")):
                    where = join("data", key) + where[len(at) :]
            moved = Problem(where, problem.message, problem.hint)
            if moved not in self.problems:
                self.problems.append(moved)

    def shared_options(self) -> None:
        """Note keys of [data] that none of its loaders knows."""
        data = self.spec.data
        if data is None or not data.options:
            return
        names = {entry.loader or data.loader for _, entry in data.splits()} or {data.loader}
        loaders = [self.registry.data_loaders.get(str(name)) for name in names]
        if None in loaders:
            # a loader that nobody knows, or no loader at all: that is the problem, not its keys
            return
        known = {key for loader in loaders if loader for key in keys_of(loader.Options)}
        for key in data.options:
            if key not in known:
                self.add(
                    join("data", key),
                    *unknown_word("key", key, known | set(keys_of(DataTable))),
                )

    def units(self, entry: MetricEntry, threats: Mapping[str, ThreatModel]) -> list[Unit]:
        where = self.spec.place(entry.name)
        metric = self.registry.metrics.get(entry.id)
        if metric is None:
            self.unknown(f"{where}.id", "metric", entry.id, self.registry.metrics)
            return []
        params = self.options(metric.Params, entry.params, f"{where}.params")
        chosen = self.chosen_threats(entry, metric, threats)
        names = self.chosen_models(entry)
        if params is None:
            return []
        if issubclass(metric, Comparison):
            return [Unit(entry=entry, metric=metric, kind="comparison", model=None, params=params,
                         threats=chosen, roles=())]  # fmt: skip
        roles, missing = self.roles(metric)
        if metric.scope == "data":
            if entry.models is not None:
                self.add(
                    f"{where}.models",
                    f"{entry.id} measures the data, whatever the models.",
                    "Leave the key out.",
                )
            return [Unit(entry=entry, metric=metric, kind="data", model=None, params=params,
                         threats=chosen, roles=roles, missing=missing)]  # fmt: skip
        if not self.spec.models and not self.spec.broken_names:
            self.add(
                where,
                f"{entry.id} measures a model, and none is declared.",
                "Add a [[models]] entry.",
            )
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
        return tuple(dict.fromkeys(found)), tuple(dict.fromkeys(missing))

    def chosen_models(self, entry: MetricEntry) -> list[str]:
        known = [model.name for model in self.spec.models]
        if entry.models is None:
            return known
        where = f"{self.spec.place(entry.name)}.models"
        if not entry.models:
            self.add(where, "an empty list measures nothing.", "Leave the key out for all models.")
        for i, name in enumerate(entry.models):
            if name in entry.models[:i]:
                self.add(f"{where}[{i}]", f"{name!r} stands twice.")
            elif name not in known and name not in self.spec.broken_names:
                self.unknown(f"{where}[{i}]", "model", name, known)
        return [name for name in known if name in entry.models]

    def chosen_threats(
        self, entry: MetricEntry, metric: AnyMetric, threats: Mapping[str, ThreatModel]
    ) -> tuple[ThreatModel, ...]:
        where = f"{self.spec.place(entry.name)}.threats"
        takes = getattr(metric, "threats", "none")
        norms = getattr(metric, "norms", ())
        if entry.threats and takes == "none":
            self.add(where, f"{entry.id} works without threat models.", "Leave the key out.")
            return ()
        if takes == "required" and not entry.threats:
            known = ", ".join(threats) or "none declared"
            self.add(
                where,
                f"{entry.id} needs at least one threat model; known: {known}.",
                'Add threats = ["NAME"], and a table [threats.NAME].',
            )
        found = []
        for i, name in enumerate(entry.threats):
            threat = threats.get(name)
            if name in entry.threats[:i]:
                self.add(f"{where}[{i}]", f"{name!r} stands twice.")
            elif threat is None:
                if name not in self.spec.broken_names:
                    self.unknown(f"{where}[{i}]", "threat", name, threats)
            elif norms and threat.norm not in norms:
                self.add(
                    f"{where}[{i}]",
                    f"{entry.id} does not work in the norm {threat.norm}; "
                    f"it does in {', '.join(norms)}.",
                )
            elif threat.constrained and not getattr(metric, "constrained", False):
                self.add(
                    f"{where}[{i}]",
                    f"{entry.id} knows norms and budgets only, and the threat {name!r} asks more: "
                    "a scale, or what columns may do.",
                    "Name a threat without these.",
                )
            else:
                found.append(threat)
        return tuple(found)

    def expressions(
        self,
        entry: MetricEntry,
        level: Literal["require", "warn"],
        threats: Mapping[str, ThreatModel],
    ) -> tuple[Expression, ...]:
        found = []
        metric = self.registry.metrics.get(entry.id)
        for i, text in enumerate(getattr(entry, level)):
            where = f"{self.spec.place(entry.name)}.{level}[{i}]"
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
        self,
        where: str,
        expression: Expression,
        entry: MetricEntry,
        metric: AnyMetric,
        threats: Mapping[str, ThreatModel],
    ) -> None:
        """Note a requirement on a scalar that the metric cannot return."""
        base, given = facets(expression.scalar)
        shapes: dict[str, list[tuple[str, ...]]] = {}
        for pattern in metric.scalar_help:
            name, parts = facets(pattern)
            shapes.setdefault(name, []).append(parts)
        if base not in shapes:
            message, _ = unknown_word("scalar", base, metric.scalar_help)
            close = near_misses(base, shapes, 1)
            self.add(where, message, f"Did you mean '{close[0]}'?" if close else "")
            return
        fitting = [parts for parts in shapes[base] if len(parts) == len(given)]
        if not fitting:
            forms = " or ".join(f"{base}[{', '.join(p)}]" if p else base for p in shapes[base])
            self.add(where, f"{expression.scalar!r} has the wrong facets; it is written {forms}.")
            return
        for word, value in zip(fitting[0], given, strict=True):
            if len(fitting) == 1 and word == "threat" and value not in entry.threats:
                self.unknown(where, "threat of this entry", value, entry.threats)
            if len(fitting) == 1 and word == "eps":
                named = [t for t in given if t in entry.threats] or entry.threats
                self.check_eps(where, value, [threats[t] for t in named if t in threats])

    def check_eps(self, where: str, value: str, named: Sequence[ThreatModel]) -> None:
        try:
            eps = parse_eps(value)
        except ValueError as error:
            self.add(where, f"{error}.")
            return
        if named and all(eps.value != known.value for t in named for known in t.eps):
            known = "; ".join(f"threats.{t.name} has {', '.join(map(str, t.eps))}" for t in named)
            self.add(where, f"the eps {value} is not declared: {known}.")
