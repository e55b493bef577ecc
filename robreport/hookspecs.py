"""Every hook that a plugin may implement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from robreport.bundle import Bundle
    from robreport.document import Section
    from robreport.metric import Comparison, Context, Metric, Params
    from robreport.outcome import AuditRun
    from robreport.result import Result
    from robreport.spec import AuditSpec

hookspec = pluggy.HookspecMarker("robreport")
hookimpl = pluggy.HookimplMarker("robreport")


@hookspec
def register_metrics(register: Callable[[type[Metric] | type[Comparison]], None]) -> None:
    """Offer metrics and comparisons: call ``register(MetricClass)`` for each."""


@hookspec
def register_model_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer model loaders: call ``register("torch", loader)`` for each."""


@hookspec
def register_data_loaders(register: Callable[[str, Any], None]) -> None:
    """Offer data loaders: call ``register("npz", loader)`` for each."""


@hookspec
def register_gates(register: Callable[[str, Any], None]) -> None:
    """Offer gates that can be loaded again: call ``register("vae", GateClass)`` for each."""


@hookspec
def register_renderers(register: Callable[[str, Any], None]) -> None:
    """Offer document formats: call ``register("docx", render)`` for each."""


@hookspec
def register_themes(register: Callable[[Any], None]) -> None:
    """Offer looks: call ``register(Theme(...))`` for each."""


@hookspec(firstresult=True)
def run_metric(metric: Metric, bundle: Bundle, params: Params, ctx: Context) -> Result | None:
    """Run one metric in its own process; wrap it for timing or tracing."""


@hookspec
def report_sections(run: AuditRun) -> Sequence[Section] | None:
    """Return extra sections for the document."""


@hookspec
def audit_started(spec: AuditSpec) -> None:
    """Be told that an audit starts."""


@hookspec
def audit_finished(run: AuditRun) -> None:
    """Be told that an audit has finished, before its documents are written."""
