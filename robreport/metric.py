"""What a metric is: a class that declares what it needs and returns a `Result`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from robreport.bundle import Bundle, Needs
from robreport.result import Result
from robreport.threat import ThreatModel

if TYPE_CHECKING:
    from robreport.outcome import Outcome

Progress = Callable[[int, int, str], None]
Build = Callable[[Path], None]


class Params(BaseModel):
    """Base of a metric's (or loader's) parameters: unknown keys are refused, values frozen.

    Give each field a default, a type with limits and a ``description``: the catalogue, the
    schema and the error messages are made from them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SkipMetric(Exception):
    """Raise inside `compute` to skip with a reason that the coverage table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What surrounds one computation.

    Attributes
    ----------
    threats : tuple of ThreatModel
        Those that the entry names, in its order.
    seed : int
        Derived from the audit's seed and the metric's id: the same for every model.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
        Threads of this process, in every library.
    progress : callable (done, total, what)
        Call it often; it is cheap.
    artifact : callable (key, build) -> Path
        Return a folder that `build(folder)` filled, now or in an earlier run of this metric with
        the same model, data, seed and key. The parameters are not a part of it: name in the key
        those that the folder depends on.
    log : logging.Logger
        Goes to the metric's own log.
    """

    threats: tuple[ThreatModel, ...] = ()
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    progress: Progress = lambda done, total, what: None
    artifact: Callable[[str, Build], Path] | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("robreport.metric"))

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator from the seed: each call starts the same stream anew."""
        return np.random.default_rng(self.seed)


class Declared:
    """What metrics and comparisons declare alike, as class attributes.

    Attributes
    ----------
    id : str
        ``family.method``.
    title, question, summary : str
        Heading; the question it answers; how it is measured, in two to four sentences.
    reading : str
        How to read the result.
    limits : str
        What the result does not show.
    references : tuple of str
    knowledge : str
        What the measuring party sees: "white box", "black box", "model outputs", "data", …
    scalar_help : mapping
        Every scalar's name pattern with what it is, such as
        ``{"robust_accuracy[threat, eps]": "share right under every attack"}``.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    summary: ClassVar[str]
    reading: ClassVar[str] = ""
    limits: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    knowledge: ClassVar[str] = ""
    scalar_help: ClassVar[Mapping[str, str]] = {}
    Params: ClassVar[type[Params]] = Params


class Metric(Declared, ABC):
    """One measurement of one model (``scope = "model"``) or of the data (``scope = "data"``).

    Attributes
    ----------
    needs : Needs
        What model and data must offer; else the metric is skipped with the reason.
    splits : tuple of str
        Roles it reads: exact (``test``), optional (``train?``), or a family (``ood.*``).
    threats : "none", "optional" or "required"
        Whether an entry of this metric names threat models.
    norms : tuple of str
        Norms it can work in; empty for all.
    constrained : bool
        Whether it minds all that a `ThreatModel` says, not norm and budgets alone.
    """

    needs: ClassVar[Needs] = Needs.NONE
    splits: ClassVar[tuple[str, ...]] = ("test",)
    scope: ClassVar[Literal["model", "data"]] = "model"
    threats: ClassVar[Literal["none", "optional", "required"]] = "none"
    norms: ClassVar[tuple[str, ...]] = ()
    constrained: ClassVar[bool] = False

    @classmethod
    def needs_of(cls, params: Params) -> Needs:
        """Return what an entry with these parameters needs; `needs` unless overridden."""
        return cls.needs

    @abstractmethod
    def compute(self, bundle: Bundle, params: Params, ctx: Context) -> Result:
        """Measure, and return plain values. Must not change model or data."""


class Comparison(Declared, ABC):
    """A result made from other results: across models, or within one. It sees no model.

    Attributes
    ----------
    consumes : frozenset of str
        Metric ids whose outcomes it wants.
    """

    consumes: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def compare(self, outcomes: Sequence[Outcome], params: Params, ctx: Context) -> Result:
        """Compare; skipped and failed outcomes are among those given."""
