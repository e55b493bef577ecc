"""Adversarial attacks: how much accuracy is left when inputs are perturbed on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robreport import hookimpl


@hookimpl
def register_metrics(register: Callable[[Any], None]) -> None:
    """Offer ``attacks.suite`` and ``attacks.compare``."""
    from robreport_plugins.attacks.comparison import AttackComparison
    from robreport_plugins.attacks.metrics import AttackSuite

    register(AttackSuite)
    register(AttackComparison)
