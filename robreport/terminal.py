"""What a run shows on a terminal, and in a log where there is none."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from robreport.outcome import Computed, Outcome, Requirement, Skipped

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ICONS = {
    "pass": "✓", "warn": "!", "fail": "✗", "inconclusive": "?", "error": "✗", "not-run": "–",
    "info": "·",
}  # fmt: skip
COLOURS = {
    "pass": "green", "warn": "yellow", "fail": "red", "inconclusive": "yellow", "error": "red",
    "not-run": "bright_black", "info": "blue",
}  # fmt: skip


class Lines:
    """Plain lines on standard error, for logs: starts, endings, and progress now and then.

    Parameters
    ----------
    verbosity : int
        Below 0 only warnings; 0 endings; above 0 progress too.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self._verbosity = verbosity
        self._said: dict[str, float] = {}
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip

    def stage(self, text: str) -> None:
        if self._verbosity >= 0:
            self._say(text)

    def progress(self, key: str, done: int, total: int, what: str) -> None:
        """Say how far a measurement is: its start, then every ten seconds, or all when verbose."""
        now = time.monotonic()
        first = key not in self._said
        if self._verbosity < 0 or not (first or self._verbosity > 0 or now - self._said[key] > 10):
            return
        self._said[key] = now
        share = f" {done}/{total}" if total else ""
        self._say(f"{key}:{share} {what}".rstrip() if total or what else f"{key}: started")

    def finished(self, outcome: Outcome) -> None:
        if self._verbosity >= 0:
            self._say(ending(outcome))

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}")

    def _say(self, text: str) -> None:
        # a log that nobody reads any more, as with "2>&1 | head", must not end an audit
        with contextlib.suppress(BrokenPipeError):
            print(f"[{time.monotonic() - self._start:6.1f}s] {text}", file=sys.stderr, flush=True)


class Live:
    """Progress bars on a terminal: what each measurement is doing, and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True, highlight=False)
        self._bars: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[what]}", style="bright_black", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._bars.stop()

    def stage(self, text: str) -> None:
        self._console.print(text, style="bold", markup=False)

    def progress(self, key: str, done: int, total: int, what: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(key, total=None, what="")
        self._bars.update(self._tasks[key], completed=done, total=total or None, what=what)
        if total and done >= total and not key.count("@"):
            self._remove(key)

    def finished(self, outcome: Outcome) -> None:
        self._remove(outcome.about.key)
        self._console.print(f"  {ending(outcome)}", markup=False)

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def _remove(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            self._bars.remove_task(task)


def ending(outcome: Outcome) -> str:
    """Return one line about an outcome."""
    key = outcome.about.key
    if isinstance(outcome, Computed):
        how = "from the cache" if outcome.cached else f"{outcome.seconds:.1f} s"
        return f"{ICONS['pass']} {key} ({how})"
    if isinstance(outcome, Skipped):
        return f"{ICONS['not-run']} {key} did not run: {outcome.reason}"
    return f"{ICONS['error']} {key} failed: {outcome.error}"


def watcher(verbosity: int) -> Lines | Live:
    """Return bars for a terminal, lines otherwise."""
    if verbosity == 0 and sys.stderr.isatty():
        return Live()
    return Lines(verbosity)


def shown_observation(requirement: Requirement) -> str:
    """Return a requirement's observed value with its interval and n, as a terminal shows it."""
    if requirement.observed is None:
        return "–"
    share = requirement.unit == "share"

    def shown(value: float) -> str:
        return f"{100 * value:.1f} %" if share else f"{value:.4g}"

    text = shown(requirement.observed)
    if requirement.low is not None and requirement.high is not None:
        text += f" ({shown(requirement.low)} to {shown(requirement.high)})"
    return f"{text}, n = {requirement.n:,}" if requirement.n is not None else text
