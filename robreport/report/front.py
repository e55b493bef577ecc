"""The front part: cover and one-page summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robreport.document import (
    Block,
    Card,
    Chip,
    FindingItem,
    FindingList,
    Heading,
    Link,
    Note,
    Prose,
    ScalarGrid,
    Section,
    TableBlock,
)
from robreport.outcome import AuditRun, Computed, Failed, Requirement, SplitFacts, Status
from robreport.report import numbers, wording
from robreport.report.entries import Anchors, Entry
from robreport.report.measured import quantity_of
from robreport.report.requirements import limit_of, observed
from robreport.result import Column, Scalar

FEW_CARDS = 4
MOST_COVER_MODELS = 6


def subtitle(run: AuditRun) -> str:
    """Return the line under the title: the audit's own, else what was compared."""
    own = str(run.audit.get("subtitle") or "")
    if own:
        return own
    models = len(run.models)
    what = wording.count(len({o.about.name for o in run.outcomes}), "measurement")
    if models == 0:
        return f"A study of the data in {what}"
    if models == 1:
        return f"The model {run.models[0].name} in {what}"
    return f"{wording.spelled(models).capitalize()} models compared in {what}"


def cover(run: AuditRun, version: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of the cover."""
    audit = run.audit
    pairs = []
    if run.models:
        shown = [_model_words(m) for m in run.models[:MOST_COVER_MODELS]]
        if len(run.models) > MOST_COVER_MODELS:
            shown.append(f"and {len(run.models) - MOST_COVER_MODELS} more")
        pairs.append(("Model" if len(run.models) == 1 else "Models", " · ".join(shown)))
    if run.data:
        pairs.append(("Data", " · ".join(_split_words(s) for s in run.data)))
    when = numbers.moment(str(run.execution.get("finished") or ""))
    parts = [
        when,
        f"id {audit.get('id')}" if audit.get("id") else "",
        f"seed {audit.get('seed', 0)}",
    ]
    pairs.append(("Audit", " · ".join(part for part in parts if part)))
    if audit.get("prepared_by"):
        pairs.append(("Prepared by", str(audit["prepared_by"])))
    state = [str(audit.get("status") or "")]
    if audit.get("distribution"):
        state.append(f"distribution: {audit['distribution']}")
    if any(state):
        pairs.append(("Status", " · ".join(part for part in state if part)))
    ran = wording.count(len({o.about.metric for o in run.outcomes}), "metric")
    plugins = sum(not p.get("error") for p in run.plugins)
    pairs.append(("Tool", f"robreport {version}, {ran} from {wording.count(plugins, 'plugin')}"))
    pairs.append(
        ("Record", "attached to the PDF, embedded in the HTML; `robreport render` makes both anew")
    )
    return tuple(pairs)


def _model_words(model: Any) -> str:
    version = f" {model.version}" if model.version else ""
    digest = f" `{numbers.short_digest(model.digest)}`" if model.digest else ""
    return f"{model.name}{version}{digest}"


def _split_words(split: SplitFacts) -> str:
    if split.problem:
        return f"{split.role} (not usable)"
    return f"{split.role} {numbers.integer(split.n)} `{numbers.short_digest(split.digest)}`"


class SummaryWriter:
    """Writes the page that most readers read."""

    def __init__(
        self,
        run: AuditRun,
        entries: Sequence[Entry],
        anchors: Anchors,
        threats: wording.Threats,
    ) -> None:
        self.run, self.entries, self.anchors, self.threats = run, entries, anchors, threats

    def section(self, findings: Sequence[FindingItem]) -> Section:
        """Return the summary: verdict, cards, three worst findings, limits, coverage."""
        shown, rest = self.cards()
        blocks: list[Block] = [Prose(text=self.run.verdict.sentence, lead=True)]
        if shown:
            blocks.append(ScalarGrid(cards=tuple(shown)))
        if rest:
            blocks.append(Prose(text=rest, links=(Link(anchor=self.anchors.of("requirements")),)))
        blocks.append(Heading(text="What needs attention"))
        if findings:
            blocks.append(FindingList(items=tuple(findings[:3]), short=True))
            if len(findings) > 3:
                blocks.append(
                    Prose(
                        text=f"{wording.count(len(findings) - 3, 'further finding')} in",
                        links=(Link(anchor=self.anchors.of("findings")),),
                    )
                )
        else:
            blocks.append(Prose(text="No measurement raised a finding."))
        blocks.append(Heading(text="What this does not show"))
        blocks.append(
            Prose(
                text=f"{self.not_shown()} More in",
                links=(Link(anchor=self.anchors.of("limitations")),),
            )
        )
        blocks.append(Heading(text="Coverage"))
        blocks.append(self.coverage_by_area())
        return Section(
            id=self.anchors.of("summary"),
            title="Summary",
            blocks=tuple(blocks),
            order=10,
            chips=(Chip(status=self.run.verdict.status, words=self.run.verdict.headline),),
        )

    def cards(self) -> tuple[list[Card], str]:
        """Return four cards, requirements first and worst first, and what is left out."""
        by_name = {entry.name: entry for entry in self.entries}
        ordered = sorted(self.run.requirements, key=wording.weight)
        room = FEW_CARDS
        cards = [self._requirement_card(by_name[r.name], r) for r in ordered[:room]]
        left = ordered[room:]
        if len(cards) < FEW_CARDS:
            cards += self._plain_cards(FEW_CARDS - len(cards))
        if not left:
            return cards, ""
        noun = wording.count(len(left), "further requirement")
        return cards, f"{noun} ({wording.counts(r.status for r in left)}) in"

    def _requirement_card(self, entry: Entry, r: Requirement) -> Card:
        scalar = next(
            (o.result.scalars[r.scalar] for o in entry.computed
             if o.about.model == r.model and r.scalar in o.result.scalars),
            None,
        )  # fmt: skip
        return Card(
            title=wording.scalar_label(r.scalar, scalar, self.threats),
            subtitle=r.model or "",
            value=quantity_of(scalar) if scalar is not None else observed(r),
            status=r.status,
            limit=limit_of(r, entry),
            note=_card_note(r),
            link=self.anchors.of("result", entry.name),
        )

    def _plain_cards(self, room: int) -> list[Card]:
        """The first scalar of each measurement without a requirement, model by model."""
        cards: list[Card] = []
        taken: set[tuple[str, str | None]] = {(r.name, r.model) for r in self.run.requirements}
        rounds = max((len(entry.computed) for entry in self.entries), default=0)
        for turn in range(rounds):
            for entry in self.entries:
                if turn >= len(entry.computed) or len(cards) >= room:
                    continue
                outcome = entry.computed[turn]
                if (entry.name, outcome.about.model) in taken:
                    continue
                main = self._main_scalar(outcome)
                if main is not None:
                    name, scalar = main
                    cards.append(
                        Card(
                            title=wording.scalar_label(name, scalar, self.threats),
                            subtitle=outcome.about.model or "",
                            value=quantity_of(scalar),
                            status=Status.INFO,
                            link=self.anchors.of("result", entry.name),
                        )
                    )
        return cards

    def _main_scalar(self, outcome: Computed) -> tuple[str, Scalar] | None:
        return next(iter(outcome.result.scalars.items()), None)

    def not_shown(self) -> str:
        """Return one sentence on what the audit leaves open."""
        parts = []
        used = {name for e in self.entries for o in e.computed for name in o.about.threats}
        budgets = [_threat_words(name, t) for name, t in self.threats.items() if name in used]
        if budgets:
            parts.append(f"attackers beyond the declared threats ({wording.listed(budgets)})")
        else:
            lacking = "no attack has a result" if self.threats else "no threat was declared"
            # a measurement may have budgets of its own among its parameters
            parts.append(f"attackers, except where a measurement names its own, for {lacking}")
        parts.append("inputs unlike the data used here")
        out = str(self.run.audit.get("out_of_scope") or "").strip().rstrip(".")
        text = f"This audit says nothing about {wording.listed(parts, 'or')}"
        if out:
            text += f"; declared out of scope: {out}"
        lost = self.run.coverage["declared"] - self.run.coverage["ran"]
        if lost:
            text += f"; {lost} of {self.run.coverage['declared']} measurements have no result"
        return f"{text}."

    def coverage_by_area(self) -> TableBlock:
        """Return how much of what was declared ran, family by family, with the reasons."""
        areas: dict[str, list[Any]] = {}
        for outcome in self.run.outcomes:
            areas.setdefault(wording.area(outcome.about.metric), []).append(outcome)
        rows = []
        for area, outcomes in areas.items():
            ran = sum(isinstance(o, Computed) for o in outcomes)
            rows.append((area, len(outcomes), ran, len(outcomes) - ran, _reasons(outcomes)))
        return TableBlock(
            columns=(
                Column(key="area", title="Area"),
                Column(key="declared", title="declared", kind="integer"),
                Column(key="ran", title="ran", kind="integer"),
                Column(key="lost", title="not run", kind="integer"),
                Column(key="why", title="why"),
            ),
            rows=tuple(rows),
        )


def _card_note(r: Requirement) -> str:
    plain = ("met by the whole interval", "missed by the whole interval")
    return "" if r.words in plain or r.words == r.status.value else r.words


def _reasons(outcomes: Sequence[Any]) -> Any:
    lost = [o for o in outcomes if not isinstance(o, Computed)]
    cells: list[Any] = []
    seen: set[str] = set()
    for outcome in lost:
        reason = wording.why(outcome)
        if reason not in seen and len(seen) < 2:
            status = Status.ERROR if isinstance(outcome, Failed) else Status.NOT_RUN
            name = f"{outcome.about.name}: " if len(lost) > 1 else ""
            cells.append(Chip(status=status, text=f"{name}{_clipped(reason)}"))
        seen.add(reason)
    if len(seen) > 2:
        cells.append(Note(text=f"and {wording.count(len(seen) - 2, 'other reason')}"))
    return tuple(cells)


def _clipped(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _threat_words(name: str, threat: Any) -> str:
    symbol = wording.threat_symbol(name, {name: threat})
    budgets = threat.get("eps") or ()
    largest = str(list(budgets)[-1]) if budgets else ""
    return f"{symbol} up to ε = {largest}" if largest else symbol
