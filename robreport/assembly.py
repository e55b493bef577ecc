"""The outcomes of an audit, judged and put together as the run that the record keeps."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime

from robreport import __version__
from robreport.cache import digest
from robreport.codec import plain
from robreport.environment import environment
from robreport.keys import audit_id
from robreport.outcome import AuditRun, Outcome, Verdict
from robreport.policy import decide_verdict, judge_all
from robreport.prepare import Prepared


def assemble(
    prepared: Prepared,
    outcomes_by_key: Mapping[str, Outcome],
    started: datetime,
    interrupted: bool,
    *,
    cached: bool,
) -> AuditRun:
    """Judge the outcomes and return the whole run."""
    plan = prepared.plan
    spec = plan.spec
    outcomes = tuple(outcomes_by_key[unit.key] for unit in plan.units)
    requirements = judge_all(outcomes, plan.requirements, plan.allow_missing)
    verdict: Verdict = decide_verdict(requirements, outcomes, interrupted=interrupted)
    models = tuple(prepared.models.values())
    splits = tuple(prepared.splits.values())
    normalised = spec.normalised()
    identity = digest([normalised, [m.digest for m in models], [s.digest for s in splits]])
    audit = {
        "title": spec.audit.title,
        "subtitle": spec.audit.subtitle,
        "id": audit_id(identity),
        "seed": spec.audit.seed,
        "prepared_by": spec.audit.prepared_by,
        "distribution": spec.audit.distribution,
        "status": spec.audit.status,
        "purpose": spec.audit.purpose,
        "out_of_scope": spec.audit.out_of_scope,
        "theme": spec.report.theme,
        "formats": spec.report.formats,
        "tool": f"robreport {__version__}",
    }
    finished = datetime.now(UTC)
    return AuditRun(
        audit=plain(audit),
        spec=normalised,
        spec_text=spec.text,
        models=models,
        data=splits,
        schema=prepared.schema_json() or {},
        plugins=tuple(
            {key: plain(getattr(record, key)) for key in
             ("name", "distribution", "version", "error", "hooks", "wrappers")}
            for record in plan.registry.records
        ),
        environment=environment(spec.execution.threads, prepared.device),
        outcomes=outcomes,
        requirements=requirements,
        verdict=verdict,
        execution={
            "started": _stamp(started),
            "finished": _stamp(finished),
            "seconds": round((finished - started).total_seconds(), 3),
            "host": socket.gethostname(),
            "workers": spec.execution.workers,
            "timeout": spec.execution.timeout,
            "memory": spec.execution.memory,
            "cache": cached,
            "interrupted": interrupted,
            "overrides": plain(spec.overrides),
        },
    )  # fmt: skip


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
