"""The command line: thin, and quick to start."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from robreport import __version__, completion, lookups
from robreport.errors import ExitCode, RobreportError, UsageError
from robreport.lookups import AsJson

EXIT_CODES = (
    "Exit codes: 0 every requirement met; 1 a requirement not met (failed or inconclusive); "
    "2 a metric or plugin failed; 3 usage, spec, model or data could not be used; 130 interrupted."
)


class _Commands(completion.Completed):
    """Leaves with our exit codes where the framework would leave with its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain(
                "interrupted; measurements that had finished are in the cache, unless --no-cache "
                "was given"
            )
            raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
        except BrokenPipeError:
            # the reader has left, as with "| head"; nothing more can be said to it
            sys.stdout = None
            raise typer.Exit(int(ExitCode.OK)) from None


app = typer.Typer(
    name="robreport",
    cls=_Commands,
    help="Audit a model's robustness and privacy, and write a report that a reviewer can check."
    "\n\nFirst steps: [bold]robreport init DIR --example digits[/], then "
    "[bold]robreport run DIR/audit.toml[/].\n\n" + EXIT_CODES,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(lookups.cache_app, name="cache")

SpecPath = Annotated[Path, typer.Argument(metavar="AUDIT.TOML", help="The audit to run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE",
                 help="Override a key, as in --set metrics.pgd.params.steps=100; repeatable."),
]  # fmt: skip


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
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Run only this entry; repeatable.",
            autocompletion=completion.entry_names,
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Measure everything anew and keep nothing.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what AUDIT.TOML declares and write HTML, PDF and the record behind both."""
    from robreport import console
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
    try:
        if as_json:
            console.print_json(console.audited_json(audited))
        elif not quiet:
            console.print_audited(audited)
    except BrokenPipeError:
        # the verdict does not depend on who reads it
        sys.stdout = None
    raise typer.Exit(int(audited.exit_code))


@app.command(epilog="Example: robreport check audit.toml\n\n" + EXIT_CODES)
def check(spec: SpecPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Validate AUDIT.TOML, load its models and data, and print the plan; measure nothing."""
    from robreport import console
    from robreport.audit import check_audit
    from robreport.terminal import Lines

    prepared, forecasts = check_audit(spec, overrides=overrides or (), observer=Lines(-1))
    if as_json:
        console.print_json(console.forecast_json(prepared, forecasts))
    else:
        console.print_forecast(prepared, forecasts)
    unusable = bool(prepared.problems)
    failed = bool(prepared.plan.registry.failed)
    raise typer.Exit(
        int(ExitCode.UNUSABLE if unusable else ExitCode.FAILED if failed else ExitCode.OK)
    )


@app.command(epilog="Example: robreport render mnist-audit\n\n" + EXIT_CODES)
def render(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            help="A folder written by run.",
            autocompletion=completion.run_folders,
        ),
    ],
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


for command, example in (
    (lookups.metrics, "Examples: robreport metrics -- robreport metrics attacks.suite"),
    (lookups.plugins, "Example: robreport plugins"),
    (lookups.explain, "Example: robreport explain small-sample"),
    (lookups.schema, "Examples: robreport schema -- robreport schema --output audit.schema.json"),
):
    app.command(epilog=example)(command)


@app.command(epilog="Examples: robreport init demo --example digits -- "
             "robreport init audit --from model.onnx --data table.csv --label income")  # fmt: skip
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where audit.toml is written.")],
    example: Annotated[
        str | None,
        typer.Option(help="Write this example: digits.", autocompletion=completion.examples),
    ] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="MODEL", help="A model to audit; repeatable."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The data; divided if it is one table.")
    ] = None,
    train: Annotated[Path | None, typer.Option(metavar="FILE", help="The training data.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="The test data.")] = None,
    label: Annotated[
        str, typer.Option(metavar="NAME", help="The label's column or array; guessed otherwise.")
    ] = "",
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Allow files that can run code, such as pickles.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files into DIR instead of pointing at them.")
    ] = False,
) -> None:
    """Write an audit into DIR: of your models and data, or a complete example."""
    given = (models, data, train, test, label or None, trusted or None, copy or None)
    if any(word is not None for word in given):
        if example is not None:
            raise UsageError("--example comes with its own models and data; leave out the rest.")
        _draft(folder, models or [], data, train, test, label, trusted, copy)
        return
    from robreport.scaffold import write_example

    spec = write_example(folder, example or "digits")
    typer.echo(f"{spec} is ready; next: robreport run {spec}")


def _draft(
    folder: Path, models: list[Path], data: Path | None, train: Path | None, test: Path | None,
    label: str, trusted: bool, copy: bool,
) -> None:  # fmt: skip
    """Draft an audit, check it, and say what was found."""
    if not models:
        raise UsageError("say which model to audit: --from MODEL (repeatable).")
    from robreport import console
    from robreport.audit import check_audit
    from robreport.drafting import write_draft
    from robreport.terminal import Lines

    drafted = write_draft(
        folder, models=models, data=data, train=train, test=test, label=label, trusted=trusted,
        copy=copy,
    )  # fmt: skip
    console.print_drafted(drafted)
    if drafted.missing:
        raise typer.Exit(int(ExitCode.UNUSABLE))
    prepared, forecasts = check_audit(drafted.spec, observer=Lines(-1))
    console.print_forecast(prepared, forecasts)
    if prepared.problems:
        typer.echo(f"{drafted.spec} is written, and does not run yet; mend what is said above")
        raise typer.Exit(int(ExitCode.UNUSABLE))
    typer.echo(f"{drafted.spec} is ready; next: robreport run {drafted.spec}")


def main() -> None:
    """Run the command line; every error of ours is one message and an exit code."""
    if completion.wanted():
        completion.answer(app)
    # nearly everything that a run makes is in use until its end: looked through less often
    gc.set_threshold(50_000, 20, 50)
    _start_ahead(sys.argv[1:])
    try:
        code = app(prog_name="robreport", standalone_mode=False)
    except RobreportError as error:
        _complain(str(error))
        code = error.exit_code
    except typer.TyperException as error:
        # the framework's own code for a usage error, 2, means "a metric failed" here
        error.show()  # type: ignore[attr-defined]
        code = ExitCode.UNUSABLE
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a fault of ours must not read as "a requirement not met"
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
            code = 0  # the framework's own help, which nobody reads to its end
        else:
            import traceback

            traceback.print_exc()
            _complain(f"this is a fault of robreport: {type(error).__name__}: {error}")
            code = ExitCode.FAILED
    _let_readers_go()
    sys.exit(int(code or 0))


def _let_readers_go() -> None:
    """Have what nobody reads any more go nowhere: Python would exit with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except ValueError:
            pass  # it is closed


def _start_ahead(arguments: Sequence[str]) -> None:
    """Start what makes the PDF of a run: its libraries take longer to load than an audit's."""
    files = [Path(one) for one in arguments if not one.startswith("-")]
    if files and files[0] == Path("run") and any(_asks_for_pdf(file) for file in files[1:]):
        from robreport.report import pdf_process

        pdf_process.start()


def _asks_for_pdf(spec: Path) -> bool:
    """Whether an audit file seems to ask for a PDF; what is wrong with it is said later."""
    import tomllib

    try:
        report = tomllib.loads(spec.read_text(encoding="utf-8")).get("report", {})
        return "pdf" in report.get("formats", ("pdf",))
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _complain(text: str) -> None:
    typer.echo(f"robreport: {text}", err=True)
