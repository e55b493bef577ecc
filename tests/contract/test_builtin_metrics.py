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
    "linear.robust_hinge": {"epochs": 10},
    "attacks.suite": {"steps": 3, "gallery": 2, "queries": 5, "noise_tries": 2},
}

METRICS = [m for m in REGISTRY.metrics.values() if not issubclass(m, Comparison)]
COMPARISONS = [m for m in REGISTRY.metrics.values() if issubclass(m, Comparison)]


def test_every_builtin_plugin_loads() -> None:
    assert [(record.name, record.error) for record in REGISTRY.failed] == []


def test_quick_parameters_belong_to_a_metric() -> None:
    assert set(QUICK) <= set(REGISTRY.metrics)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.id)
def test_metric_keeps_the_contract(metric: Any) -> None:
    report = check_metric(metric, params=QUICK.get(metric.id))
    # a note would tell of a declared need that no situation used
    assert [note for note in report.notes if note.startswith("needs ")] == []


@pytest.mark.parametrize("metric", COMPARISONS, ids=lambda m: m.id)
def test_comparison_keeps_the_contract(metric: Any) -> None:
    consumed = [m for m in METRICS if m.id in metric.consumes]
    outcomes = make_outcomes(*consumed, params=QUICK)
    check_metric(metric, params=QUICK.get(metric.id), outcomes=outcomes)
