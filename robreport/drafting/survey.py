"""Load what a draft names, once: what the models offer, how the data ranges, what can run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.audit import workplace
from robreport.bundle import DataSchema, Needs
from robreport.drafting.draft import Draft
from robreport.engine import Quiet
from robreport.kept import open_split
from robreport.metric import Comparison
from robreport.offers import missing_needs
from robreport.plan import make_plan
from robreport.plugins import Registry
from robreport.preload import open_workshop
from robreport.prepare import Prepared, prepare
from robreport.spec_reader import parse_spec

THREAT = "linf"
_CHUNK = 1 << 22
_MOST_BOUNDS = 256
_FROM_MODEL = (
    Needs.PROBABILITIES | Needs.LOGITS | Needs.GRADIENTS | Needs.PARAMETERS | Needs.REFIT
    | Needs.TREES | Needs.MEMBERS
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What loading showed.

    Attributes
    ----------
    problems : tuple of str
        Why a model or split cannot be used.
    kinds : mapping of model to str
        What each is, in words.
    sizes : mapping of role to int
    schema : DataSchema or None
    low, high : arrays (d,) or None
        The range of each feature over all splits; None where nothing could be loaded.
    runs : mapping of metric id to str
        Metrics that can run, with a remark on models for which they cannot.
    skips : mapping of metric id to str
        The others, with the reason.
    """

    problems: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    schema: DataSchema | None = None
    low: npt.NDArray[np.float64] | None = None
    high: npt.NDArray[np.float64] | None = None
    runs: Mapping[str, str] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)

    @property
    def bounds(self) -> list[float | list[float]] | None:
        """Bounds of the data, rounded outwards: two numbers, or one pair per column of a table."""
        if self.low is None or self.high is None or self.schema is None:
            return None
        if self.schema.layout == "image" and self.low.min() >= 0 and self.high.max() <= 1:
            return [0.0, 1.0]
        if self.schema.layout != "table" or len(self.low) > _MOST_BOUNDS:
            low, high = float(self.low.min()), float(self.high.max())
            return [rounded(low, up=False), rounded(max(high, low + 1e-6), up=True)]
        lows = [rounded(float(value), up=False) for value in self.low]
        highs = [rounded(float(value), up=True) for value in self.high]
        # a column of one value: bounds need some room between them
        highs = [h if h > low else low + 1.0 for low, h in zip(lows, highs, strict=True)]
        return [lows, highs]


def survey(draft: Draft, registry: Registry) -> Survey:
    """Return what loading the models and data of a draft shows.

    Raises
    ------
    SpecError
        What the loaders suggested is not what they take.
    """
    usable = [model for model in draft.models if not model.guess.missing]
    entries, skips = _candidates(registry, models=bool(usable))
    if not entries:
        return Survey(skips=skips)
    tree = {
        "audit": {"title": draft.title},
        "models": [model.entry() for model in usable],
        "data": draft.data.table(),
        "threats": {THREAT: {"norm": "Linf", "eps": [0.1]}},
        "metrics": entries,
    }
    plan = make_plan(parse_spec(tree, base=draft.folder.absolute()), registry)
    with workplace(plan.spec, True, Quiet()) as (folder, cache), open_workshop(plan) as workshop:
        prepared = prepare(plan, workshop, folder, cache, lambda report: None)
        low, high = _ranges(prepared)
    runs, more = _sorted_out(prepared, registry, several=len(draft.models) > 1)
    return Survey(
        problems=tuple(prepared.problems),
        kinds={m.name: m.kind for m in prepared.models.values() if not m.problem},
        sizes={s.role: s.n for s in prepared.splits.values() if not s.problem},
        schema=prepared.schema,
        low=low,
        high=high,
        runs=runs,
        skips={**skips, **more},
    )


def rounded(value: float, *, up: bool) -> float:
    """Return `value` to four significant digits, away from the data."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    count = value / step
    whole = math.ceil(count - 1e-9) if up else math.floor(count + 1e-9)
    # as text: 3 * 0.1 is no 0.3
    found = float(f"{whole * step:.4g}")
    if found < value if up else found > value:
        return value
    return found


def _candidates(registry: Registry, *, models: bool) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return an entry for every metric that could stand in the draft, and why others cannot."""
    entries: list[dict[str, Any]] = []
    skips: dict[str, str] = {}
    for identity, metric in sorted(registry.metrics.items()):
        required = [n for n, f in metric.Params.model_fields.items() if f.is_required()]
        if required:
            skips[identity] = f"needs params that only you know: {', '.join(required)}"
            continue
        takes = getattr(metric, "threats", "none")
        norms = getattr(metric, "norms", ())
        threatened = takes != "none" and (not norms or "Linf" in norms)
        if takes == "required" and not threatened:
            skips[identity] = f"works in {', '.join(norms)}: declare a threat of that norm"
            continue
        if models or issubclass(metric, Comparison) or metric.scope == "data":
            entries.append({"id": identity, **({"threats": [THREAT]} if threatened else {})})
    return entries, skips


def _sorted_out(
    prepared: Prepared, registry: Registry, *, several: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the metrics that run (with a remark) and those that do not (with the reason).

    Where no model could be loaded, what it offers is not known: what the data allows is taken.
    """
    runs: dict[str, str] = {}
    skips: dict[str, str] = {}
    loaded = any(not model.problem for model in prepared.models.values())
    for identity, metric in sorted(registry.metrics.items()):
        units = [unit for unit in prepared.plan.units if unit.metric.id == identity]
        if issubclass(metric, Comparison):
            continue
        reasons = {
            unit.model or "": reason
            for unit in units
            for kind, reason in [prepared.obstacle(unit)]
            if kind == "skip"
        }
        if not loaded and metric.scope == "model":
            needs = metric.needs & ~_FROM_MODEL
            reason = missing_needs(needs, None, prepared.offers, ())
            if reason:
                skips[identity] = reason
            else:
                runs[identity] = "Whether it runs is known once a model loads."
        elif not units:
            continue
        elif len(reasons) == len(units):
            skips[identity] = next(iter(reasons.values()))
        else:
            runs[identity] = "; ".join(f"not for {m}: {r}" for m, r in reasons.items())
    for identity, metric in sorted(registry.metrics.items()):
        if not issubclass(metric, Comparison):
            continue
        absent = sorted(set(metric.consumes) - set(runs))
        if absent:
            skips[identity] = f"compares results of {', '.join(absent)}, which does not run here"
        elif not several:
            skips[identity] = "compares models, and there is one"
        else:
            runs[identity] = ""
    return runs, skips


def _ranges(
    prepared: Prepared,
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """Return the lowest and highest value of each feature over all splits, NaN left out."""
    lows, highs = [], []
    for role, facts in prepared.splits.items():
        if facts.problem:
            continue
        x = open_split(facts, prepared.arrays / role).x
        flat = x.reshape(len(x), -1)
        rows = max(1, _CHUNK // max(1, flat.shape[1]))
        for start in range(0, len(flat), rows):
            part = np.asarray(flat[start : start + rows], dtype=np.float64)
            # fmin and fmax pass NaN over, and say nothing of a column that has nothing else
            lows.append(np.fmin.reduce(part, axis=0))
            highs.append(np.fmax.reduce(part, axis=0))
    if not lows:
        return None, None
    return (
        np.nan_to_num(np.fmin.reduce(lows, axis=0)),
        np.nan_to_num(np.fmax.reduce(highs, axis=0)),
    )
