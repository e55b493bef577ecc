"""The columns that threats name, held against the columns that the data have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from robreport.bundle import DataSchema
from robreport.errors import Problem, near_misses, printable
from robreport.spec import ThreatEntry

_SHOWN = 8


def column_problems(threats: Mapping[str, ThreatEntry], schema: DataSchema) -> list[Problem]:
    """Return what is wrong with the columns of the threats: each that the data lack, for one."""
    found = []
    for name, threat in threats.items():
        grouped = (column for group in threat.one_hot for column in group)
        for key, columns in (
            ("frozen", threat.frozen), ("increase", threat.increase),
            ("decrease", threat.decrease), ("integer", threat.integer), ("one_hot", grouped),
        ):  # fmt: skip
            where = f"threats.{name}.{key}"
            for column in columns:
                if column not in schema.features:
                    found.append(_lacking(where, column, schema.features))
                elif key in ("increase", "decrease") and column in schema.categories:
                    found.append(Problem(
                        where, f"names {column!r}, whose categories have no order.",
                        "Name it under frozen if it is to stay.",
                    ))  # fmt: skip
    return found


def _lacking(where: str, column: str, known: Iterable[str]) -> Problem:
    names = list(known)
    if not names:
        return Problem(where, f"names {printable(column)!r}, but the data have no named columns.")
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    close = near_misses(column, names)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return Problem(
        where, f"names {printable(column)!r}, which is no column; they are {shown}.", hint
    )
