"""An audit becomes a document: its parts, their order, their references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from robreport.document import (
    AnswerList,
    Callout,
    Chip,
    Document,
    FailureBlock,
    FigureBlock,
    FigureGroup,
    FindingList,
    ImageBlock,
    Link,
    Prose,
    ScalarGrid,
    Section,
    TableBlock,
)
from robreport.outcome import Skipped, Status
from robreport.report.compose import compose
from robreport.result import Column, Scalar, Table
from tests.report import sample

PARTS = ["summary", "scope", "method", "results", "requirements", "findings", "limitations",
         "provenance", "appendix"]  # fmt: skip


def walk(node: Any) -> Iterator[Any]:
    """Every dataclass inside a document, depth first."""
    if is_dataclass(node):
        yield node
        for field in fields(node):
            yield from walk(getattr(node, field.name))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from walk(item)


def find(node: Any, kind: type) -> list[Any]:
    """Every part of one type."""
    return [part for part in walk(node) if isinstance(part, kind)]


def part(document: Document, name: str) -> Section:
    """One top-level section."""
    return next(section for section in document.sections if section.id == name)


@pytest.fixture(scope="module")
def document() -> Document:
    return compose(sample.audit())


def test_parts_stand_in_their_order_with_numbers(document: Document) -> None:
    assert [section.id for section in document.sections] == PARTS
    assert [section.number for section in document.sections] == [str(i) for i in range(1, 10)]
    results = part(document, "results")
    assert [(s.number, s.title) for s in results.sections] == [
        ("4.1", "Performance"),
        ("4.2", "Robust accuracy under attack"),
        ("4.3", "Membership inference"),
        ("4.4", "Leakage of single records"),
    ]
    assert [s.chips[0].status for s in results.sections] == [
        Status.PASS, Status.FAIL, Status.NOT_RUN, Status.ERROR,
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
def test_every_reference_has_a_target_and_every_anchor_is_unique(count: int) -> None:
    names = [f"model-{i}" for i in range(count)]
    requirements = [] if count == 0 else None
    outcomes = [] if count == 0 else None
    document = compose(sample.audit(names, outcomes=outcomes, requirements=requirements))
    anchors = [s.id for s in find(document, Section)]
    anchors += [p.anchor for kind in (TableBlock, FigureBlock, ImageBlock)
                for p in find(document, kind) if p.anchor]  # fmt: skip
    assert len(anchors) == len(set(anchors))
    wanted = {link.anchor for link in find(document, Link)}
    wanted |= {a for items in find(document, FindingList) for i in items.items for a in i.evidence}
    wanted |= {c.link for grid in find(document, ScalarGrid) for c in grid.cards}
    assert wanted <= set(anchors)
    assert wanted <= set(document.labels)


def test_figures_and_tables_are_numbered_in_the_order_of_reading(document: Document) -> None:
    figures = [p.number for p in walk(document) if isinstance(p, FigureBlock | ImageBlock)]
    assert figures == list(range(1, len(figures) + 1))
    tables = [p.number for p in find(document, TableBlock) if p.anchor]
    assert tables == list(range(1, len(tables) + 1))
    assert all(p.number == 0 for p in find(document, TableBlock) if not p.anchor)


def test_evidence_leads_to_what_the_metric_named(document: Document) -> None:
    register = find(part(document, "findings"), FindingList)[0]
    assert [item.severity for item in register.items] == ["high", "medium", "low"]
    assert [item.id for item in register.items] == ["F1", "F2", "F3"]
    parts = {p.anchor: p for kind in (TableBlock, FigureBlock, ImageBlock)
             for p in find(document, kind)}  # fmt: skip
    values, figure, table, images = (parts[a] for a in register.items[0].evidence)
    assert values.title == "Measured values"
    assert (figure.title, figure.subject) == ("Robust accuracy against ε", "")
    assert table.title == "Every point of the curve, cnn"
    assert (images.title, images.subject) == ("Clean, perturbed, perturbation", "cnn")


def test_the_summary_shows_the_worst_first_and_says_what_is_left_out(document: Document) -> None:
    summary = part(document, "summary")
    cards = find(summary, ScalarGrid)[0].cards
    assert [card.status for card in cards] == [
        Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.PASS,
    ]  # fmt: skip
    assert cards[0].title == "Robust accuracy, L∞, ε\u00a0=\u00a00.1"
    assert (cards[0].value.value, cards[0].value.n, cards[0].value.bound) == (0.15, 500, "upper")
    assert "1 further requirement (1 pass) in" in [p.text for p in find(summary, Prose)]
    assert len(find(summary, FindingList)[0].items) == 3
    coverage = find(summary, TableBlock)[-1]
    assert [row[:4] for row in coverage.rows] == [
        ("Performance", 3, 3, 0), ("Attacks", 3, 3, 0), ("Privacy", 2, 0, 2),
    ]  # fmt: skip
    reasons = [chip.text for chip in coverage.rows[2][4]]
    assert "LiRA needs `refit`" in reasons[0]
    assert "MemoryError" in reasons[1]


def test_a_wish_that_did_not_run_weighs_less_than_what_is_required() -> None:
    wish = sample.requirement("lira", "cnn", "x", Status.NOT_RUN, "not run", level="warn")
    must = sample.requirement("pgd", "cnn", "robust_accuracy[linf, 0.1]", Status.INCONCLUSIVE,
                              "the interval holds the threshold")  # fmt: skip
    document = compose(sample.audit(("cnn",), requirements=[wish, must]))
    cards = find(document, ScalarGrid)[0].cards
    assert [c.status for c in cards[:2]] == [Status.INCONCLUSIVE, Status.NOT_RUN]
    rows = next(t for t in find(document, TableBlock) if t.title.startswith("Requirements")).rows
    assert rows[1][1][1].text == "a wish: it warns, it does not fail"


def test_a_requirement_on_what_did_not_run_is_shown_in_the_unit_of_the_others() -> None:
    missing = sample.requirement(
        "pgd",
        "tree",
        "robust_accuracy[linf, 0.1]",
        Status.NOT_RUN,
        "not run",
        unit="",
        observed=None,
    )
    outcomes = [sample.attacked("cnn", 0)]
    document = compose(sample.audit(("cnn", "tree"), outcomes=outcomes, requirements=[missing]))
    assert find(document, ScalarGrid)[0].cards[0].limit.unit == "share"


def test_a_scalar_s_own_label_is_not_said_twice() -> None:
    outcome = sample.attacked("cnn", 0)
    scalars = {
        name: replace(scalar, label="Robust accuracy, L∞ ε = 0.1")
        for name, scalar in outcome.result.scalars.items()
        if name == "robust_accuracy[linf, 0.1]"
    }
    twins = {
        f"share_above[{k}]": sample.share(0.5, 0.1, 10, label="Share above") for k in ("0", "1")
    }
    result = replace(outcome.result, scalars={**scalars, **twins}, findings=())
    needed = sample.requirement("pgd", "cnn", "robust_accuracy[linf, 0.1]", Status.PASS, "met")
    document = compose(
        sample.audit(("cnn",), outcomes=[replace(outcome, result=result)], requirements=[needed])
    )
    assert find(document, ScalarGrid)[0].cards[0].title == "Robust accuracy, L∞ ε = 0.1"
    table = next(t for t in find(document, TableBlock) if t.title == "Measured values")
    labels = [row[0] if isinstance(row[0], str) else row[0][0] for row in table.rows]
    assert labels == ["Robust accuracy, L∞ ε = 0.1", "Share above, 0", "Share above, 1"]


def test_where_intervals_are_of_many_kinds_each_row_names_its_own() -> None:
    outcomes = []
    for i, model in enumerate(("cnn", "tree")):
        outcome = sample.performance(model, i)
        scalars = {f"m{k}": sample.share(0.5, 0.1, 10, label=f"M{k}") for k in range(3)}
        scalars = {
            name: replace(scalar, method=f"95 % {name}, n {i}") for name, scalar in scalars.items()
        }
        result = replace(outcome.result, scalars=scalars)
        outcomes.append(replace(outcome, result=result))
    document = compose(sample.audit(("cnn", "tree"), outcomes=outcomes, requirements=[]))
    table = next(t for t in find(document, TableBlock) if t.title == "Measured values")
    assert [c.title for c in table.columns] == ["Measure", "cnn", "tree", "Interval"]
    assert [row[-1] for row in table.rows] == ["m0", "m1", "m2"]
    assert table.caption == "n = 10 throughout. 95 % intervals."
    outcomes[1].result.scalars["m0"] = replace(
        outcomes[1].result.scalars["m0"], method="90 % m0", n=2000, unit="nats"
    )
    document = compose(sample.audit(("cnn", "tree"), outcomes=outcomes, requirements=[]))
    table = next(t for t in find(document, TableBlock) if t.title == "Measured values")
    assert [c.title for c in table.columns] == ["Measure", "cnn", "tree", "n", "Interval"]
    assert table.rows[0][3:] == ("10, 2,000", "95 % m0; 90 % m0")
    assert [cell.unit for cell in table.rows[0][1:3]] == ["share", "nats"]
    assert table.rows[1][3:] == ("10", "95 % m1")
    assert table.caption == ""


def test_a_unit_that_a_row_shares_stands_in_its_name() -> None:
    outcomes = []
    for i, model in enumerate(("cnn", "tree")):
        outcome = sample.performance(model, i)
        scalars = {"loss": replace(sample.share(0.5, 0.1, 10, label="Loss"), unit="nats")}
        outcomes.append(replace(outcome, result=replace(outcome.result, scalars=scalars)))
    document = compose(sample.audit(("cnn", "tree"), outcomes=outcomes, requirements=[]))
    table = next(t for t in find(document, TableBlock) if t.title == "Measured values")
    assert table.rows[0][0] == "Loss (nats)"
    assert [cell.unit for cell in table.rows[0][1:]] == ["", ""]


def test_without_requirements_the_main_numbers_stand_on_the_cards() -> None:
    grid = find(compose(sample.audit(requirements=[])), ScalarGrid)[0]
    assert [(c.title, c.subtitle, c.status) for c in grid.cards] == [
        ("Accuracy", "cnn", Status.INFO),
        ("Clean accuracy", "cnn", Status.INFO),
        ("Accuracy", "tree", Status.INFO),
        ("Clean accuracy", "tree", Status.INFO),
    ]


def test_models_of_one_measurement_share_a_section_and_a_table(document: Document) -> None:
    section = part(document, "results").sections[1]
    assert [a.subject for a in find(section, AnswerList)[0].items] == ["cnn", "tree", "logistic"]
    table = next(t for t in find(section, TableBlock) if t.title == "Measured values")
    assert [c.title for c in table.columns] == ["Measure", "cnn", "tree", "logistic"]
    assert table.caption.startswith("n = 500 throughout.")
    robust = table.rows[1]
    assert [cell.value for cell in robust[1:4]] == [0.15, 0.862, 0.844]
    assert robust[0][1].text == "upper bound"
    censored = table.rows[3][1]
    assert (censored.value, censored.censored, censored.low) == (0.3, ">", None)
    assert "Without interval: no attack succeeded on half of them." in table.caption
    (pictures,) = find(section, FigureGroup)
    assert [f.subject for f in pictures.figures] == ["cnn", "tree", "logistic"]
    (curve,) = find(section, FigureBlock)
    assert [panel["title"]["text"] for panel in curve.spec["concat"]] == ["cnn", "tree", "logistic"]


def test_many_models_are_spread_over_several_tables() -> None:
    document = compose(sample.audit([f"m{i}" for i in range(7)]))
    tables = [t for t in find(part(document, "results").sections[0], TableBlock)
              if t.title.startswith("Measured values")]  # fmt: skip
    assert [len(t.columns) for t in tables] == [6, 3]


def test_one_model_gets_its_answer_as_the_lead() -> None:
    document = compose(sample.audit(("cnn",)))
    section = part(document, "results").sections[0]
    assert section.blocks[0] == Prose(text="It is right on 98.9 % of 540 test inputs.", lead=True)
    assert not find(section, AnswerList)
    table = next(t for t in find(section, TableBlock) if t.title == "Measured values")
    assert table.rows[0][3] == "95 % Wilson"


def test_long_tables_stand_in_the_appendix_and_are_referred_to(document: Document) -> None:
    tables = part(document, "appendix").sections[0]
    assert tables.title == "Full tables"
    assert [len(t.rows) for t in find(tables, TableBlock)] == [45, 45, 45]
    pointer = next(p for p in find(part(document, "results"), Prose) if "appendix" in p.text)
    assert [link.anchor for link in pointer.links] == [t.anchor for t in tables.blocks]


def test_what_failed_and_what_did_not_run_say_why(document: Document) -> None:
    failures = {f.title: f for f in find(part(document, "results"), FailureBlock)}
    skipped = failures["Membership inference did not run on cnn"]
    assert (skipped.status, "`refit`" in skipped.reason) == (Status.NOT_RUN, True)
    broken = failures["Leakage of single records has no result on logistic"]
    assert (broken.status, broken.trace) == (Status.ERROR, "")
    assert broken.reason.startswith("It raised an error: MemoryError")
    log = find(part(document, "appendix"), FailureBlock)[0]
    assert log.trace.startswith("Traceback")
    assert log.log.endswith("last words\n")
    matrix = next(t for t in find(part(document, "scope"), TableBlock) if t.title == "Coverage")
    statuses = [[c.status if isinstance(c, Chip) else c for c in row[1:4]] for row in matrix.rows]
    assert statuses == [
        [Status.PASS] * 3,
        [Status.FAIL, Status.INFO, Status.INFO],
        [Status.NOT_RUN, None, None],
        [None, None, Status.ERROR],
    ]


def test_failed_checks_and_caveats_are_told_model_by_model(document: Document) -> None:
    section = part(document, "results").sections[1]
    asides = {c.title: c for c in find(section, Callout)}
    checks = next(t for t in find(section, TableBlock) if t.title.startswith("Checks"))
    assert checks.title == "Checks on the measurement: 2 of 3 hold"
    assert [row[0] for row in checks.rows] == [
        "ε = 1 reaches 0 %", "monotone in ε", "iterative beats single step", "noise is weaker",
    ]  # fmt: skip
    assert [c.status if isinstance(c, Chip) else c for c in (r[1] for r in checks.rows)] == [
        Status.FAIL, "holds", "holds", "does not apply",
    ]  # fmt: skip
    # the model that failed comes first; what all say is said once
    assert checks.rows[0][2] == (
        "logistic: 3 of 500 survive ε = 1. cnn, tree: 3 of 500 survive ε = 1."
    )
    assert checks.rows[1][2] == "no rise."
    assert len(asides["Caveats."].items) == 3
    caveats = next(t for t in find(document, TableBlock) if t.title == "Caveats")
    assert [row[1] for row in caveats.rows] == ["cnn", "tree", "logistic"]


def test_an_audit_without_threats_does_not_speak_for_measurements_with_budgets_of_their_own() -> (
    None
):
    run = sample.audit(("cnn",), outcomes=[sample.performance("cnn", 0)], requirements=[])
    document = compose(replace(run, spec={**run.spec, "threats": {}}))
    said = " ".join(p.text for p in find(part(document, "summary"), Prose))
    assert (
        "says nothing about attackers, except where a measurement names its own, for no threat "
        "was declared" in said
    )


def test_seconds_stand_in_the_table_that_names_what_they_were_spent_on() -> None:
    table = Table(
        title="Attacks", rows=(("PGD", "linf, pgd"), ("FGSM", "linf, fgsm")),
        columns=(Column(key="a", title="attack"), Column(key="s", title="took", kind="spent")),
    )  # fmt: skip
    first, second = (
        replace(one, result=replace(one.result, tables={"attacks": table}, spent=spent))
        for one, spent in zip(
            (sample.performance("cnn", 0), sample.performance("tree", 1)),
            ({"linf, pgd": 1.25, "linf, fgsm": 0.5}, {"linf, pgd": 3.0}), strict=True,
        )
    )  # fmt: skip
    document = compose(sample.audit(("cnn", "tree"), outcomes=[first, second], requirements=[]))
    (shown,) = (t for t in find(document, TableBlock) if t.title == "Attacks")
    # side by side, with a dash where nothing is known
    assert [c.title for c in shown.columns] == ["attack", "took, cnn", "took, tree"]
    assert {c.unit for c in shown.columns[1:]} == {"s"}
    assert shown.rows == (("PGD", 1.25, 3.0), ("FGSM", 0.5, None))


def test_wrappers_and_broken_plugins_are_flagged(document: Document) -> None:
    plugins = next(t for t in find(document, TableBlock) if t.title == "Plugins")
    assert plugins.rows[0][3] == "loaded"
    assert (plugins.rows[1][3].status, "run_metric" in plugins.rows[1][3].text) == (
        Status.WARN, True,
    )  # fmt: skip
    assert plugins.rows[2][3].status is Status.ERROR


def test_entries_of_one_title_are_told_apart() -> None:
    first = sample.performance("cnn", 0)
    second = replace(first, about=replace(first.about, name="performance-again"))
    document = compose(sample.audit(("cnn",), outcomes=[first, second], requirements=[]))
    assert [s.title for s in part(document, "results").sections] == [
        "Performance (performance)", "Performance (performance-again)",
    ]  # fmt: skip


def test_a_measurement_of_the_data_needs_no_model() -> None:
    outcome = sample.performance("cnn", 0)
    whole = replace(outcome, about=replace(outcome.about, model=None))
    document = compose(sample.audit((), outcomes=[whole], requirements=[]))
    assert document.subtitle == "A study of the data in 1 measurement"
    assert part(document, "results").sections[0].blocks[0].lead  # type: ignore[union-attr]


def test_sections_of_plugins_take_their_place_and_cannot_break_the_document() -> None:
    good = Section(
        id="summary",  # taken: it gets another anchor
        title="Crosswalk",
        order=70,
        blocks=(Prose(text="Evidence for."), "no block"),  # type: ignore[arg-type]
    )
    document = compose(sample.audit(), [good, "no section"])  # type: ignore[list-item]
    ids = [s.id for s in document.sections]
    assert ids[:8] == [*PARTS[:7], "summary-2"]
    assert len(set(ids)) == len(ids)
    titles = [f.title for f in find(document, FailureBlock)]
    assert "A part of this section could not be shown" in titles
    assert "A plugin's section could not be shown" in titles


def test_what_varies_from_run_to_run_stands_in_provenance_and_on_the_cover_only() -> None:
    later = {"finished": "2027-01-01T00:00:00+00:00"}
    one, other = sample.audit(), sample.audit(execution=later)
    first, second = compose(one), compose(other)
    for name in PARTS:
        same = repr(part(first, name)) == repr(part(second, name))
        assert same == (name != "provenance"), name


def test_refused_scalars_carry_their_reason() -> None:
    outcome = sample.performance("cnn", 0)
    refused = Scalar(value=None, n=100, reason="needs 3,000 non-members, has 100")
    result = replace(outcome.result, scalars={"tpr_at_fpr[lira, 0.001]": refused})
    document = compose(
        sample.audit(("cnn",), outcomes=[replace(outcome, result=result)], requirements=[])
    )
    card = find(document, ScalarGrid)[0].cards[0]
    assert card.title == "TPR at FPR, LiRA, 0.001"
    assert (card.value.value, card.value.reason) == (None, refused.reason)


def test_an_audit_where_nothing_ran_is_a_document_too() -> None:
    outcomes = [Skipped(about=sample.about("a", "x.y", "cnn", "A"), reason="no labels")]
    document = compose(sample.audit(("cnn",), outcomes=outcomes, requirements=[]))
    assert [s.id for s in document.sections] == PARTS
    assert not find(document, ScalarGrid)
