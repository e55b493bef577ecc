"""Write a drafted audit into a folder, and say in a line each what was found and guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robreport.drafting.draft import Draft, make_draft
from robreport.drafting.survey import Survey, survey
from robreport.drafting.text import SCHEMA_FILE, draft_text
from robreport.errors import OutputError
from robreport.plugins import Registry
from robreport.schema import write_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A draft that was written.

    Attributes
    ----------
    spec : Path
        Its audit.toml.
    found : tuple of str
        What was found and guessed, a line each.
    missing : tuple of str
        What only the author can fill in before it runs, a line each.
    problems : tuple of str
        Why a model or split could not be used.
    """

    spec: Path
    found: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def write_draft(
    folder: Path,
    *,
    models: Sequence[Path],
    data: Path | None = None,
    train: Path | None = None,
    test: Path | None = None,
    label: str = "",
    trusted: bool = False,
    copy: bool = False,
) -> Drafted:
    """Write audit.toml and its schema into `folder`.

    Raises
    ------
    RobreportError
        A file is missing, damaged or of no kind that is known; or the folder cannot be written.
    """
    registry = Registry()
    draft = make_draft(
        registry, folder, models=models, data=data, train=train, test=test, label=label,
        trusted=trusted, copy=copy,
    )  # fmt: skip
    seen = survey(draft, registry)
    spec = folder / "audit.toml"
    try:
        # "x": what somebody put there in the meantime stays
        with spec.open("x", encoding="utf-8", newline="\n") as file:
            file.write(draft_text(draft, seen, registry))
    except OSError as error:
        raise OutputError(f"{spec} cannot be written: {error.strerror or error}.") from None
    write_schema(registry, folder / SCHEMA_FILE)
    return Drafted(
        spec=spec,
        found=tuple(_found(draft, seen)),
        missing=tuple(
            f"{model.name}: {key}: {words}"
            for model in draft.models
            for key, words in model.guess.missing.items()
        ),
        problems=seen.problems,
    )


def _found(draft: Draft, seen: Survey) -> list[str]:
    lines = []
    for model in draft.models:
        loaded = seen.kinds.get(model.name)
        lines.append(f"model {model.name}: {loaded or model.guess.kind} (loader {model.loader})")
        lines += [f"model {model.name}: {note}" for note in model.guess.notes]
    lines += [f"data {kind} (loader {draft.data.loader})" for kind in draft.data.kinds]
    lines += [f"data: {note}" for note in draft.data.notes]
    sizes = ", ".join(f"{role} {n:,}" for role, n in seen.sizes.items())
    lines.append(f"task: {draft.data.task}{f'; rows: {sizes}' if sizes else ''}")
    if seen.runs:
        lines.append(f"metrics: {', '.join(seen.runs)}")
    lines += [f"left out: {identity} {reason}" for identity, reason in sorted(seen.skips.items())]
    return lines
