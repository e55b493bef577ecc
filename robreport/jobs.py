"""Hand jobs of a plan to a workshop and collect their answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from robreport.isolation import Crashed, Finished, Job, Progress, Report, Workshop
from robreport.planned import Plan

Listener = Callable[[Report], None]


def gather(workshop: Workshop, jobs: list[Job], listen: Listener) -> dict[str, Finished | Crashed]:
    """Run jobs to their end and return their answers by key."""
    for job in jobs:
        workshop.submit(job)
    answers: dict[str, Finished | Crashed] = {}
    while len(answers) < len(jobs):
        report = workshop.next_report(1.0)
        if report is None:
            continue
        listen(report)
        if not isinstance(report, Progress):
            answers[report.key] = report
    return answers


def make_job(plan: Plan, key: str, function: str, payload: Any, folder: Path) -> Job:
    """Return a job for ``module:function`` of `robreport.worker`, with the plan's limits."""
    return Job(
        key=key,
        target=f"robreport.worker.{function}",
        payload=payload,
        timeout=plan.spec.execution.timeout,
        memory=plan.spec.execution.memory,
        log=folder / f"{key.replace(' ', '-')}.log",
    )
