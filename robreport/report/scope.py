"""The scope part: models, data, threats, and what became of every declared measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robreport.document import Block, Chip, KeyValues, Link, Note, Prose, Section, TableBlock
from robreport.outcome import AuditRun, Failed, Skipped, Status
from robreport.report import numbers, wording
from robreport.report.data_card import card_blocks
from robreport.report.entries import Anchors, Entry
from robreport.result import Column

MODELS_PER_MATRIX = 5


def scope_section(
    run: AuditRun, entries: Sequence[Entry], anchors: Anchors, threats: wording.Threats
) -> Section:
    """Return what was audited, against whom, and what became of every declared measurement."""
    blocks: list[Block] = []
    if run.audit.get("purpose"):
        blocks.append(Prose(text=wording.sentence(str(run.audit["purpose"])), lead=True))
    if run.models:
        blocks.append(_models_table(run, anchors))
    if run.data:
        blocks.append(_data_table(run, anchors))
        blocks += card_blocks(run, anchors)
    facts = _schema_pairs(run)
    if facts:
        blocks.append(KeyValues(pairs=facts))
    if threats:
        blocks.append(_threats_table(threats, anchors))
    else:
        blocks.append(Prose(text="No threat model was declared: nothing was perturbed on purpose."))
    blocks.append(
        KeyValues(
            title="In scope and out of scope",
            pairs=(
                ("In", wording.sentence(wording.listed([e.title for e in entries]) or "Nothing")),
                ("Out", wording.sentence(str(run.audit.get("out_of_scope") or "")
                                         or "Everything that no measurement above covers")),
            ),
        )
    )  # fmt: skip
    blocks.append(_coverage_table(run, entries, anchors))
    return Section(
        id=anchors.of("scope"), title="Scope and threat model", blocks=tuple(blocks), order=20
    )


def _models_table(run: AuditRun, anchors: Anchors) -> TableBlock:
    rows = []
    for model in run.models:
        trust = (Note(text="trusted: loading it ran code of its file"),) if model.trusted else ()
        problem: tuple[Any, ...] = (
            (Chip(status=Status.ERROR, text=model.problem),) if model.problem else ()
        )
        name = (model.name, Note(text=model.version)) if model.version else model.name
        rows.append(
            (name, (model.kind or model.loader, *trust, *problem), _shape(model.input_shape),
             model.n_outputs or None, numbers.short_digest(model.digest))
        )  # fmt: skip
    return TableBlock(
        anchor=anchors.of("models"),
        title="Models",
        columns=(
            Column(key="name", title="Model"),
            Column(key="kind", title="What it is"),
            Column(key="input", title="Input"),
            Column(key="outputs", title="Outputs", kind="integer"),
            Column(key="digest", title="Digest"),
        ),
        rows=tuple(rows),
    )


def _shape(shape: Sequence[int] | None) -> str:
    return " × ".join(f"{size:,}" for size in shape) if shape else "any"


ROLES = {
    "train": "members: the model learned from them",
    "test": "non-members: the reference",
    "calibration": "sets thresholds; nothing is reported on it",
}


def _role(role: str) -> str:
    head, _, name = role.partition(".")
    words = {"ood": "out of distribution", "shift": "shifted, labelled", "extra": "extra"}
    return ROLES.get(role) or (words.get(head, "") if name else "")


def _data_table(run: AuditRun, anchors: Anchors) -> TableBlock:
    rows: list[tuple[Any, ...]] = []
    for split in run.data:
        what: tuple[Any, ...] = (split.source or split.loader,)
        if split.problem:
            what += (Chip(status=Status.ERROR, text=split.problem),)
        span = [split.low, split.high] if split.low is not None and split.high is not None else None
        rows.append(
            ((split.role, Note(text=_role(split.role))), what, split.n, _shape(split.shape),
             f"{numbers.number(span[0])} to {numbers.number(span[1])}" if span else None,
             numbers.short_digest(split.digest))
        )  # fmt: skip
    return TableBlock(
        anchor=anchors.of("data"),
        title="Data",
        columns=(
            Column(key="role", title="Split"),
            Column(key="source", title="Source"),
            Column(key="n", title="n", kind="integer"),
            Column(key="shape", title="Shape of one"),
            Column(key="range", title="Values"),
            Column(key="digest", title="Digest"),
        ),
        rows=tuple(rows),
    )


def _schema_pairs(run: AuditRun) -> tuple[tuple[str, str], ...]:
    schema = run.schema
    pairs = []
    if schema.get("task"):
        pairs.append(("Task", str(schema["task"])))
    classes = [str(c) for c in schema.get("classes") or ()]
    if classes:
        shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
        pairs.append(("Classes", f"{len(classes):,}: {shown}"))
    return tuple(pairs)


_UNITS = {"std": "a column's standard deviation", "range": "a column's range"}
_RULES = (
    ("frozen", "as they are: "), ("increase", "or increase: "), ("decrease", "or decrease: "),
    ("integer", "whole: "), ("one_hot", "one of each group: "),
)  # fmt: skip


def _rules(threat: Mapping[str, Any]) -> str:
    """What the columns of a table may not do, in a cell."""
    found = []
    for key, words in _RULES:
        names = threat.get(key) or ()
        groups = [f"({', '.join(n)})" if isinstance(n, list | tuple) else str(n) for n in names]
        if groups:
            found.append(f"{words}{', '.join(groups)}")
    return "; ".join(found)


def _threats_table(threats: wording.Threats, anchors: Anchors) -> TableBlock:
    ruled = any(_rules(threat) for threat in threats.values())
    return TableBlock(
        anchor=anchors.of("threats"),
        title="Threat models",
        columns=(
            Column(key="name", title="Name"),
            Column(key="norm", title="Norm"),
            Column(key="eps", title="Budgets ε"),
            Column(key="unit", title="in units of"),
            Column(key="knowledge", title="The attacker sees"),
            Column(key="goal", title="and wants"),
            *((Column(key="rules", title="and must leave"),) if ruled else ()),
        ),
        rows=tuple(
            (
                name,
                wording.threat_symbol(name, threats),
                wording.plain_value(threat.get("eps")),
                _UNITS.get(str(threat.get("scale")), "the data"),
                str(threat.get("knowledge") or ""),
                "a chosen answer" if threat.get("goal") == "targeted" else "any wrong answer",
                *((_rules(threat),) if ruled else ()),
            )
            for name, threat in threats.items()
        ),
    )  # fmt: skip


def _coverage_table(run: AuditRun, entries: Sequence[Entry], anchors: Anchors) -> TableBlock:
    """Every declared measurement and every model: what became of it, and why."""
    coverage = run.coverage
    caption = (
        f"{coverage['declared']} declared, {coverage['ran']} ran, {coverage['failed']} failed, "
        f"{coverage['skipped']} did not run."
    )
    names = [m.name for m in run.models]
    if not 1 < len(names) <= MODELS_PER_MATRIX:
        rows = [
            (
                _linked(e, anchors),
                o.about.model or "",
                Chip(status=e.status_of(o)),
                _noted(wording.why(o)),
            )
            for e in entries
            for o in e.outcomes
        ]
        titles = ("Measurement", "Model", "Status", "Why")
        columns = tuple(Column(key=t.lower(), title=t) for t in titles)
        return TableBlock(anchor=anchors.of("coverage"), title="Coverage", columns=columns,
                          rows=tuple(rows), caption=caption)  # fmt: skip
    matrix = []
    for entry in entries:
        by_model = {o.about.model: o for o in entry.outcomes}
        cells: list[Any] = []
        for name in names:
            own = by_model.get(name)
            whole = by_model.get(None) if name == names[0] else None
            found = own or whole
            words = "all models" if whole is not None and own is None else ""
            cells.append(None if found is None else Chip(status=entry.status_of(found), text=words))
        matrix.append((_linked(entry, anchors), *cells, _noted(_why_per_model(entry))))
    return TableBlock(
        anchor=anchors.of("coverage"),
        title="Coverage",
        columns=(
            Column(key="what", title="Measurement"),
            *(Column(key=f"m{i}", title=name) for i, name in enumerate(names)),
            Column(key="why", title="Why"),
        ),
        rows=tuple(matrix),
        caption=caption,
    )


def _noted(text: str) -> tuple[Note, ...]:
    return (Note(text=text),) if text else ()


def _why_per_model(entry: Entry) -> str:
    reasons: dict[str, list[str]] = {}
    for outcome in entry.outcomes:
        if isinstance(outcome, Failed | Skipped):
            reasons.setdefault(wording.why(outcome), []).append(outcome.about.model or "")
    if len(reasons) == 1:
        return next(iter(reasons))
    return " ".join(f"{wording.listed(models)}: {reason}" for reason, models in reasons.items())


def _linked(entry: Entry, anchors: Anchors) -> Link:
    return Link(anchor=anchors.of("result", entry.name), text=entry.title)
