"""What a shell offers when Tab is pressed: names that only the plugins, a spec or folders know."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from robreport.errors import OutputError, UsageError

VARIABLE = "_ROBREPORT_COMPLETE"
_MOST_BYTES = 4_000_000
_MOST_FOLDERS = 2000
_DEPTH = 2

Offer = str | tuple[str, str]


class Completed(TyperGroup):
    """The root command; leaves with our exit codes after ``--install-completion``."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        try:
            return super().make_context(info_name, args, *rest, **extra)
        except SystemExit as left:
            if isinstance(left.__context__, BrokenPipeError):
                raise
            # the framework's completion options leave so, and nothing has run yet
            if left.code:
                raise UsageError(_NO_SHELL) from None
            raise typer.Exit(0) from None
        except typer.Exit as left:
            if left.exit_code:
                raise UsageError(_NO_SHELL) from None
            raise
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"completion was not installed: {error.filename or 'its file'} cannot be written "
                f"({error.strerror or error}); --show-completion prints what belongs there."
            ) from None


_NO_SHELL = (
    "completion is offered for bash, zsh, fish and PowerShell, and this shell was not recognised; "
    f"{VARIABLE}=source_bash robreport prints what bash needs (source_zsh, source_fish for the "
    "others)."
)


def wanted() -> bool:
    """Whether a shell asks for completions, rather than somebody for a command."""
    return VARIABLE in os.environ


def metric_ids(incomplete: str) -> list[Offer]:
    """Return the metrics that begin so, each with its question."""
    from robreport.catalogue import listing
    from robreport.plugins import Registry

    rows = listing(Registry())
    return [(r["id"], r["question"]) for r in rows if r["id"].startswith(incomplete)]


def caveat_codes(incomplete: str) -> list[Offer]:
    """Return the caveats that begin so, each with when it is raised."""
    from robreport.caveats import CAVEATS

    return [(code, c.raised_if) for code, c in CAVEATS.items() if code.startswith(incomplete)]


def entry_names(incomplete: str) -> list[Offer]:
    """Return the metric entries of the audit file given earlier on the line, but those given."""
    words = _words()
    taken = {word for option, word in itertools.pairwise(words) if option == "--only"}
    return [
        name
        for name in _entries(words)
        if name.startswith(incomplete) and (name == incomplete or name not in taken)
    ]


def examples(incomplete: str) -> list[Offer]:
    """Return the examples that begin so."""
    from robreport.scaffold import examples as known

    return [name for name in sorted(known()) if name.startswith(incomplete)]


def run_folders(incomplete: str) -> list[Offer]:
    """Return the run folders at or below what is typed, nearest first; at most two levels down."""
    head, _, begun = incomplete.rpartition("/")
    shown = f"{head}/" if "/" in incomplete else ""
    root = Path(os.path.expandvars(shown or ".")).expanduser()
    found = [
        f"{shown}{folder.relative_to(root).as_posix()}"
        for folder in itertools.islice(_folders(root, begun, _DEPTH), _MOST_FOLDERS)
        if (folder / "audit.json").is_file() and (folder / "manifest.json").is_file()
    ]
    return [*sorted(found, key=lambda name: (name.count("/"), name))]


def _words() -> list[str]:
    """Return the words on the line before the one being typed, as the shell's script hands them on.

    Not from the parsed context: the framework's parser gives the line up at an option whose value
    is still missing, which is just where this is asked.
    """
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        return shlex.split(line)
    except ValueError:  # a quotation that is still open
        return line.split()


def _entries(words: list[str]) -> list[str]:
    """Return the names (or ids) of the entries of the first file among the words."""
    for word in words[2:]:
        path = Path(os.path.expandvars(word)).expanduser()
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                tree = tomllib.loads(file.read(_MOST_BYTES).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError, RuntimeError):
            continue
        entries = tree.get("metrics")
        found = entries if isinstance(entries, list) else []
        names = (e.get("name", e.get("id")) for e in found if isinstance(e, dict))
        return list(dict.fromkeys(name for name in names if isinstance(name, str)))
    return []


def _folders(root: Path, begun: str, depth: int) -> Iterator[Path]:
    """Yield the folders below `root` that begin so, and those inside them; no link is followed."""
    try:
        with os.scandir(root) as entries:
            here = sorted(
                entry.name
                for entry in entries
                if entry.name.startswith(begun)
                and entry.name.startswith(".") == begun.startswith(".")
                and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return
    for name in here:
        yield root / name
    if depth > 1:
        for name in here:
            yield from _folders(root / name, "", depth - 1)


def answer(app: typer.Typer) -> None:
    """Answer the shell and leave; what goes wrong is kept out of the line being typed."""
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    app(prog_name="robreport")
