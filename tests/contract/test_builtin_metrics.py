"""Every built-in metric and comparison keeps the contract that plugins keep."""

from __future__ import annotations

from typing import Any

import pytest

from robreport.metric import Comparison
from robreport.plugins import Registry
from robreport.testing import check_metric, make_outcomes

REGISTRY = Registry(allow={"robreport"})

# smaller than the defaults, so that the check is quick; what is checked does not depend on it
QUICK: dict[str, dict[str, Any]] = {
    "linear.robust_hinge": {"eps": ["0.1"], "epochs": 5, "grid_points": 11, "shown": 2},
    "attacks.suite": {"steps": 2, "gallery": 1, "queries": 3, "noise_tries": 1},
}

# In how many situations each must have computed, where one is not enough.
COMPUTED = {"linear.robust_hinge": 5}

# Ten seconds each: run with what else takes long.
SLOW = ("linear.robust_hinge", "linear.compare", "attacks.compare")

METRICS = [m for m in REGISTRY.metrics.values() if not issubclass(m, Comparison)]
COMPARISONS = [m for m in REGISTRY.metrics.values() if issubclass(m, Comparison)]


def test_every_builtin_plugin_loads() -> None:
    assert [(record.name, record.error) for record in REGISTRY.failed] == []


def test_what_is_said_of_metrics_belongs_to_one() -> None:
    assert {*QUICK, *COMPUTED} <= set(REGISTRY.metrics)


def each(metrics: list[Any]) -> list[Any]:
    return [
        pytest.param(m, id=m.id, marks=[pytest.mark.slow] if m.id in SLOW else []) for m in metrics
    ]


@pytest.mark.parametrize("metric", each(METRICS))
def test_metric_keeps_the_contract(metric: Any) -> None:
    report = check_metric(metric, params=QUICK.get(metric.id))
    computed = [name for name, ended in report.scenarios.items() if ended == "computed"]
    assert len(computed) >= COMPUTED.get(metric.id, 1)
    # a note would tell of a declared need that no situation used
    assert [note for note in report.notes if note.startswith("needs ")] == []


@pytest.mark.parametrize("metric", each(COMPARISONS))
def test_comparison_keeps_the_contract(metric: Any) -> None:
    consumed = [m for m in METRICS if m.id in metric.consumes]
    outcomes = make_outcomes(*consumed, params=QUICK)
    check_metric(metric, params=QUICK.get(metric.id), outcomes=outcomes)
