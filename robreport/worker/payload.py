"""Read what every job is told of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robreport.bundle import DataSchema, Split
from robreport.codec import adapter
from robreport.inputs import schema_from_json
from robreport.kept import open_split
from robreport.outcome import SplitFacts

Tell = Callable[[int, int, str], None]
"""What a job reports its progress to: (done, total, what)."""


def schema_of(payload: Mapping[str, Any]) -> DataSchema | None:
    """Return the schema of the audit's data; None where there is none."""
    tree = payload["data_schema"]
    return None if tree is None else schema_from_json(tree)


def splits_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Split]:
    """Return the kept splits by role."""
    return {split.role: split for split in map(split_of, rows)}


def split_of(row: Mapping[str, Any]) -> Split:
    """Return a kept split, as `Prepared.split_row` names it."""
    facts = adapter(SplitFacts).validate_python(row["facts"])
    return open_split(facts, Path(row["folder"]))
