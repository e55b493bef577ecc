"""What became of each declared metric, and the audit as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from robreport.datacard import SplitCard
from robreport.result import Result


class Status(StrEnum):
    """The seven words, everywhere the same."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NOT_RUN = "not-run"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Which metric on which model, with the metric's words, so that a page needs no plugin."""

    name: str
    metric: str
    model: str | None
    title: str
    question: str
    summary: str
    reading: str = ""
    limits: str = ""
    references: tuple[str, ...] = ()
    knowledge: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    threats: tuple[str, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``name@model``, unique in an audit."""
        return f"{self.name}@{self.model}" if self.model else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """The metric ran. `seconds`, `cached` and `peak_memory` (bytes) are volatile."""

    about: Subject
    result: Result
    seconds: float = 0.0
    cached: bool = False
    peak_memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """The metric did not run; the reason is one sentence."""

    about: Subject
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The metric broke.

    ``kind`` says how: it raised, its process left, was killed by a signal, ran out of memory or
    time, or its model or data could not be used. ``trace`` and ``log`` are volatile.
    """

    about: Subject
    error: str
    kind: Literal["exception", "exit", "signal", "memory", "timeout", "input"] = "exception"
    trace: str = ""
    log: str = ""
    seconds: float = 0.0


Outcome = Computed | Skipped | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement on one model, and how it stands.

    ``level`` is ``require`` or ``warn``; ``words`` say the status in a sentence for a reader
    ("not refuted by the attacks run"); ``allowed``: nothing was measured, with the leave of the
    entry (``allow_missing``).
    """

    expression: str
    name: str
    model: str | None
    level: Literal["require", "warn"]
    scalar: str
    operator: str
    threshold: float
    threshold_text: str
    status: Status
    words: str
    observed: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    allowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The audit's answer: a status, a headline and the sentence that justifies it."""

    status: Status
    headline: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a record says of a model; `examined` is what its loader found on the audit's data."""

    name: str
    version: str
    loader: str
    path: str
    digest: str
    kind: str
    offers: tuple[str, ...]
    n_outputs: int
    input_shape: tuple[int, ...] | None
    trusted: bool = False
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    examined: Mapping[str, str | int | float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """What a record says of a split; `problem` when it could not be used.

    `low` and `high` are of the values that are there; `missing` counts those that are not. `card`
    is absent from records of before it was made.
    """

    role: str
    loader: str
    n: int
    shape: tuple[int, ...]
    dtype: str
    digest: str
    source: str
    low: float | None = None
    high: float | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    problem: str = ""
    card: SplitCard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """Everything that a document is made of. `execution` alone is volatile."""

    audit: Mapping[str, Any]
    spec: Mapping[str, Any]
    spec_text: str
    models: tuple[ModelFacts, ...]
    data: tuple[SplitFacts, ...]
    schema: Mapping[str, Any]
    plugins: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    requirements: tuple[Requirement, ...]
    verdict: Verdict
    execution: Mapping[str, Any] = field(default_factory=dict)

    @property
    def coverage(self) -> dict[str, int]:
        """How many of the declared measurements ran, failed, or were skipped."""
        return {
            "declared": len(self.outcomes),
            "ran": sum(isinstance(o, Computed) for o in self.outcomes),
            "failed": sum(isinstance(o, Failed) for o in self.outcomes),
            "skipped": sum(isinstance(o, Skipped) for o in self.outcomes),
        }
