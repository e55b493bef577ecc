"""How good a model is at its task, before anybody attacks it."""

from __future__ import annotations

from collections.abc import Callable

from robreport import Comparison, Metric, hookimpl


@hookimpl
def register_metrics(register: Callable[[type[Metric] | type[Comparison]], None]) -> None:
    """Offer the performance of classifiers and of regressors."""
    from robreport_plugins.performance.metrics import (
        ClassificationPerformance,
        RegressionPerformance,
    )

    register(ClassificationPerformance)
    register(RegressionPerformance)
