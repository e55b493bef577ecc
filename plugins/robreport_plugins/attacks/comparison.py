"""``attacks.compare``: robust accuracy of all models in one chart for each threat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from robreport import (
    Comparison,
    Computed,
    Context,
    Outcome,
    Params,
    Result,
    SkipMetric,
    parse_number,
)

if TYPE_CHECKING:
    from robreport_plugins.attacks.pairs import Line


class AttackComparison(Comparison):
    """The models of an audit side by side under the same attacks."""

    id = "attacks.compare"
    title = "Accuracy under attack, models compared"
    question = "Which model keeps more of its accuracy under the same attacks?"
    summary = (
        "Takes the results of `attacks.suite` for all models, draws them in one chart for each "
        "threat with the same axes, and compares every two models on the very same inputs with "
        "McNemar's exact test, adjusted by Holm for the number of pairs and radii."
    )
    reading = (
        "Where bands overlap, look at the table of pairs: it compares input by input and sees "
        "differences that two separate intervals do not."
    )
    limits = (
        "Each line is an upper bound of its own model's robust accuracy. A model may look better "
        "because the attacks suit it less; see the checks of each result."
    )
    references = ("McNemar, Psychometrika 12, 1947", "Holm, Scand. J. Statistics 6, 1979")
    knowledge = "results"
    consumes = frozenset({"attacks.suite"})
    scalar_help: ClassVar[dict[str, str]] = {}

    def compare(self, outcomes: Sequence[Outcome], params: Params, ctx: Context) -> Result:
        """Put the computed results beside each other; the others are listed with their reason."""
        computed = [o for o in outcomes if isinstance(o, Computed)]
        if not computed:
            raise SkipMetric("attacks.suite was computed for no model, so there is none to compare")
        from robreport_plugins.attacks.pairs import compare_lines

        lines = [line for outcome in computed for line in _lines(outcome)]
        missing = [(_who(o), _why(o)) for o in outcomes if not isinstance(o, Computed)]
        return compare_lines(lines, missing)


def _lines(outcome: Computed) -> list[Line]:
    """Return the lines of one model's result, one for each threat, read from its table."""
    from robreport_plugins.attacks.pairs import Line
    from robreport_plugins.attacks.summary import keys

    table = outcome.result.tables["worst_case"]
    place = {column.key: i for i, column in enumerate(table.columns)}
    grouped: dict[str, list[Any]] = {}
    for row in table.rows:
        grouped.setdefault(str(row[place["threat"]]), []).append(row)
    ids = keys(grouped)
    found = []
    for threat, rows in grouped.items():
        found.append(
            Line(
                entry=outcome.about.name,
                model=_who(outcome),
                threat=threat,
                symbol=str(rows[0][place["norm"]]),
                eps=tuple(str(row[place["eps"]]) for row in rows),
                values=tuple(parse_number(str(row[place["eps"]])) for row in rows),
                clean=rows[0][place["clean"]],
                robust=tuple(row[place["robust"]] for row in rows),
                n=int(rows[0][place["n"]]),
                index=outcome.result.arrays.get("index"),
                broken_eps=outcome.result.arrays.get(f"broken_eps.{ids[threat]}"),
            )
        )
    return found


def _who(outcome: Outcome) -> str:
    return outcome.about.model or outcome.about.name


def _why(outcome: Outcome) -> str:
    return getattr(outcome, "reason", "") or getattr(outcome, "error", "")
