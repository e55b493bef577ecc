"""The command line: thin, and quick to start."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robreport import __version__
from robreport.errors import ExitCode, RobreportError, UsageError, unknown_word

if TYPE_CHECKING:
    from robreport.audit import Audited
    from robreport.engine import Forecast
    from robreport.prepare import Prepared

EXIT_CODES = (
    "Exit codes: 0 every requirement met; 1 a requirement not met (failed or inconclusive); "
    "2 a metric or plugin failed; 3 usage, spec, model or data could not be used; 130 interrupted."
)

app = typer.Typer(
    name="robreport",
    help="Audit a model's robustness and privacy, and write a report that a reviewer can check."
    "\n\nFirst steps: [bold]robreport init DIR --example digits[/], then "
    "[bold]robreport run DIR/audit.toml[/].\n\n" + EXIT_CODES,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cache_app = typer.Typer(help="Look at the cache of finished measurements, or empty it.",
                        no_args_is_help=True)
app.add_typer(cache_app, name="cache")

SpecPath = Annotated[Path, typer.Argument(metavar="AUDIT.TOML", help="The audit to run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE",
                 help="Override a key, as in --set metrics.pgd.params.steps=100; repeatable."),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robreport {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command(epilog="Examples: robreport run audit.toml -- "
             "robreport run audit.toml --only pgd --set metrics.pgd.params.steps=100 -- "
             "robreport run audit.toml --output out/audit --json\n\n" + EXIT_CODES)  # fmt: skip
def run(
    spec: SpecPath,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; the spec's when left out.")
    ] = None,
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run only this entry; repeatable.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Measure everything anew and keep nothing.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what AUDIT.TOML declares and write HTML, PDF and the record behind both."""
    from robreport.audit import run_audit
    from robreport.terminal import watcher

    with watcher(-1 if quiet else int(verbose)) as observer:
        audited = run_audit(
            spec,
            overrides=overrides or (),
            output=output,
            only=only or (),
            use_cache=not no_cache,
            observer=observer,
        )
    if as_json:
        _print_json(_audited_json(audited))
    elif not quiet:
        _print_audited(audited)
    raise typer.Exit(int(audited.exit_code))


@app.command(epilog="Example: robreport check audit.toml\n\n" + EXIT_CODES)
def check(spec: SpecPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Validate AUDIT.TOML, load its models and data, and print the plan; measure nothing."""
    from robreport.audit import check_audit
    from robreport.terminal import Lines

    prepared, forecasts = check_audit(spec, overrides=overrides or (), observer=Lines(-1))
    if as_json:
        _print_json(_forecast_json(prepared, forecasts))
    else:
        _print_forecast(prepared, forecasts)
    unusable = bool(prepared.problems)
    failed = bool(prepared.plan.registry.failed)
    raise typer.Exit(
        int(ExitCode.UNUSABLE if unusable else ExitCode.FAILED if failed else ExitCode.OK)
    )


@app.command(epilog="Example: robreport render mnist-audit\n\n" + EXIT_CODES)
def render(
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A folder written by run.")],
    output: Annotated[
        Path | None, typer.Option(help="Another folder for the result; RUN_DIR when left out.")
    ] = None,
) -> None:
    """Make the documents of a finished audit anew, without its models, data or metrics."""
    from robreport.audit import render_run
    from robreport.terminal import Lines

    place = render_run(folder, output=output, observer=Lines(-1))
    for path in sorted(place.glob("report.*")):
        typer.echo(str(path))


@app.command(epilog="Examples: robreport metrics -- robreport metrics attacks.suite")
def metrics(
    identity: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One metric, with its parameters.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the metrics that can be declared, or explain one with its parameters."""
    from robreport.catalogue import describe, listing
    from robreport.plugins import Registry

    registry = Registry()
    if identity is None:
        rows = listing(registry)
        if as_json:
            _print_json(rows)
        else:
            _print_rows(("metric", "what it answers", "plugin"),
                        [(r["id"], r["question"], r["plugin"]) for r in rows])
        return
    if identity not in registry.metrics:
        message, hint = unknown_word("metric", identity, registry.metrics)
        raise UsageError(f"{message} {hint}".strip())
    description = describe(registry, identity)
    if as_json:
        _print_json(description)
    else:
        _print_metric(description)


@app.command(epilog="Example: robreport plugins")
def plugins(as_json: AsJson = False) -> None:
    """List the plugins that loaded and those that failed, with the reason."""
    from robreport.codec import plain
    from robreport.plugins import Registry

    records = Registry().records
    if as_json:
        _print_json(plain(records))
    else:
        rows = [
            (
                r.name,
                f"{r.distribution} {r.version}",
                f"failed: {r.error}" if r.error else _offers(r.offers, r.wrappers),
            )
            for r in records
        ]
        _print_rows(("plugin", "distribution", "offers"), rows)
    if any(record.error for record in records):
        raise typer.Exit(int(ExitCode.FAILED))


@cache_app.command("info")
def cache_info(as_json: AsJson = False) -> None:
    """Say where the cache is and what it holds."""
    from robreport.cache import Cache

    cache = Cache()
    info = cache.info()
    if as_json:
        _print_json({"root": str(cache.root), "kinds": info})
        return
    typer.echo(str(cache.root))
    _print_rows(("kind", "entries", "MB"),
                [(kind, str(v["entries"]), f"{v['bytes'] / 2**20:.1f}") for kind, v in info.items()])


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove everything that the cache holds; nothing else is touched."""
    from robreport.cache import Cache

    cache = Cache()
    cache.clear()
    typer.echo(f"{cache.root} is empty")


@app.command(epilog="Example: robreport explain small-sample")
def explain(
    code: Annotated[str | None, typer.Argument(metavar="[CAVEAT]", help="A caveat's code.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a caveat of a report: when it is raised, what it means, what to do."""
    from robreport.caveats import CAVEATS

    if code is None:
        if as_json:
            _print_json({name: caveat._asdict() for name, caveat in CAVEATS.items()})
        else:
            _print_rows(("caveat", "raised if"), [(n, c.raised_if) for n, c in CAVEATS.items()])
        return
    if code not in CAVEATS:
        message, hint = unknown_word("caveat", code, CAVEATS)
        raise UsageError(f"{message} {hint}".strip())
    caveat = CAVEATS[code]
    if as_json:
        _print_json(caveat._asdict())
    else:
        typer.echo(f"{code}\n\nRaised if: {caveat.raised_if}\n\n{caveat.explanation}\n\n"
                   f"What to do: {caveat.what_to_do}")


@app.command(epilog="Example: robreport init demo --example digits")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    example: Annotated[str, typer.Option(help="Which example to write: digits.")] = "digits",
) -> None:
    """Write a complete audit into DIR that runs as it is."""
    from robreport.scaffold import write_example

    spec = write_example(folder, example)
    typer.echo(f"{spec} is ready; next: robreport run {spec}")


