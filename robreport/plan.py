"""Resolve a spec against the registry: what will be loaded and measured, or every problem."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from robreport.complaints import join, keys_of
from robreport.errors import Problem, SpecError, near_misses, unknown_word
from robreport.metric import Comparison, Metric
from robreport.plan_problems import PlanProblems
from robreport.planned import Plan, PlannedModel, PlannedSplit, Unit
from robreport.plugins import AnyMetric, Registry
from robreport.requirement import Expression, parse_expression
from robreport.result import facets
from robreport.spec import AuditSpec, DataTable, MetricEntry, ModelEntry, SplitEntry
from robreport.threat import ThreatModel, parse_eps


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
    if planner.problems.all:
        raise SpecError(planner.problems.all, spec.source)
    return plan


class _Planner:
    def __init__(self, spec: AuditSpec, registry: Registry) -> None:
        self.spec = spec
        self.registry = registry
        self.problems = PlanProblems(spec, registry)

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
            self.problems.add("metrics", "nothing is to be measured.", "Add a [[metrics]] entry.")
        splits = self.splits(units)
        return Plan(
            spec=self.spec, registry=self.registry, models=models, splits=splits,
            threats=threats, units=units, requirements=requirements,
        )  # fmt: skip

    def report(self) -> None:
        for i, name in enumerate(self.spec.report.formats):
            if name not in self.registry.renderers:
                self.problems.unknown(
                    f"report.formats[{i}]", "format", name, self.registry.renderers
                )
        if self.spec.report.theme not in self.registry.themes:
            self.problems.unknown(
                "report.theme", "theme", self.spec.report.theme, self.registry.themes
            )

    def model(self, entry: ModelEntry) -> PlannedModel | None:
        where = f"models.{entry.name}"
        loader = self.registry.model_loaders.get(entry.loader)
        if loader is None:
            self.problems.unknown(
                f"{where}.loader", "model loader", entry.loader, self.registry.model_loaders
            )
            return None
        options = self.problems.options(loader.Options, entry.options, where, keys_of(ModelEntry))
        path = None
        if entry.path is not None:
            path = self.spec.path(f"{where}.path", entry.path)
            self.problems.exists(path, f"{where}.path", entry.path, folder=False)
        if options is None:
            return None
        return PlannedModel(entry=entry, path=path, options=options)

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
            self.problems.add("data", "no split is declared.", "Add [data.test].")
        return tuple(found)

    def split(self, role: str, entry: SplitEntry) -> PlannedSplit | None:
        data = self.spec.data
        if data is None:
            return None
        where = f"data.{role}"
        name = entry.loader or data.loader
        if name is None:
            self.problems.add(
                f"{where}.loader",
                "no loader is declared, here or in [data].",
                f"Known: {', '.join(sorted(self.registry.data_loaders))}.",
            )
            return None
        loader = self.registry.data_loaders.get(name)
        if loader is None:
            at = f"{where}.loader" if entry.loader else "data.loader"
            if not self.problems.noted(at):
                self.problems.unknown(at, "data loader", name, self.registry.data_loaders)
            return None
        # splits of several loaders share [data]: each takes from it what it knows
        known = keys_of(loader.Options)
        shared = {key: value for key, value in data.options.items() if key in known}
        first = len(self.problems.all)
        options = self.problems.options(
            loader.Options, {**shared, **entry.options}, where, keys_of(SplitEntry)
        )
        self.move_shared(first, role, set(shared) - set(entry.options))
        at, written = (
            ("data.root", data.root) if entry.root is None else (f"{where}.root", entry.root)
        )
        root = self.spec.path(at, written)
        self.problems.exists(root, at, written, folder=True)
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
        fresh = self.problems.all[first:]
        del self.problems.all[first:]
        for problem in fresh:
            where = problem.where
            for key in shared:
                at = join(f"data.{role}", key)
                if where == at or where.startswith((f"{at}.", f"{at}[")):
                    where = join("data", key) + where[len(at) :]
            moved = Problem(where, problem.message, problem.hint)
            if moved not in self.problems.all:
                self.problems.all.append(moved)

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
                self.problems.add(
                    join("data", key),
                    *unknown_word("key", key, known | set(keys_of(DataTable))),
                )

    def units(self, entry: MetricEntry, threats: Mapping[str, ThreatModel]) -> list[Unit]:
        where = self.spec.place(entry.name)
        metric = self.registry.metrics.get(entry.id)
        if metric is None:
            self.problems.unknown(f"{where}.id", "metric", entry.id, self.registry.metrics)
            return []
        params = self.problems.options(metric.Params, entry.params, f"{where}.params")
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
                self.problems.add(
                    f"{where}.models",
                    f"{entry.id} measures the data, whatever the models.",
                    "Leave the key out.",
                )
            return [Unit(entry=entry, metric=metric, kind="data", model=None, params=params,
                         threats=chosen, roles=roles, missing=missing)]  # fmt: skip
        if not self.spec.models and not self.spec.broken_names:
            self.problems.add(
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
            self.problems.add(
                where, "an empty list measures nothing.", "Leave the key out for all models."
            )
        for i, name in enumerate(entry.models):
            if name in entry.models[:i]:
                self.problems.add(f"{where}[{i}]", f"{name!r} stands twice.")
            elif name not in known and name not in self.spec.broken_names:
                self.problems.unknown(f"{where}[{i}]", "model", name, known)
        return [name for name in known if name in entry.models]

    def chosen_threats(
        self, entry: MetricEntry, metric: AnyMetric, threats: Mapping[str, ThreatModel]
    ) -> tuple[ThreatModel, ...]:
        where = f"{self.spec.place(entry.name)}.threats"
        takes = getattr(metric, "threats", "none")
        norms = getattr(metric, "norms", ())
        if entry.threats and takes == "none":
            self.problems.add(
                where, f"{entry.id} works without threat models.", "Leave the key out."
            )
            return ()
        if takes == "required" and not entry.threats:
            known = ", ".join(threats) or "none declared"
            self.problems.add(
                where,
                f"{entry.id} needs at least one threat model; known: {known}.",
                'Add threats = ["NAME"], and a table [threats.NAME].',
            )
        found = []
        for i, name in enumerate(entry.threats):
            threat = threats.get(name)
            if name in entry.threats[:i]:
                self.problems.add(f"{where}[{i}]", f"{name!r} stands twice.")
            elif threat is None:
                if name not in self.spec.broken_names:
                    self.problems.unknown(f"{where}[{i}]", "threat", name, threats)
            elif norms and threat.norm not in norms:
                self.problems.add(
                    f"{where}[{i}]",
                    f"{entry.id} does not work in the norm {threat.norm}; "
                    f"it does in {', '.join(norms)}.",
                )
            elif threat.constrained and not getattr(metric, "constrained", False):
                self.problems.add(
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
                self.problems.add(where, f"{error}.")
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
            self.problems.add(where, message, f"Did you mean '{close[0]}'?" if close else "")
            return
        fitting = [parts for parts in shapes[base] if len(parts) == len(given)]
        if not fitting:
            forms = " or ".join(f"{base}[{', '.join(p)}]" if p else base for p in shapes[base])
            self.problems.add(
                where, f"{expression.scalar!r} has the wrong facets; it is written {forms}."
            )
            return
        for word, value in zip(fitting[0], given, strict=True):
            if len(fitting) == 1 and word == "threat" and value not in entry.threats:
                self.problems.unknown(where, "threat of this entry", value, entry.threats)
            if len(fitting) == 1 and word == "eps":
                named = [t for t in given if t in entry.threats] or entry.threats
                self.check_eps(where, value, [threats[t] for t in named if t in threats])

    def check_eps(self, where: str, value: str, named: Sequence[ThreatModel]) -> None:
        try:
            eps = parse_eps(value)
        except ValueError as error:
            self.problems.add(where, f"{error}.")
            return
        if named and all(eps.value != known.value for t in named for known in t.eps):
            known = "; ".join(f"threats.{t.name} has {', '.join(map(str, t.eps))}" for t in named)
            self.problems.add(where, f"the eps {value} is not declared: {known}.")
