"""Run one metric on a model and data, or one comparison over saved outcomes."""

from __future__ import annotations

import logging
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robreport.bundle import Bundle, DataSchema, ModelHandle, Needs, NotOffered
from robreport.cache import Cache
from robreport.codec import adapter
from robreport.metric import Comparison, Context, Metric, SkipMetric
from robreport.outcome import Computed, Failed, Outcome, Skipped, Subject
from robreport.plugins import Registry
from robreport.result import check_result
from robreport.store import load_result, save_result
from robreport.threat import ThreatModel
from robreport.worker.model import load_model
from robreport.worker.payload import Tell, schema_of, splits_of


def run_metric(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one metric and save its result; returns ``{"skipped": reason}`` when it skips."""
    registry = Registry(payload["allow"])
    metric = registry.metrics[payload["metric"]]()
    if not isinstance(metric, Metric):
        raise TypeError(f"{payload['metric']} is no Metric")
    # a metric of the data alone, in an audit without [data], has nothing to know of it
    schema = schema_of(payload) or DataSchema(task="", input_shape=(), layout="array")
    splits = splits_of(payload["splits"])
    model = load_model(payload) if payload["model"] is not None else ModelHandle()
    offers = model.offers
    for word in payload["data_offers"]:
        offers |= Needs[word.upper()]
    bundle = Bundle(
        model=model, splits=splits, schema=schema, offers=offers,
        digests={role: split.digest for role, split in splits.items()},
    )  # fmt: skip
    params = type(metric).Params.model_validate(payload["params"])
    _seed_libraries(payload["seed"], payload["threads"])
    try:
        result = registry.hook.run_metric(
            metric=metric, bundle=bundle, params=params, ctx=_context(payload, tell)
        )
    except SkipMetric as skip:
        return {"skipped": str(skip) or "the metric gave no reason"}
    except NotOffered as absent:
        raise RuntimeError(
            f"the metric uses {absent} without declaring it in needs or splits"
        ) from absent
    save_result(check_result(result), Path(payload["out"]))
    return {}


def run_comparison(payload: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one comparison over saved outcomes and save its result."""
    registry = Registry(payload["allow"])
    comparison = registry.metrics[payload["metric"]]()
    if not isinstance(comparison, Comparison):
        raise TypeError(f"{payload['metric']} is no Comparison")
    outcomes: list[Outcome] = []
    for item in payload["outcomes"]:
        about = adapter(Subject).validate_python(item["about"])
        if item["kind"] == "computed":
            outcomes.append(Computed(about=about, result=load_result(Path(item["folder"]))))
        elif item["kind"] == "skipped":
            outcomes.append(Skipped(about=about, reason=item["reason"]))
        else:
            outcomes.append(Failed(about=about, error=item["reason"]))
    params = type(comparison).Params.model_validate(payload["params"])
    _seed_libraries(payload["seed"], payload["threads"])
    try:
        result = comparison.compare(outcomes, params, _context(payload, tell))
    except SkipMetric as skip:
        return {"skipped": str(skip) or "the comparison gave no reason"}
    save_result(check_result(result), Path(payload["out"]))
    return {}


def _context(payload: Mapping[str, Any], tell: Tell) -> Context:
    root = payload["cache"]

    def artifact(key: str, build: Callable[[Path], None]) -> Path:
        if root is None:
            folder = Path(tempfile.mkdtemp(dir=payload["out"], prefix="artifact-"))
            build(folder)
            return folder
        return Cache(Path(root)).artifact(f"{payload['artifact_key']}:{key}", build)

    return Context(
        threats=tuple(adapter(ThreatModel).validate_python(t) for t in payload["threats"]),
        seed=payload["seed"],
        device=payload["device"],
        threads=payload["threads"],
        progress=tell,
        artifact=artifact,
        log=logging.getLogger("robreport.metric"),
    )


def _seed_libraries(seed: int, threads: int) -> None:
    """Seed the global generators, for code that uses them, and fix torch's threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
