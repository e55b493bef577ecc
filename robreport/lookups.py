"""The commands that say what there is: metrics, plugins, caveats, the schema, the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robreport import completion
from robreport.errors import ExitCode, UsageError, unknown_word

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
cache_app = typer.Typer(
    help="Look at the cache of finished measurements, or empty it.", no_args_is_help=True
)


def metrics(
    identity: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="One metric, with its parameters.",
            autocompletion=completion.metric_ids,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the metrics that can be declared, or explain one with its parameters."""
    from robreport import console
    from robreport.catalogue import describe, listing
    from robreport.plugins import Registry

    registry = Registry()
    if identity is None:
        rows = listing(registry)
        if as_json:
            console.print_json(rows)
        else:
            console.print_rows(
                ("metric", "what it answers", "plugin"),
                [(r["id"], r["question"], r["plugin"]) for r in rows],
            )
        return
    if identity not in registry.metrics:
        message, hint = unknown_word("metric", identity, registry.metrics)
        raise UsageError(f"{message} {hint}".strip())
    description = describe(registry, identity)
    if as_json:
        console.print_json(description)
    else:
        console.print_metric(description)


def plugins(as_json: AsJson = False) -> None:
    """List the plugins that loaded and those that failed, with the reason."""
    from robreport import console
    from robreport.codec import plain
    from robreport.plugins import Registry

    records = Registry().records
    if as_json:
        console.print_json(plain(records))
    else:
        rows = [
            (
                r.name,
                f"{r.distribution} {r.version}",
                f"failed: {r.error}" if r.error else console.offers(r.offers, r.wrappers),
            )
            for r in records
        ]
        console.print_rows(("plugin", "distribution", "offers"), rows)
    if any(record.error for record in records):
        raise typer.Exit(int(ExitCode.FAILED))


@cache_app.command("info")
def cache_info(as_json: AsJson = False) -> None:
    """Say where the cache is and what it holds."""
    from robreport import console
    from robreport.cache import Cache

    cache = Cache()
    info = cache.info()
    if as_json:
        console.print_json({"root": str(cache.root), "kinds": info})
        return
    typer.echo(str(cache.root))
    console.print_rows(
        ("kind", "entries", "MB"),
        [(kind, str(v["entries"]), f"{v['bytes'] / 2**20:.1f}") for kind, v in info.items()],
    )


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove everything that the cache holds; nothing else is touched."""
    from robreport.cache import Cache

    cache = Cache()
    removed = cache.clear()
    left = sum(kind["entries"] for kind in cache.info().values())
    kept = f"; {left} in use by a running audit were kept" if left else ""
    typer.echo(f"{removed} entries removed from {cache.root}{kept}")


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="[CAVEAT]", help="A caveat's code.", autocompletion=completion.caveat_codes
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a caveat of a report: when it is raised, what it means, what to do."""
    from robreport import console
    from robreport.caveats import CAVEATS

    if code is None:
        if as_json:
            console.print_json({name: caveat._asdict() for name, caveat in CAVEATS.items()})
        else:
            console.print_rows(
                ("caveat", "raised if"), [(n, c.raised_if) for n, c in CAVEATS.items()]
            )
        return
    if code not in CAVEATS:
        message, hint = unknown_word("caveat", code, CAVEATS)
        raise UsageError(f"{message} {hint}".strip())
    caveat = CAVEATS[code]
    if as_json:
        console.print_json(caveat._asdict())
    else:
        typer.echo(
            f"{code}\n\nRaised if: {caveat.raised_if}\n\n{caveat.explanation}\n\n"
            f"What to do: {caveat.what_to_do}"
        )


def schema(
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
) -> None:
    """Print the JSON Schema of audit.toml, with which editors complete and check it."""
    from robreport.plugins import Registry
    from robreport.schema import schema_text, write_schema

    registry = Registry()
    if output is None:
        typer.echo(schema_text(registry), nl=False)
    else:
        write_schema(registry, output)
        typer.echo(f"{output} is written; next: begin the audit file with #:schema ./{output.name}")
    for record in registry.failed:
        typer.echo(
            f"robreport: plugin {record.name} was not loaded, so the schema lacks it: "
            f"{record.error}",
            err=True,
        )
