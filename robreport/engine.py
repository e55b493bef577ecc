"""Run a plan: every measurement in a process of its own, its outcome kept whatever happens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from robreport.assembly import assemble
from robreport.cache import Cache
from robreport.codec import plain
from robreport.errors import RobreportError
from robreport.isolation import Crashed, Finished, Job, Progress, Report, Workshop, tail
from robreport.keys import Keys, metric_seed
from robreport.outcome import AuditRun, Computed, Failed, Outcome, Skipped
from robreport.planned import Plan, Unit
from robreport.preload import open_workshop
from robreport.prepare import Prepared, common_payload, model_entry, prepare
from robreport.store import load_result


class Observer(Protocol):
    """Who watches a run: a terminal, a log, or nobody."""

    def stage(self, text: str) -> None:
        """Be told what is being done now."""

    def progress(self, key: str, done: int, total: int, what: str) -> None:
        """Be told how far a measurement (or a loading) is."""

    def finished(self, outcome: Outcome) -> None:
        """Be told what became of a measurement."""

    def warn(self, text: str) -> None:
        """Be told of something that does not stop the run."""


class Quiet:
    """Watches nothing."""

    def stage(self, text: str) -> None: ...

    def progress(self, key: str, done: int, total: int, what: str) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a unit would do (``run``, ``cached``, ``skip``, ``input``: unusable), why, how long."""

    unit: Unit
    action: str
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run with what the command line needs to know beside the record."""

    run: AuditRun
    input_problems: tuple[str, ...]
    interrupted: bool


def forecast(prepared: Prepared, cache: Cache) -> list[Forecast]:
    """Return what each unit would do, from the cache and from earlier runs' times."""
    keys = Keys(prepared)
    found = []
    for unit in prepared.plan.units:
        kind, reason = prepared.obstacle(unit)
        seconds = cache.seconds(keys.history(unit))
        if kind:
            found.append(Forecast(unit=unit, action=kind, reason=reason))
        elif unit.kind != "comparison" and cache.get("outcomes", keys.unit(unit)) is not None:
            found.append(Forecast(unit=unit, action="cached", seconds=0.0))
        else:
            found.append(Forecast(unit=unit, action="run", seconds=seconds))
    return found


def run_plan(
    plan: Plan,
    *,
    folder: Path,
    cache: Cache | None,
    observer: Observer | None = None,
    only: frozenset[str] = frozenset(),
) -> Ran:
    """Run every unit of a plan.

    Parameters
    ----------
    folder : Path
        An empty working folder; results lie there until they are in the cache.
    cache : Cache or None
        Where finished outcomes are kept and looked for; None for nowhere.
    only : frozenset of str
        Names of the entries to run; all when empty.
    """
    watcher = observer or Quiet()
    started = datetime.now(UTC)
    _notify(plan, watcher, "audit_started", spec=plan.spec)
    interrupted = False
    with open_workshop(plan) as workshop:
        watcher.stage("loading data and models")
        # an interrupt here leaves nothing to report, and ends the command
        prepared = prepare(plan, workshop, folder, cache, _tell_to(watcher))
        for problem in prepared.problems:
            watcher.warn(problem)
        runner = _Runner(prepared, workshop, folder, cache, watcher, only)
        try:
            watcher.stage("measuring")
            runner.run()
        except KeyboardInterrupt:
            interrupted = True
            workshop.cancel_all()
            runner.take_ended()
            runner.abandon("the audit was interrupted before it finished")
    run = assemble(prepared, runner.outcomes, started, interrupted, cached=cache is not None)
    _notify(plan, watcher, "audit_finished", run=run)
    return Ran(run=run, input_problems=tuple(prepared.problems), interrupted=interrupted)


def _notify(plan: Plan, watcher: Observer, hook: str, **arguments: Any) -> None:
    """Call a notification hook; one that raises is reported and nothing else."""
    for implementation in getattr(plan.registry.hook, hook).get_hookimpls():
        wanted = {k: v for k, v in arguments.items() if k in implementation.argnames}
        try:
            implementation.function(*(wanted[name] for name in implementation.argnames))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a notification must not lose an audit
            watcher.warn(f"plugin {implementation.plugin_name}: {hook} raised "
                         f"{type(error).__name__}: {error}")  # fmt: skip


