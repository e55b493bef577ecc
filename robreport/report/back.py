"""The parts behind the results: method, requirements, findings, limits, provenance, appendix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robreport.datafindings import data_findings
from robreport.document import (
    Block,
    BulletList,
    Callout,
    Chip,
    CodeBlock,
    FailureBlock,
    FindingItem,
    FindingList,
    KeyValues,
    Link,
    Prose,
    Section,
    TableBlock,
)
from robreport.outcome import AuditRun, Computed, Failed, Skipped, Status
from robreport.report import numbers, wording
from robreport.report.entries import Anchors, Entry
from robreport.report.results import ResultsWriter
from robreport.result import Column


def findings_of(
    run: AuditRun, entries: Sequence[Entry], writer: ResultsWriter, anchors: Anchors
) -> tuple[FindingItem, ...]:
    """Return all findings, worst first, with ids and the anchors of their evidence."""
    several = len(run.models) > 1
    # what is wrong with the data comes first among equals: it touches every measurement
    raised = [
        (finding, ["Data"], [anchors.of(name) for name in finding.evidence])
        for finding in data_findings(run.data, run.schema)
    ]
    for entry in entries:
        for outcome in entry.computed:
            place = [entry.title]
            if several and outcome.about.model:
                place.append(outcome.about.model)
            raised += [
                (finding, place, [writer.evidence(entry, outcome, e) for e in finding.evidence])
                for finding in outcome.result.findings
            ]
    raised.sort(key=lambda item: _severity(item[0].severity))
    items = []
    for i, (finding, place, evidence) in enumerate(raised, start=1):
        where = [*place, finding.affected] if finding.affected else place
        items.append(
            FindingItem(
                id=f"F{i}",
                severity=finding.severity,
                claim=wording.sentence(finding.claim),
                where=" · ".join(where),
                evidence=tuple(dict.fromkeys(evidence)),
                recommendation=wording.sentence(finding.recommendation),
                anchor=anchors.of("finding", str(i)),
            )
        )
    return tuple(items)


def _severity(word: str) -> int:
    known = wording.SEVERITIES
    return known.index(word) if word in known else len(known)


def method_section(run: AuditRun, entries: Sequence[Entry], anchors: Anchors) -> Section:
    """Return how each measurement was made."""
    seed = run.audit.get("seed", 0)
    threads = run.environment.get("threads") or run.spec.get("execution", {}).get("threads")
    device = run.environment.get("device")
    where = [f"{wording.count(int(threads), 'thread')} each" if threads else "",
             f"on `{device}`" if device else ""]  # fmt: skip
    how = " ".join(part for part in where if part)
    intro = (
        f"The audit's seed is {seed}; each measurement draws from a seed made of it and of its "
        f"own id, the same for every model. {f'Measurements ran with {how}. ' if how else ''}"
        "Equal inputs, seed, threads and device give equal numbers."
    )
    return Section(
        id=anchors.of("method"),
        title="Method",
        blocks=(Prose(text=intro),),
        sections=tuple(_method(entry, anchors) for entry in entries),
        order=30,
    )


def _method(entry: Entry, anchors: Anchors) -> Section:
    about = entry.about
    pairs = [("Metric", f"`{about.metric}`")]
    if about.name != about.metric:
        pairs.append(("Entry", about.name))
    if about.knowledge:
        pairs.append(("Knowledge", about.knowledge))
    if about.threats:
        pairs.append(("Threats", wording.listed(about.threats)))
    if about.splits:
        sizes = [f"{role} ({numbers.integer(n)})" for role, n in about.splits.items()]
        pairs.append(("Data", wording.listed(sizes)))
    if about.params:
        shown = [f"{key} = {wording.plain_value(value)}" for key, value in about.params.items()]
        pairs.append(("Parameters", "; ".join(shown)))
    blocks: list[Block] = []
    if about.summary:
        blocks.append(Prose(text=wording.sentence(about.summary)))
    blocks.append(KeyValues(pairs=tuple(pairs)))
    if about.references:
        blocks.append(BulletList(title="References", items=about.references))
    return Section(id=anchors.of("method", entry.name), title=entry.title, blocks=tuple(blocks))


def findings_section(findings: Sequence[FindingItem], anchors: Anchors) -> Section:
    """Return the register of findings."""
    blocks: tuple[Block, ...] = (
        (
            Prose(text="A finding is a claim about a model or about the data, with its evidence. "
                  "Its severity is the measurement's own word, not a status."),
            FindingList(items=tuple(findings)),
        )
        if findings
        else (Prose(text="No measurement raised a finding."),)
    )  # fmt: skip
    return Section(id=anchors.of("findings"), title="Findings", blocks=blocks, order=55)


def limitations_section(
    run: AuditRun, entries: Sequence[Entry], anchors: Anchors, not_shown: str
) -> Section:
    """Return what the audit does not show, and every reason to trust it less."""
    blocks: list[Block] = [Prose(text=not_shown, lead=True)]
    missing = [o for entry in entries for o in entry.outcomes if wording.why(o)]
    if missing:
        items = tuple(
            f"{o.about.title}{f' on {o.about.model}' if o.about.model else ''}: {wording.why(o)}"
            for o in missing
        )
        blocks.append(Callout(title="Declared, and without a result.", items=items, tone="caution"))
    limits = tuple(
        (entry.title, wording.sentence(entry.about.limits)) for entry in entries
        if entry.about.limits and entry.computed
    )  # fmt: skip
    if limits:
        blocks.append(KeyValues(title="What each measurement does not show", pairs=limits))
    caveats = tuple(
        (
            Link(anchor=anchors.of("result", entry.name), text=entry.title),
            o.about.model or "",
            wording.sentence(c.detail),
            c.code,
        )
        for entry in entries
        for o in entry.computed
        for c in o.result.caveats
    )
    if caveats:
        titles = ("Measurement", "Model", "What was seen", "Code")
        blocks.append(
            TableBlock(
                anchor=anchors.of("caveats"),
                title="Caveats",
                columns=tuple(Column(key=title, title=title) for title in titles),
                rows=caveats,
                caption="robreport explain CODE says when a caveat is raised and what to do.",
            )
        )
    return Section(
        id=anchors.of("limitations"), title="Limitations", blocks=tuple(blocks), order=60
    )


def provenance_section(run: AuditRun, anchors: Anchors) -> Section:
    """Return where everything came from: digests, environment, plugins, spec, run times."""
    blocks: list[Block] = []
    digests = [(f"Model {m.name}", m.path, m.digest) for m in run.models]
    digests += [(f"Data {s.role}", s.source, s.digest) for s in run.data]
    if digests:
        titles = ("What", "From", "SHA-256")
        blocks.append(
            TableBlock(
                anchor=anchors.of("digests"),
                title="Digests",
                columns=tuple(Column(key=title, title=title) for title in titles),
                rows=tuple(digests),
            )
        )
    if run.plugins:
        blocks.append(_plugins_table(run, anchors))
    environment = _flat(run.environment)
    if environment:
        blocks.append(KeyValues(title="Environment", pairs=environment))
    blocks += _execution(run, anchors)
    blocks.append(CodeBlock(title="The spec, verbatim", text=run.spec_text))
    return Section(id=anchors.of("provenance"), title="Provenance", blocks=tuple(blocks), order=80)


def _plugins_table(run: AuditRun, anchors: Anchors) -> TableBlock:
    rows = []
    for plugin in run.plugins:
        wrappers = plugin.get("wrappers") or ()
        names = [str(w) for w in wrappers] if isinstance(wrappers, list | tuple) else ["yes"]
        status: Any = "loaded"
        if plugin.get("error"):
            status = Chip(status=Status.ERROR, text=str(plugin["error"]))
        elif names:
            status = Chip(
                status=Status.WARN, text=f"wraps {wording.listed(names)}: it can change any result"
            )
        rows.append(
            (str(plugin.get("name", "")), str(plugin.get("distribution") or ""),
             str(plugin.get("version") or ""), status)
        )  # fmt: skip
    titles = ("Plugin", "Distribution", "Version", "State")
    return TableBlock(
        anchor=anchors.of("plugins"),
        title="Plugins",
        columns=tuple(Column(key=title, title=title) for title in titles),
        rows=tuple(rows),
    )


def _flat(given: Mapping[str, Any], head: str = "") -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for key, value in given.items():
        name = f"{head} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping) and key == "versions":
            shown = [f"{k} {v}" for k, v in value.items()]
            pairs.append((name, ", ".join(shown)))
        elif isinstance(value, Mapping):
            pairs += _flat(value, name)
        else:
            pairs.append((name, wording.plain_value(value)))
    return tuple(pairs)


def _execution(run: AuditRun, anchors: Anchors) -> list[Block]:
    execution = run.execution
    if not execution:
        return []
    pairs = []
    for key, value in execution.items():
        if key in ("started", "finished"):
            pairs.append((key, numbers.moment(str(value))))
        elif key != "outcomes":
            pairs += _flat({key: value})
    blocks: list[Block] = [KeyValues(title="Execution", pairs=tuple(pairs))]
    rows = []
    for o in run.outcomes:
        if isinstance(o, Skipped):
            continue
        memory = o.peak_memory if isinstance(o, Computed) else 0
        cached = isinstance(o, Computed) and o.cached
        # rounded as the record rounds, so that a report made anew from it is the same
        took = numbers.seconds(round(o.seconds, 3))
        rows.append((o.about.key, took, "yes" if cached else "no", _size(memory)))
    if not rows:
        return blocks
    blocks.append(
        TableBlock(
            anchor=anchors.of("run-times"),
            title="Run times",
            columns=(
                Column(key="what", title="Measurement"),
                Column(key="seconds", title="Took", kind="number"),
                Column(key="cached", title="From cache"),
                Column(key="memory", title="Peak memory", kind="number"),
            ),
            rows=tuple(rows),
            caption="These vary from run to run; nothing else in the record does.",
        )
    )
    return blocks


def _size(memory: int) -> str | None:
    return numbers.size(memory) if memory else None


def appendix_section(
    run: AuditRun, entries: Sequence[Entry], tables: Sequence[TableBlock], anchors: Anchors
) -> Section:
    """Return full tables, logs of what failed, glossary and references."""
    parts: list[Section] = []

    def add(id: str, title: str, blocks: Sequence[Block]) -> None:
        if blocks:
            parts.append(Section(id=anchors.of("appendix", id), title=title, blocks=tuple(blocks)))

    add("tables", "Full tables", tables)
    add("logs", "What failed, with its trace", _failures(entries))
    add("glossary", "Glossary", [KeyValues(pairs=wording.GLOSSARY)])
    references = list(dict.fromkeys(r for entry in entries for r in entry.about.references))
    add("references", "References", [BulletList(items=tuple(references))] if references else [])
    return Section(id=anchors.of("appendix"), title="Appendix", sections=tuple(parts), order=90)


def _failures(entries: Sequence[Entry]) -> list[Block]:
    return [
        FailureBlock(
            status=Status.ERROR,
            title=f"{entry.title}{f', {o.about.model}' if o.about.model else ''}",
            reason=f"{wording.FAILURES.get(o.kind, 'It failed')}: {wording.sentence(o.error)}",
            trace=o.trace,
            log=o.log,
        )
        for entry in entries
        for o in entry.outcomes
        if isinstance(o, Failed)
    ]
