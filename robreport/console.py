"""What the commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from robreport.datafindings import data_warnings
from robreport.errors import printable
from robreport.terminal import COLOURS, ICONS, shown_observation

if TYPE_CHECKING:
    from robreport.audit import Audited
    from robreport.drafting import Drafted
    from robreport.engine import Forecast
    from robreport.prepare import Prepared


def print_json(tree: Any) -> None:
    typer.echo(json.dumps(tree, ensure_ascii=False, indent=2))


def print_rows(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table: bordered on a terminal, tab-free plain columns elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    class Told(Console):
        def on_broken_pipe(self) -> None:
            # the library would leave with 1, which means "a requirement not met" here
            raise BrokenPipeError

    # a narrow pipe must not cut what a script reads
    width = (
        None if sys.stdout.isatty() else max(120, *(sum(map(len, r)) + 12 for r in rows or [heads]))
    )
    console = Told(width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(escaped(cell) for cell in row))
    console.print(table)


def escaped(cell: str) -> Any:
    from rich.text import Text

    word = cell.partition(":")[0]
    if word in ICONS:
        return Text(f"{ICONS[word]} {cell}", style=COLOURS[word])
    return Text(cell)


def print_audited(audited: Audited) -> None:

    verdict = audited.run.verdict
    rows = [
        (
            f"{r.name}@{r.model}" if r.model else r.name,
            ("" if r.level == "require" else "warn: ") + r.expression,
            shown_observation(r),
            f"{r.status}: {r.words}",
        )
        for r in audited.run.requirements
    ]
    if rows:
        print_rows(("measurement", "requirement", "observed", "status"), rows)
    typer.echo(f"{verdict.headline}. {verdict.sentence}")
    for name in audited.files:
        if name.startswith("report."):
            typer.echo(str(audited.place / name))
    typer.echo(f"record: {audited.place / 'audit.json'}")


def audited_json(audited: Audited) -> dict[str, Any]:
    from robreport.codec import plain

    return {
        "place": str(audited.place),
        "files": list(audited.files),
        "exit_code": int(audited.exit_code),
        "verdict": plain(audited.run.verdict),
        "coverage": audited.run.coverage,
        "requirements": plain(audited.run.requirements),
    }


def forecast_json(prepared: Prepared, forecasts: list[Forecast]) -> dict[str, Any]:
    from robreport.codec import plain

    return {
        "models": plain(tuple(prepared.models.values())),
        "data": plain(tuple(prepared.splits.values())),
        "problems": prepared.problems,
        "warnings": list(data_warnings(prepared.splits.values(), prepared.schema_json())),
        "plan": [
            {
                "measurement": f.unit.key,
                "metric": f.unit.metric.id,
                "action": f.action,
                "reason": f.reason,
                "seconds": f.seconds,
            }
            for f in forecasts
        ],
    }


def print_forecast(prepared: Prepared, forecasts: list[Forecast]) -> None:
    models = [
        (m.name, m.kind or "error: cannot be used", m.digest[:12], ", ".join(m.offers))
        for m in prepared.models.values()
    ]
    splits = [
        (s.role, f"{s.n:,}", " × ".join(map(str, s.shape)), s.digest[:12],
         f"error: {s.problem}" if s.problem else s.source)
        for s in prepared.splits.values()
    ]  # fmt: skip
    if models:
        print_rows(("model", "what", "digest", "offers"), models)
    if splits:
        print_rows(("data", "n", "shape", "digest", "source"), splits)
    words = {"run": "info: will run", "cached": "pass: is in the cache", "skip": "not-run",
             "input": "error"}  # fmt: skip
    rows = []
    for f in forecasts:
        time = (
            "" if f.seconds is None else f"about {f.seconds:.0f} s" if f.seconds >= 1 else "< 1 s"
        )
        status = f"{words[f.action]}: {f.reason}" if f.reason else words[f.action]
        rows.append((f.unit.key, f.unit.metric.id, status, time or "not known yet"))
    print_rows(("measurement", "metric", "plan", "time"), rows)
    for warning in data_warnings(prepared.splits.values(), prepared.schema_json()):
        typer.echo(f"warning: {printable(warning, 400)}")
    for problem in prepared.problems:
        typer.echo(f"robreport: {problem}", err=True)


def print_drafted(drafted: Drafted) -> None:
    """Print what was found and guessed, and what is left to fill in."""
    for line in drafted.found:
        typer.echo(line)
    if drafted.missing:
        typer.echo(f"{drafted.spec} is written, and does not run yet:")
        for line in drafted.missing:
            typer.echo(f"  {line}")
        typer.echo(f"next: fill that in, then robreport check {drafted.spec}")


def offers(offers: Any, wrappers: tuple[str, ...]) -> str:
    parts = [f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in offers.items()]
    if wrappers:
        parts.append(f"wraps {', '.join(wrappers)}: it can change any result")
    return "; ".join(parts) or "nothing by name"


def print_metric(description: dict[str, Any]) -> None:
    from robreport.catalogue import wrapped

    typer.echo(wrapped(description))
    if description["params"]:
        print_rows(
            ("parameter", "type", "default", "meaning"),
            [(p["name"], p["type"], p["default"], p["description"]) for p in description["params"]],
        )
    if description["scalars"]:
        print_rows(("scalar", "what it is"), list(description["scalars"].items()))