def _tell_to(watcher: Observer) -> Callable[[Report], None]:
    def listen(report: Report) -> None:
        if isinstance(report, Progress):
            watcher.progress(report.key, report.done, report.total, report.what)

    return listen


class _Runner:
    """Schedules the units of a prepared plan and collects their outcomes."""

    def __init__(
        self,
        prepared: Prepared,
        workshop: Workshop,
        folder: Path,
        cache: Cache | None,
        watcher: Observer,
        only: frozenset[str],
    ) -> None:
        self.prepared = prepared
        self.plan = prepared.plan
        self.workshop = workshop
        self.folder = folder
        self.cache = cache
        self.watcher = watcher
        self.only = only
        self.keys = Keys(prepared)
        self.outcomes: dict[str, Outcome] = {}
        self.marks: dict[str, str] = {}
        self.folders: dict[str, Path] = {}
        self.waiting: list[Unit] = []
        self.running: dict[str, Unit] = {}
        self.sizes = {role: facts.n for role, facts in prepared.splits.items()}

    def run(self) -> None:
        for unit in self.plan.units:
            if self.only and unit.entry.name not in self.only:
                self.settle(unit, Skipped(about=self.about(unit), reason="left out by --only"))
                continue
            kind, reason = self.prepared.obstacle(unit)
            if kind == "input":
                self.settle(unit, Failed(about=self.about(unit), error=reason, kind="input"))
            elif kind == "skip":
                self.settle(unit, Skipped(about=self.about(unit), reason=reason))
            else:
                self.waiting.append(unit)
        self.start_ready()
        while self.running or self.waiting:
            report = self.workshop.next_report(0.5)
            if report is None:
                continue
            if isinstance(report, Progress):
                self.watcher.progress(report.key, report.done, report.total, report.what)
                continue
            self.take(report)
            self.start_ready()

    def start_ready(self) -> None:
        """Start every waiting unit whose inputs are there, from the cache where it is known."""
        settled = True
        while settled:
            settled = False
            for unit in list(self.waiting):
                if unit.kind == "comparison" and self.inputs_pending(unit):
                    continue
                self.waiting.remove(unit)
                if not self.from_cache(unit):
                    self.start(unit)
                else:
                    settled = True

    def inputs_pending(self, unit: Unit) -> bool:
        consumed = {other.key for other in self.consumed(unit)}
        return any(key not in self.outcomes for key in consumed)

    def consumed(self, unit: Unit) -> Iterator[Unit]:
        """Yield the units whose outcomes a comparison reads."""
        wanted: frozenset[str] = getattr(unit.metric, "consumes", frozenset())
        models = unit.entry.models
        for other in self.plan.units:
            if other.kind != "comparison" and other.metric.id in wanted and (
                models is None or other.model is None or other.model in models
            ):  # fmt: skip
                yield other

    def about(self, unit: Unit) -> Any:
        return unit.subject(self.sizes)

    def key(self, unit: Unit) -> str:
        marks = (
            tuple(
                (plain(self.outcomes[other.key].about), self.marks[other.key])
                for other in self.consumed(unit)
            )
            if unit.kind == "comparison"
            else ()
        )
        return self.keys.unit(unit, marks)

    def from_cache(self, unit: Unit) -> bool:
        if self.cache is None:
            return False
        key = self.key(unit)
        entry = self.cache.get("outcomes", key)
        if entry is None:
            return False
        try:
            result = load_result(entry)
        except (RobreportError, OSError) as error:
            self.watcher.warn(f"a cached outcome of {unit.key} was damaged and is left: {error}")
            return False
        seconds = self.cache.seconds(self.keys.history(unit)) or 0.0
        self.folders[unit.key] = entry
        self.settle(
            unit, Computed(about=self.about(unit), result=result, seconds=seconds, cached=True), key
        )
        return True

    def start(self, unit: Unit) -> None:
        out = self.folder / "out" / hashlib.sha256(unit.key.encode()).hexdigest()[:16]
        out.mkdir(parents=True)
        execution = self.plan.spec.execution
        payload = {
            **common_payload(self.prepared),
            "metric": unit.metric.id,
            # what the audit leaves open stays open: a metric may tell it from a default that is set
            "params": unit.params.model_dump(mode="json", exclude_unset=True),
            "threats": plain(unit.threats),
            "seed": metric_seed(self.plan.spec.audit.seed, unit.metric.id),
            "out": str(out),
            "cache": str(self.cache.root) if self.cache is not None else None,
            "artifact_key": self.keys.artifact(unit),
        }
        target = "measurement:run_metric"
        if unit.kind == "comparison":
            target = "measurement:run_comparison"
            payload["outcomes"] = [self.outcome_row(other.key) for other in self.consumed(unit)]
        else:
            payload["splits"] = [self.prepared.split_row(role) for role in unit.roles]
            payload["data_offers"] = self.prepared.offers.words
            payload["model"] = None
            if unit.model is not None:
                planned = next(m for m in self.plan.models if m.name == unit.model)
                payload["model"] = model_entry(planned)
                payload["probe"] = self.prepared.example_row()
                payload["model_digest"] = self.prepared.models[unit.model].digest
        self.folders[unit.key] = out
        self.running[unit.key] = unit
        self.workshop.submit(
            Job(
                key=unit.key,
                target=f"robreport.worker.{target}",
                payload=payload,
                timeout=execution.timeout,
                memory=execution.memory,
                mapped=self.mapped(unit),
                log=out.with_suffix(".log"),
            )
        )

    def mapped(self, unit: Unit) -> int:
        """Bytes of the arrays that the unit maps."""
        folders = (self.prepared.arrays / role for role in unit.roles)
        return sum(path.stat().st_size for folder in folders for path in folder.glob("*.npy"))

    def outcome_row(self, key: str) -> dict[str, Any]:
        outcome = self.outcomes[key]
        row: dict[str, Any] = {"about": plain(outcome.about)}
        if isinstance(outcome, Computed):
            return {**row, "kind": "computed", "folder": str(self.folders[key])}
        if isinstance(outcome, Skipped):
            return {**row, "kind": "skipped", "reason": outcome.reason}
        return {**row, "kind": "failed", "reason": outcome.error}

    def take(self, report: Finished | Crashed) -> None:
        unit = self.running.pop(report.key)
        out = self.folders[unit.key]
        log = out.with_suffix(".log")
        words = tail(log) if log.exists() else ""
        if isinstance(report, Crashed):
            error = scrubbed(report.error, self.folder)
            self.settle(
                unit,
                Failed(about=self.about(unit), error=error, kind=report.kind,
                       trace=report.trace, log=words, seconds=report.seconds),
            )  # fmt: skip
            return
        if "skipped" in report.value:
            self.settle(unit, Skipped(about=self.about(unit), reason=report.value["skipped"]))
            return
        key = self.key(unit)
        try:
            result = load_result(out)
            kept = self.cache.keep("outcomes", key, out) if self.cache is not None else None
            if kept is not None:
                # artifacts moved with the folder, so the result is read from where they are
                self.folders[unit.key] = kept
                result = load_result(kept)
        except (RobreportError, OSError) as error:
            said = scrubbed(f"left no usable result: {error}", self.folder)
            self.settle(
                unit,
                Failed(about=self.about(unit), error=said, kind="exception", log=words,
                       seconds=report.seconds),
            )  # fmt: skip
            return
        if self.cache is not None:
            self.cache.remember_seconds(self.keys.history(unit), report.seconds)
        self.settle(
            unit,
            Computed(about=self.about(unit), result=result, seconds=report.seconds,
                     peak_memory=report.peak_memory),
            key,
        )  # fmt: skip

    def take_ended(self) -> None:
        """Take the reports of what had ended before the rest was cancelled."""
        while (report := self.workshop.next_report(0)) is not None:
            if not isinstance(report, Progress) and report.key in self.running:
                self.take(report)

    def settle(self, unit: Unit, outcome: Outcome, mark: str = "") -> None:
        reason = "" if isinstance(outcome, Computed) else (
            outcome.reason if isinstance(outcome, Skipped) else outcome.error
        )  # fmt: skip
        self.outcomes[unit.key] = outcome
        self.marks[unit.key] = mark or reason
        self.watcher.finished(outcome)

    def abandon(self, reason: str) -> None:
        """Mark every unit without an outcome as skipped."""
        for unit in self.plan.units:
            if unit.key not in self.outcomes:
                self.settle(unit, Skipped(about=self.about(unit), reason=reason))


def scrubbed(text: str, folder: Path) -> str:
    """Return an error's words without what differs from run to run: folders and addresses."""
    return re.sub(r"\b0x[0-9a-f]{6,16}\b", "0x…", text.replace(str(folder), "…"))
