"""The contract that every metric keeps, built in or anybody's: `check_metric` holds it to it."""

from __future__ import annotations

import inspect
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robreport.bundle import Bundle, Needs, NotOffered
from robreport.metric import Comparison, Context, Metric, Params, SkipMetric
from robreport.offers import missing_needs
from robreport.outcome import Outcome
from robreport.result import Result, facets
from robreport.testing.declarations import (
    OF_THE_MODEL,
    declaration_problems,
    round_trip_problems,
)
from robreport.testing.lightness import import_problems
from robreport.testing.returned import flattened, returned_problems
from robreport.testing.scenarios import (
    Scenario,
    Threats,
    Trial,
    comparison_scenarios,
    given_scenarios,
    make_outcomes,
    metric_scenarios,
)
from robreport.testing.watch import ArtifactStore, ProgressLog, changes, seeded_globally

AnyMetric = type[Metric] | type[Comparison]
SHOWN = 3
UNSOUND = (
    "it does not implement ", "scalar_help is ", "scalar_help names ", "needs ", "splits ",
    "scope ", "threats ", "norms ", "consumes ", "Params is ",
)  # fmt: skip
"""How a violation begins that leaves nothing to be run."""


class ContractError(AssertionError):
    """A metric breaks the contract; the text lists every point, `violations` holds them."""

    def __init__(self, name: str, violations: Iterable[str]) -> None:
        self.violations = tuple(violations)
        points = "; ".join(f"({i}) {v}" for i, v in enumerate(self.violations, 1))
        count = len(self.violations)
        super().__init__(
            f"{name} breaks the metric contract in {count} point{'s' * (count > 1)}: {points}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractReport:
    """What `check_metric` looked at.

    Attributes
    ----------
    metric : str
        Its id.
    scenarios : mapping
        Each situation with what came of it: "computed", "skipped: …" or "not offered: …".
    notes : tuple of str
        Worth a look, though no violation.
    """

    metric: str
    scenarios: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    """What has been found so far; each violation once, with the first place it was seen."""

    violations: dict[str, str] = field(default_factory=dict)
    scenarios: dict[str, str] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    used: Needs = Needs.NONE

    def add(self, problems: Iterable[str], where: str = "") -> None:
        for problem in problems:
            self.violations.setdefault(problem, where)

    def sentences(self) -> list[str]:
        return [f"{p}, {where}" if where else p for p, where in self.violations.items()]


def check_metric(
    metric: Any,
    *,
    params: Params | Mapping[str, Any] | None = None,
    bundle: Bundle | None = None,
    threats: Sequence[Any] | None = None,
    metrics: Sequence[type[Metric]] = (),
    outcomes: Sequence[Outcome] = (),
    seed: int = 0,
) -> ContractReport:
    """Hold a metric or comparison to the contract; return what was looked at.

    It is run on small synthetic bundles that offer exactly what it declares, on one that offers
    everything, and in the awkward situations of real audits: two classes, one example, every
    prediction wrong, something declared missing. Checked are its words, `needs`, `splits` and
    `Params`; that the same seed gives the same bytes whatever the global random state, and leaves
    that alone; that model and data stay unchanged; progress, skip reasons, scalars against
    `scalar_help`, charts that draw, captions and alternative texts; that the result survives
    JSON; and that importing its module stays light.

    Parameters
    ----------
    metric : subclass of Metric or Comparison
    params : Params, mapping or None
        Its parameters; the defaults when left out. Small ones make the check fast.
    bundle : Bundle or None
        Used instead of the synthetic ones, for a metric that they do not suit.
    threats : sequence of ThreatModel or None
        By default one for each norm that it works in, with the budgets 0, 8/255 and 0.1.
    metrics : sequence of Metric classes
        For a comparison: what it consumes, computed here on two models with default parameters.
    outcomes : sequence of Outcome
        For a comparison: given outcomes instead, such as those of `make_outcomes`.
    seed : int

    Raises
    ------
    ContractError
        With every violation found.
    ValueError
        The call itself does not fit the metric.
    """
    name = f"{getattr(metric, '__module__', '?')}.{getattr(metric, '__qualname__', metric)}"
    if not (inspect.isclass(metric) and issubclass(metric, Metric | Comparison)):
        raise ContractError(name, ["it is no subclass of robreport.Metric or robreport.Comparison"])
    found = _Findings()
    found.add(declaration_problems(metric, required=params is not None))
    found.add(import_problems(metric.__module__))
    if found.violations and not _can_run(metric):
        raise ContractError(name, found.sentences())
    made = _params(metric, params, found)
    if made is not None:
        chosen = None if threats is None else tuple(threats)
        with tempfile.TemporaryDirectory(prefix="robreport-contract-") as folder:
            runner = _Runner(metric, made, seed, Path(folder), found)
            for scenario in _scenarios(runner, bundle, chosen, metrics, outcomes):
                runner.run(scenario)
            runner.finish()
    if found.violations:
        raise ContractError(str(getattr(metric, "id", name)), found.sentences())
    return ContractReport(metric=metric.id, scenarios=found.scenarios, notes=_notes(metric, found))


def _can_run(metric: Any) -> bool:
    """Whether the declarations are sound enough for running it to tell anything more."""
    return not any(p.startswith(UNSOUND) for p in declaration_problems(metric, required=True))


def _params(
    metric: AnyMetric, params: Params | Mapping[str, Any] | None, found: _Findings
) -> Params | None:
    if isinstance(params, Params):
        made = params
    else:
        try:
            made = metric.Params.model_validate(dict(params or {}))
        except Exception as error:  # a validator may raise anything
            if params is not None:
                raise ValueError(f"params do not fit {metric.__name__}: {error}") from error
            found.add([f"Params has no usable defaults ({type(error).__name__})"])
            return None
    if not isinstance(made, metric.Params):
        raise ValueError(f"params must be {metric.__name__}.Params, found {type(made).__name__}")
    found.add(round_trip_problems(made))
    return made


def _scenarios(
    runner: _Runner,
    bundle: Bundle | None,
    threats: Threats | None,
    metrics: Sequence[type[Metric]],
    outcomes: Sequence[Outcome],
) -> Iterable[Scenario]:
    metric, params, seed = runner.metric, runner.params, runner.seed
    if issubclass(metric, Comparison):
        given = list(outcomes)
        absent = metric.consumes - {m.id for m in metrics} - {o.about.metric for o in given}
        if absent:
            raise ValueError(
                f"{metric.__name__} consumes {', '.join(sorted(absent))}; "
                "pass these classes as metrics=, or outcomes="
            )
        ctx = runner.context(ProgressLog(), ArtifactStore(runner.folder / "given"), ())
        given += make_outcomes(*metrics, threats=threats, ctx=ctx, seed=seed)
        return comparison_scenarios(metric, params, threats or (), given)
    if bundle is None:
        return metric_scenarios(metric, params, threats, seed=seed)
    if reason := missing_needs(metric.needs, None, bundle.offers, ()):
        raise ValueError(f"the given bundle does not suit {metric.__name__}: it {reason}")
    return given_scenarios(metric, params, threats, bundle)


class _Runner:
    """Runs scenarios and collects what is wrong."""

    def __init__(
        self, metric: AnyMetric, params: Params, seed: int, folder: Path, found: _Findings
    ) -> None:
        self.metric, self.params, self.seed = metric, params, seed
        self.folder, self.found = folder, found

    def context(self, progress: ProgressLog, artifact: ArtifactStore, threats: Threats) -> Context:
        return Context(threats=threats, seed=self.seed, progress=progress, artifact=artifact)

    def run(self, scenario: Scenario) -> None:
        """Compute once, and again where the scenario is thorough."""
        found, where = self.found, scenario.name
        store = self._store()
        result = self._compute(scenario, store, global_seed=101)
        if result is None or not scenario.thorough:
            return
        first = _flat(result)
        for what, again_store, global_seed in self._repeats(store):
            again = self._compute(scenario, again_store, global_seed=global_seed)
            if first is None or again is None:
                continue
            second = _flat(again)
            if second is not None and (paths := changes(first, second)):
                shown = ", ".join(paths[:SHOWN]) + (" …" if len(paths) > SHOWN else "")
                found.add([f"{what} gives another result ({shown})"], where)
        other = _Runner(self.metric, self.params, self.seed + 1, self.folder, found)
        other._compute(scenario, other._store(), global_seed=101)

    def _repeats(self, store: ArtifactStore) -> list[tuple[str, ArtifactStore, int]]:
        repeats = [("the same seed, under another global random state,", self._store(), 202)]
        if store.keys:
            repeats.append(("reading its artifacts back instead of building them", store, 101))
        return repeats

    def _store(self) -> ArtifactStore:
        return ArtifactStore(Path(tempfile.mkdtemp(dir=self.folder)))

    def _compute(
        self, scenario: Scenario, store: ArtifactStore, *, global_seed: int
    ) -> Result | None:
        """Return what the trial returned, after noting everything that is wrong with it."""
        found, where = self.found, scenario.name
        trial = scenario.make()
        progress = ProgressLog()
        before = {**trial.state(), "its parameters": self.params.model_dump_json()}
        with ExitStack() as stack:
            differing = stack.enter_context(seeded_globally(global_seed))
            result, ended, problem = self._call(scenario, trial, progress, store)
            changed = differing()
        found.scenarios.setdefault(where, ended)
        found.used |= trial.used()
        if problem:
            found.add([problem], where)
        # an error elsewhere must not hide behind a mutated bundle, so this comes in any case
        found.add([f"compute changes {name}" for name in changed], where)
        after = {**trial.state(), "its parameters": self.params.model_dump_json()}
        found.add([f"compute changes {name}" for name in changes(before, after)], where)
        if result is None:
            return None
        found.add(returned_problems(result, self.metric.scalar_help), where)
        required = issubclass(self.metric, Metric) and scenario.thorough
        found.add([f"compute {p}" for p in progress.problems(required=required)], where)
        if isinstance(result, Result):
            found.scalars |= set(result.scalars)
        return result

    def _call(
        self, scenario: Scenario, trial: Trial, progress: ProgressLog, store: ArtifactStore
    ) -> tuple[Result | None, str, str]:
        """Return the result or None, what came of it, and what is wrong with how it ended."""
        ctx = self.context(progress, store, scenario.threats)
        try:
            return trial.call(ctx), "computed", ""
        except SkipMetric as skip:
            reason = str(skip).strip()
            return None, f"skipped: {reason}", "" if reason else "it skips without a reason"
        except NotOffered as absent:
            wrong = f"it asks for what it does not declare ({absent})"
            return None, f"not offered: {absent}", "" if scenario.lacking else wrong
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises
            what = f"it raised {type(error).__name__} ({_first_line(error)}{_place(error)})"
            hint = "; raise SkipMetric with a reason when there is nothing to measure"
            return None, f"raised {type(error).__name__}", what + hint

    def finish(self) -> None:
        """Note what only all scenarios together show."""
        ended = self.found.scenarios.values()
        if not any(e == "computed" for e in ended) and not self.found.violations:
            first = next(iter(ended), "nothing was run")
            self.found.add([f"it computes in no situation, so nothing was checked ({first})"])


def _flat(result: Result) -> dict[str, str] | None:
    try:
        return flattened(result)
    except Exception:  # noqa: BLE001 - what cannot be recorded has been noted as such
        return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return f"; {Path(last.filename).name} line {last.lineno}" if last else ""


def _notes(metric: AnyMetric, found: _Findings) -> tuple[str, ...]:
    notes = []
    if issubclass(metric, Metric):
        idle = metric.needs & OF_THE_MODEL & ~found.used
        if idle:
            words = ", ".join(idle.words).upper()
            notes.append(
                f"needs {words}, but never asked the model for it: models without are skipped"
            )
    forms = {(base, len(parts)) for base, parts in map(facets, found.scalars)}
    idle_help = [p for p in metric.scalar_help if (facets(p)[0], len(facets(p)[1])) not in forms]
    if idle_help:
        notes.append(f"scalar_help describes {', '.join(idle_help)}, which was never returned")
    return tuple(notes)
