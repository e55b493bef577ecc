"""Everything that can go wrong, each with its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; ``INTERRUPTED`` is the shell's convention for Ctrl-C."""

    OK = 0
    REQUIREMENT = 1
    FAILED = 2
    UNUSABLE = 3
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a spec: where, what was found, and what to do about it.

    Attributes
    ----------
    where : str
        Dotted TOML path such as ``metrics.pgd.params.steps`` (empty for the file itself).
    message : str
        What was found and what is allowed, in one sentence.
    hint : str
        What to do, for instance a near miss; may be empty.
    """

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = printable(self.where)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} {self.hint}" if self.hint else text


MISSING = "is missing."


def _without_echoes(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems but those that a place is missing whose value was refused already."""
    kept: list[Problem] = []
    for problem in problems:
        if problem.message != MISSING or all(problem.where != other.where for other in kept):
            kept.append(problem)
    return tuple(kept)


class RobreportError(Exception):
    """Root of every error that robreport raises on purpose; its text is one clear sentence."""

    exit_code = ExitCode.UNUSABLE


class SpecError(RobreportError):
    """The audit file cannot be used; carries every problem found, not just the first."""

    def __init__(self, problems: Iterable[Problem], source: str = "audit.toml") -> None:
        self.problems = _without_echoes(problems)
        self.source = source
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count} {noun}\n{lines}")


class ModelError(RobreportError):
    """A model file cannot be used: missing, truncated, of another shape, not trusted."""


class DataError(RobreportError):
    """A data set cannot be used: missing, empty, out of range, of another shape."""


class InputError(RobreportError):
    """Nothing could be measured, since no model or no data could be used."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"nothing could be measured; no report was written.\n{lines}")


class PluginError(RobreportError):
    """A plugin cannot be loaded, or offered something that the registry refuses."""


class MetricError(RobreportError):
    """A metric returned something that cannot stand in a record, such as a NaN."""

    exit_code = ExitCode.FAILED


class RecordError(RobreportError):
    """A run folder or a record is damaged, of another version, or not a record at all."""


class RenderError(RobreportError):
    """A document could not be made from a record."""

    exit_code = ExitCode.FAILED


class OutputError(RobreportError):
    """The results could not be written: no space, no permission, or something else is there."""


class UsageError(RobreportError):
    """The command line asks for something that does not exist."""


def printable(text: str, most: int = 200) -> str:
    """Return `text` on one line, without control characters and shortened.

    Names in an error may come from a hostile file: they must not move a terminal's cursor.
    """
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def said(error: BaseException) -> str:
    """Return an error of anybody's code as its type and text, on one line and shortened."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:400]}"


def near_misses(word: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Return the known words that look like `word`, best first, whatever their case."""
    from difflib import get_close_matches

    by_lower: dict[str, str] = {}
    for name in known:
        by_lower.setdefault(name.lower(), name)
    found = get_close_matches(word[:200].lower(), list(by_lower), n=most, cutoff=0.6)
    return tuple(by_lower[name] for name in found)


def unknown_word(kind: str, word: str, known: Iterable[str]) -> tuple[str, str]:
    """Return (message, hint) for an unknown name: what is allowed, and the near misses."""
    names = sorted(known)
    allowed = ", ".join(names) if names else "none"
    close = near_misses(word, names)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return f"unknown {kind} '{printable(word)}'; known: {allowed}.", hint
