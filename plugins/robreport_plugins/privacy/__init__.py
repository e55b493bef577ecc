"""What a model gives away of the records that it was trained on."""

from __future__ import annotations

from collections.abc import Callable

from robreport import Comparison, Metric, hookimpl


@hookimpl
def register_metrics(register: Callable[[type[Metric] | type[Comparison]], None]) -> None:
    """Offer the per-record privacy risk SHAPr."""
    from robreport_plugins.privacy.metrics import Shapr

    register(Shapr)
