"""The workshop of a plan, and what its processes find imported already."""

from __future__ import annotations

from robreport.isolation import Workshop
from robreport.planned import Plan

_PRELOAD = ("numpy", "pydantic", "robreport.metric", "robreport.result", "robreport.bundle",
           "robreport.outcome")  # fmt: skip
# Most measurements draw charts and give intervals. Imported in each job they would be a second of
# every one; for fewer jobs than these, importing them beforehand gains nothing.
_PRELOAD_OF_MANY = ("altair", "numba", "scipy.stats")
_MANY = 3


def open_workshop(plan: Plan) -> Workshop:
    """Return the workshop that a plan's execution table asks for."""
    execution = plan.spec.execution
    return Workshop(workers=execution.workers, threads=execution.threads, preload=_preload(plan))


def _preload(plan: Plan) -> tuple[str, ...]:
    loaders = {model.entry.loader for model in plan.models}
    extra: tuple[str, ...] = _PRELOAD_OF_MANY if len(plan.units) >= _MANY else ()
    if "torch" in loaders:
        extra += ("torch",)
    if "sklearn" in loaders:
        extra += ("scipy", "sklearn.pipeline", "sklearn.tree", "sklearn.linear_model", "skops.io")
    return _PRELOAD + extra
