"""Linear classifiers trained to withstand perturbations, and attacked exactly."""

from __future__ import annotations

from collections.abc import Callable

from robreport import Comparison, Metric, hookimpl


@hookimpl
def register_metrics(register: Callable[[type[Metric] | type[Comparison]], None]) -> None:
    """Offer ``linear.robust_hinge``, ``linear.exact_attack`` and ``linear.compare``."""
    from robreport_plugins.linear.comparison import LinearComparison
    from robreport_plugins.linear.metrics import ExactAttack, RobustHinge

    register(RobustHinge)
    register(ExactAttack)
    register(LinearComparison)
