"""The situations that a metric is put into: what it declared, everything, and the awkward ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

from robreport.bundle import Bundle, Needs
from robreport.metric import Comparison, Context, Metric, Params, SkipMetric
from robreport.outcome import Computed, Failed, Outcome, Skipped, Subject
from robreport.result import Result
from robreport.testing.bundles import CLASSIFICATION_ONLY, Layout, ModelName, changed, make_bundle
from robreport.testing.guard import GuardedModel, guarded
from robreport.testing.watch import bundle_state, outcomes_state
from robreport.threat import Norm, ThreatModel, parse_eps

ALONE = "with exactly what it declares"
EVERYTHING = "with everything on offer"
Threats = tuple[ThreatModel, ...]

# Training a network is most of a check's time, and every check needs the same few bundles. They
# are copied before a metric sees them.
_pristine = lru_cache(maxsize=64)(make_bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One computation that can be made once: the call, and a digest of what it must not change."""

    call: Callable[[Context], Result]
    state: Callable[[], Mapping[str, str]]
    used: Callable[[], Needs] = lambda: Needs.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A named situation; `make` sets it up anew for each computation.

    Attributes
    ----------
    name : str
        Completes the sentence "… it raised ValueError".
    thorough : bool
        Computed repeatedly and compared, and progress is required.
    lacking : bool
        Something declared is missing: `NotOffered` is a good answer too.
    """

    name: str
    make: Callable[[], Trial]
    threats: Threats = ()
    thorough: bool = False
    lacking: bool = False


def default_threats(norms: Sequence[str]) -> Threats:
    """Return one threat model for each norm: budgets 0, 8/255 and 0.1."""
    chosen = [Norm(norm) for norm in norms] or list(Norm)
    eps = tuple(parse_eps(text) for text in ("0", "8/255", "0.1"))
    return tuple(ThreatModel(name=norm.lower(), norm=norm, eps=eps) for norm in chosen)


def metric_trial(
    metric: type[Metric],
    params: Params,
    build: Callable[[], Bundle],
    needs: Needs,
    splits: Sequence[str],
) -> Trial:
    """Return the computation of a metric on a fresh bundle, narrowed to `needs` and `splits`."""
    whole = build()
    narrow = guarded(whole, needs, splits, scope=metric.scope)

    def used() -> Needs:
        model = narrow.model
        return model.used if isinstance(model, GuardedModel) else Needs.NONE

    return Trial(
        call=lambda ctx: metric().compute(narrow, params, ctx),
        state=lambda: bundle_state(whole),
        used=used,
    )


def metric_scenarios(
    metric: type[Metric], params: Params, threats: Threats | None, *, seed: int
) -> Iterator[Scenario]:
    """Yield the situations of a metric, each on a small synthetic bundle."""
    needs = metric.needs
    budget = default_threats(metric.norms) if threats is None else threats
    least = budget if metric.threats == "required" else ()
    most = budget if metric.threats != "none" else ()
    declared = [role for role in metric.splits if not role.endswith("?")]
    classes = Needs.REGRESSION not in needs

    def trial(
        *,
        needs: Needs = needs,
        splits: Sequence[str] = declared,
        layout: Layout = "table",
        change: Callable[[Bundle], Bundle] = lambda bundle: bundle,
        model: ModelName = "auto",
        offered: Needs | None = None,
        **options: Any,
    ) -> Callable[[], Trial]:
        allowed = needs if offered is None else offered

        def build() -> Bundle:
            roles = concrete(splits)
            made = _pristine(needs, seed=seed, layout=layout, model=model, splits=roles, **options)
            return change(deepcopy(made))

        return lambda: metric_trial(metric, params, build, allowed, splits)

    for layout in ("table", "image"):
        name = f"{ALONE}, inputs of layout {layout!r}"
        thorough = layout == "table"
        yield Scenario(name=name, make=trial(layout=layout), threats=least, thorough=thorough)
    yield Scenario(
        name=EVERYTHING,
        make=trial(
            splits=metric.splits,
            layout="image",
            model="stumps" if Needs.TREES in needs else "network",
            offered=~Needs.NONE,
        ),
        threats=most,
        thorough=True,
    )
    if classes:
        yield Scenario(name="with two classes", make=trial(classes=2), threats=least)
    if not needs & (CLASSIFICATION_ONLY | Needs.REGRESSION):
        yield Scenario(
            name="on a regression, which needs does not exclude",
            make=trial(task="regression"),
            threats=least,
        )
    if classes and Needs.LABELS in needs:
        yield Scenario(
            name="where every prediction is wrong",
            make=trial(change=_all_wrong),
            threats=least,
        )
    yield Scenario(
        name="with one example in each split",
        make=trial(change=partial(changed, rows=slice(0, 1))),
        threats=least,
    )
    for need in needs & ~(Needs.CLASSIFICATION | Needs.REGRESSION):
        kept = [role for role in declared if not _of(need, role)]
        yield Scenario(
            name=f"without {need.name}",
            make=trial(offered=needs & ~need, splits=kept),
            threats=least,
            lacking=True,
        )
    for role in declared:
        kept = [other for other in declared if other != role]
        yield Scenario(
            name=f"without the split {role}", make=trial(splits=kept), threats=least, lacking=True
        )


def given_scenarios(
    metric: type[Metric], params: Params, threats: Threats | None, bundle: Bundle
) -> Iterator[Scenario]:
    """Yield the situations that a bundle of the caller's allows."""
    budget = default_threats(metric.norms) if threats is None else threats
    chosen = budget if metric.threats != "none" else ()
    for name, needs in ((ALONE, metric.needs), (EVERYTHING, ~Needs.NONE)):
        make = partial(metric_trial, metric, params, lambda: bundle, needs, metric.splits)
        yield Scenario(
            name=f"{name}, on the given bundle", make=make, threats=chosen, thorough=True
        )