def main() -> None:
    """Run the command line; every error of ours is one message and an exit code."""
    try:
        code = app(prog_name="robreport", standalone_mode=False)
    except RobreportError as error:
        _complain(str(error))
        code = error.exit_code
    except typer.TyperException as error:
        # the framework's own code for a usage error, 2, means "a metric failed" here
        error.show()
        code = ExitCode.UNUSABLE
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; finished measurements are in the cache")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # the reader has left, as with "| head"; nothing more can be said to it
        sys.stdout = None  # type: ignore[assignment]
        code = ExitCode.OK
    except Exception as error:  # a fault of ours must not read as "a requirement not met"
        import traceback

        traceback.print_exc()
        _complain(f"this is a fault of robreport: {type(error).__name__}: {error}")
        code = ExitCode.FAILED
    sys.exit(int(code or 0))


def _complain(text: str) -> None:
    typer.echo(f"robreport: {text}", err=True)


def _print_json(tree: Any) -> None:
    typer.echo(json.dumps(tree, ensure_ascii=False, indent=2))


def _print_rows(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table: bordered on a terminal, tab-free plain columns elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # a narrow pipe must not cut what a script reads
    width = None if sys.stdout.isatty() else max(120, *(sum(map(len, r)) + 12 for r in rows or [heads]))
    console = Console(width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(_escaped(cell) for cell in row))
    console.print(table)


def _escaped(cell: str) -> Any:
    from rich.text import Text

    from robreport.terminal import COLOURS, ICONS

    word = cell.partition(":")[0]
    if word in ICONS:
        return Text(f"{ICONS[word]} {cell}", style=COLOURS[word])
    return Text(cell)


def _print_audited(audited: Audited) -> None:
    from robreport.terminal import shown_observation

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
        _print_rows(("measurement", "requirement", "observed", "status"), rows)
    typer.echo(f"{verdict.headline}. {verdict.sentence}")
    for name in audited.files:
        if name.startswith("report."):
            typer.echo(str(audited.place / name))
    typer.echo(f"record: {audited.place / 'audit.json'}")


def _audited_json(audited: Audited) -> dict[str, Any]:
    from robreport.codec import plain

    return {
        "place": str(audited.place),
        "files": list(audited.files),
        "exit_code": int(audited.exit_code),
        "verdict": plain(audited.run.verdict),
        "coverage": audited.run.coverage,
        "requirements": plain(audited.run.requirements),
    }


def _forecast_json(prepared: Prepared, forecasts: list[Forecast]) -> dict[str, Any]:
    from robreport.codec import plain

    return {
        "models": plain(tuple(prepared.models.values())),
        "data": plain(tuple(prepared.splits.values())),
        "problems": prepared.problems,
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


def _print_forecast(prepared: Prepared, forecasts: list[Forecast]) -> None:
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
        _print_rows(("model", "what", "digest", "offers"), models)
    if splits:
        _print_rows(("data", "n", "shape", "digest", "source"), splits)
    words = {"run": "info: will run", "cached": "pass: is in the cache", "skip": "not-run",
             "input": "error"}  # fmt: skip
    rows = []
    for f in forecasts:
        time = "" if f.seconds is None else f"about {f.seconds:.0f} s" if f.seconds >= 1 else "< 1 s"
        status = f"{words[f.action]}: {f.reason}" if f.reason else words[f.action]
        rows.append((f.unit.key, f.unit.metric.id, status, time or "not known yet"))
    _print_rows(("measurement", "metric", "plan", "time"), rows)
    for problem in prepared.problems:
        _complain(problem)


def _offers(offers: Any, wrappers: tuple[str, ...]) -> str:
    parts = [f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in offers.items()]
    if wrappers:
        parts.append(f"wraps {', '.join(wrappers)}: it can change any result")
    return "; ".join(parts) or "nothing by name"


def _print_metric(description: dict[str, Any]) -> None:
    from robreport.catalogue import wrapped

    typer.echo(wrapped(description))
    if description["params"]:
        _print_rows(
            ("parameter", "type", "default", "meaning"),
            [(p["name"], p["type"], p["default"], p["description"]) for p in description["params"]],
        )
    if description["scalars"]:
        _print_rows(("scalar", "what it is"), list(description["scalars"].items()))