def comparison_scenarios(
    comparison: type[Comparison],
    params: Params,
    threats: Threats,
    outcomes: Sequence[Outcome],
) -> Iterator[Scenario]:
    """Yield the situations of a comparison: all outcomes, some missing, one, none."""
    broken = [
        absent
        for outcome in {outcome.about.metric: outcome for outcome in outcomes}.values()
        for absent in _absent(outcome)
    ]
    first = outcomes[0].about.model
    cases: tuple[tuple[str, Sequence[Outcome], bool], ...] = (
        ("with every outcome computed", outcomes, True),
        ("with skipped and failed outcomes among them", [*broken, *outcomes], True),
        ("with one model", [o for o in outcomes if o.about.model == first], False),
        ("with one outcome", outcomes[:1], False),
        ("with skipped and failed outcomes only", broken, False),
        ("with no outcome", (), False),
    )
    for name, given, thorough in cases:

        def make(given: Sequence[Outcome] = given) -> Trial:
            return Trial(
                call=lambda ctx: comparison().compare(tuple(given), params, ctx),
                state=lambda: outcomes_state(given),
            )

        yield Scenario(name=name, make=make, threats=threats, thorough=thorough)


def make_outcomes(
    *metrics: type[Metric],
    params: Mapping[str, Mapping[str, Any]] | None = None,
    threats: Sequence[ThreatModel] | None = None,
    ctx: Context | None = None,
    seed: int = 0,
) -> list[Outcome]:
    """Return what each metric computes on two small models, ``first`` and ``second``.

    A metric that has nothing to say of one of them leaves a skipped outcome, as in an audit.

    Parameters
    ----------
    *metrics : Metric classes
    params : mapping of metric id to parameters
        The defaults for those left out.
    threats : sequence of ThreatModel or None
        By default one for each norm that the metric works in.
    ctx : Context or None
        For metrics that want more of it than the seed; its threats are replaced.
    seed : int
    """
    found: list[Outcome] = []
    for metric in metrics:
        own = default_threats(metric.norms) if threats is None else tuple(threats)
        chosen = own if metric.threats != "none" else ()
        made = metric.Params.model_validate(dict((params or {}).get(metric.id, {})))
        plain: ModelName = "stumps" if Needs.TREES in metric.needs else "linear"
        kinds: tuple[tuple[str, ModelName, int], ...] = (
            ("first", plain, seed),
            ("second", "stumps" if plain == "stumps" else "network", seed + 1),
        )
        for model, kind, own_seed in kinds:
            roles = concrete(metric.splits)
            bundle = make_bundle(metric.needs, seed=own_seed, model=kind, splits=roles)
            surroundings = replace(ctx or Context(seed=seed), threats=chosen)
            about = Subject(
                name=metric.id,
                metric=metric.id,
                model=model,
                title=metric.title,
                question=metric.question,
                summary=metric.summary,
                reading=metric.reading,
                limits=metric.limits,
                references=metric.references,
                knowledge=metric.knowledge,
                params=made.model_dump(mode="json"),
                threats=tuple(threat.name for threat in chosen),
                splits={role: len(split) for role, split in bundle.splits.items()},
            )
            try:
                result = metric().compute(bundle, made, surroundings)
            except SkipMetric as reason:
                found.append(Skipped(about=about, reason=str(reason)))
            else:
                found.append(Computed(about=about, result=result))
    return found


def concrete(splits: Sequence[str]) -> tuple[str, ...]:
    """Return roles for declared splits: two for a family, the optional ones included."""
    roles: list[str] = []
    for role in splits:
        plain = role.rstrip("?")
        if plain.endswith(".*"):
            roles += [f"{plain[:-1]}first", f"{plain[:-1]}second"]
        else:
            roles.append(plain)
    return tuple(dict.fromkeys(roles))


def _absent(outcome: Outcome) -> tuple[Outcome, Outcome]:
    skipped = replace(outcome.about, model="skipped")
    failed = replace(outcome.about, model="failed")
    return (
        Skipped(about=skipped, reason="the model offers no logits"),
        Failed(about=failed, error="ValueError: planted", kind="exception"),
    )


def _all_wrong(bundle: Bundle) -> Bundle:
    """Give every example the class after the one that the model predicts."""
    splits = {
        role: replace(split, y=(bundle.model.predict(split.x) + 1) % bundle.schema.n_classes)
        if split.y is not None
        else split
        for role, split in bundle.splits.items()
    }
    return changed(replace(bundle, splits=splits))


def _of(need: Needs, role: str) -> bool:
    """Whether leaving out the need leaves out the split."""
    heads: dict[Needs, Literal["train", "ood.", "shift."]] = {
        Needs.MEMBERS: "train",
        Needs.OOD: "ood.",
        Needs.SHIFT: "shift.",
    }
    return need in heads and role.startswith(heads[need])
