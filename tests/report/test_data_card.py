"""The data card of a report: what it shows, what it leaves out, and records of before it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robreport import DataSchema, Split
from robreport.datacard import Grouping, SharedGroups
from robreport.document import Callout, FindingItem, FindingList, Note, Prose, TableBlock
from robreport.npz import arrays_from_npz
from robreport.outcome import AuditRun, SplitFacts
from robreport.report.builtin import DEFAULT_THEME
from robreport.report.compose import compose
from robreport.report.html import render_html
from robreport.store import decode, encode
from robreport.survey import make_cards
from tests.report import sample
from tests.report.conftest import HOSTILE
from tests.report.test_compose import find, part

NAMES = tuple(f"class {i}" for i in range(25))


def facts_of(data: dict[str, tuple[Any, Any]], schema: DataSchema) -> tuple[SplitFacts, ...]:
    """What a record says of these splits."""
    splits = {
        role: Split(role=role, x=np.asarray(x, dtype=float), y=None if y is None else np.asarray(y),
                    index=np.arange(len(x)), digest="")
        for role, (x, y) in data.items()
    }  # fmt: skip
    cards = make_cards(splits, schema)
    return tuple(
        SplitFacts(
            role=role, loader="npz", n=len(split), shape=split.x.shape[1:], dtype="float64",
            digest="8d422c7b" * 8, source="made", low=0.0, high=1.0, card=cards[role],
            class_counts={} if schema.task == "regression" or split.y is None else {
                name: int(np.sum(split.y == code)) for code, name in enumerate(schema.classes)
            },
        )
        for role, split in splits.items()
    )  # fmt: skip


def audit(data: dict[str, tuple[Any, Any]], **schema: Any) -> AuditRun:
    width = len(next(iter(data.values()))[0][0])
    given: dict[str, Any] = {
        "task": "classification", "input_shape": (width,), "layout": "table", "classes": ("a", "b"),
    }  # fmt: skip
    made = DataSchema(**{**given, **schema})
    fields = ("task", "classes", "features", "bounds", "sensitive", "frozen")
    tree = json.loads(json.dumps({name: getattr(made, name) for name in fields}))
    return sample.audit(("cnn",), requirements=[], data=facts_of(data, made), schema=tree)


def planted(**schema: Any) -> AuditRun:
    """Two rows of train stand in test, one with another label; a value is missing."""
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(60, 3)), rng.normal(size=(40, 3))
    test[5], test[8], train[3] = train[1], train[5], train[9]
    train[20, 1] = np.nan
    y_train, y_test = np.arange(60) % 2, np.arange(40) % 2
    return audit({"train": (train, y_train), "test": (test, y_test)}, **schema)


def tables(run: AuditRun) -> dict[str, TableBlock]:
    blocks = find(part(compose(run), "scope"), TableBlock)
    return {block.title: block for block in blocks}


def test_each_split_has_its_row() -> None:
    table = tables(planted(bounds=(-9.0, 9.0)))["Data card"]
    assert [c.title for c in table.columns] == [
        "Split", "Classes", "Largest to smallest class", "Constant features", "Missing values",
        "Repeated rows",
    ]  # fmt: skip
    train, test = table.rows
    assert train[:4] == ("train", "2 of 2", 1.0, 0)
    assert train[4] == (1, Note(text="in 1 row, 1.7\u202f%"))
    assert train[5] == (1, Note(text="1.7\u202f%"))
    assert test == ("test", "2 of 2", 1.0, 0, 0, 0)
    assert "All values lie within the declared bounds, \u22129 to 9." in table.caption
    assert "No bounds are declared" in tables(planted())["Data card"].caption


def test_shared_rows_are_a_finding_with_the_table_as_its_evidence() -> None:
    document = compose(planted())
    scope = part(document, "scope")
    table = next(t for t in find(scope, TableBlock) if t.title == "Rows that stand in two splits")
    assert table.rows == (("test in train", 2, 0.05, 1, 1, "5 = 1, 8 = 5"),)
    register = find(part(document, "findings"), FindingList)[0].items
    own: list[FindingItem] = [item for item in register if item.where.startswith("Data")]
    assert [(i.severity, i.where, i.evidence) for i in own] == [
        ("high", "Data · test", (table.anchor,))
    ]
    assert register[0] is own[0]
    assert own[0].claim.startswith("2 of 40 test rows (5.0 %) also stand in train, 1 with another")
    assert document.labels[table.anchor].startswith("Table")
    (callout,) = [c for c in find(scope, Callout) if c.title == "What it does to the results."]
    assert "differs by at most 5.0 percentage points" in callout.items[0]
    assert "no answer is right in both splits" in callout.items[0]
    assert "do not tell apart" not in callout.items[0]
    short = find(part(document, "summary"), FindingList)[0].items[0]
    assert short.claim == own[0].claim


def test_groups_in_two_splits_and_strange_labels_are_findings() -> None:
    run = audit({"train": ([[0.0], [1.0]], [0, 0]), "test": ([[2.0], [3.0], [4.0]], [0, 1, 1])})
    train, test = run.data
    assert train.card is not None
    assert test.card is not None
    grouped = (
        replace(train, card=replace(
            train.card, declared=90, grouping=Grouping(column="<who>", groups=2, largest=1,
                                                       without=0))),
        replace(test, card=replace(
            test.card, grouping=Grouping(column="<who>", groups=2, largest=2, without=0),
            shared_groups=(SharedGroups(other="train", groups=1, rows=2, examples=("x",)),))),
    )  # fmt: skip
    told = replace(run, data=grouped)
    document = compose(told)
    table = tables(told)["Groups"]
    assert table.rows == (
        ("train", 2, 1, 0, None), ("test", 2, 2, 0, "1 group with train (2 rows)"),
    )  # fmt: skip
    card = tables(told)["Data card"]
    assert card.rows[1][1] == ("2 of 2", Note(text="1 not in train, 2 rows"))
    assert card.caption.startswith("Described are the rows in use: 2 of 90 in train. ")
    register = find(part(document, "findings"), FindingList)[0].items
    own = {item.claim.split(":")[0]: item for item in register if item.where == "Data · test"}
    lost, shared = (
        next(item for claim, item in own.items() if words in claim)
        for words in ("2 of 3 test rows (66.7 %) are of 1 class that no row of train has ('b')",
                      "1 of 2 groups of test ('<who>') also have rows in train ('x')")
    )  # fmt: skip
    assert (lost.severity, lost.evidence) == ("high", (card.anchor,))
    assert (shared.severity, shared.evidence) == ("medium", (table.anchor,))
    assert "Groups" not in tables(run)
    page = render_html(document, DEFAULT_THEME, sample.record(told)).decode()
    assert "1 group with train (2 rows)" in page
    assert "column '<who>'" not in page


def test_a_table_that_repeats_rows_by_itself_says_so() -> None:
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    scope = part(compose(audit({"train": (x, [0, 1, 0, 0]), "test": (x[1:], [1, 0, 0])})), "scope")
    (callout,) = [c for c in find(scope, Callout) if c.title == "What it does to the results."]
    assert "33.3 % of the test rows repeat another row of test too" in callout.items[0]


def test_splits_apart_are_said_to_be_apart() -> None:
    rows = np.arange(12.0).reshape(6, 2)
    run = audit({"train": (rows[:3], [0, 1, 1]), "calibration": (rows[3:4], [0]),
                 "test": (rows[4:], [0, 1])})  # fmt: skip
    scope = part(compose(run), "scope")
    words = "No row in common: calibration and train; test and train; test and calibration."
    assert words in [block.text for block in find(scope, Prose)]
    assert not [c for c in find(scope, Callout) if c.title.startswith("What it does")]
    assert "Rows that stand in two splits" not in tables(run)


def test_few_classes_are_counted_and_many_are_summed_up() -> None:
    x = np.arange(120.0).reshape(60, 2)
    few = audit({"train": (x[:40], np.arange(40) % 2), "test": (x[40:], np.zeros(20, int))})
    table = tables(few)["Rows of each class"]
    assert table.rows == (("a", 20, 20), ("b", 20, 0))
    assert tables(few)["Data card"].rows[1][1:3] == ("1 of 2", None)
    y = np.concatenate([np.arange(25), np.zeros(15, int)])
    many = audit({"train": (x[:40], y), "test": (x[40:], np.arange(20))}, classes=NAMES)
    assert "Rows of each class" not in tables(many)
    train, test = tables(many)["Data card"].rows
    assert train[1:3] == ("25 of 25", (16.0, Note(text="class 0 16, class 1 1")))
    assert test[1:3] == ("20 of 25", (None, Note(text="class 0 1, class 20 0")))


def test_a_regression_shows_its_target() -> None:
    x = np.arange(20.0).reshape(10, 2)
    run = audit({"train": (x[:6], np.arange(6.0)), "test": (x[4:], np.arange(4.0, 10.0) * 10)},
                task="regression", classes=())  # fmt: skip
    found = tables(run)
    assert "Rows of each class" not in found
    assert found["Data card"].rows[0][1] == ("0 to 5", Note(text="quartiles 1.25, 2.5, 3.75"))
    shared = found["Rows that stand in two splits"]
    assert [c.title for c in shared.columns][3:5] == ["Same target", "Another target"]
    assert shared.rows[0][:5] == ("test in train", 2, 1 / 3, 0, 2)


def test_features_are_described_as_the_model_learned_them() -> None:
    x = np.array([[0.0, 20.0, np.nan], [1.0, 30.0, 2.0], [1.0, 40.0, 4.0]])
    run = audit(
        {"test": (x + 1, [0, 1, 1]), "train": (x, [0, 1, 0])},
        features=("sex", "age", "x" * 90), categories={"sex": ("f", "m", "d")}, sensitive=("sex",),
        frozen=("sex",), integer=("age",),
    )  # fmt: skip
    table = tables(run)["Features of train"]
    assert table.rows == (
        (("sex", Note(text="sensitive, frozen")), "m (66.7\u202f%)", 2, 0),
        ("age", "20 · 30 · 40", 3, 0),
        ("x" * 59 + "…", "2 · 3 · 4", 2, 1),
    )  # fmt: skip
    assert table.caption == ""


def test_of_many_features_the_most_unusual_are_shown() -> None:
    x = np.random.default_rng(0).normal(size=(9, 50))
    x[:, 44] = 1.0
    x[3, 47] = np.nan
    table = tables(audit({"train": (x, None)}))["Features of train"]
    assert len(table.rows) == 30
    names = [row[0] for row in table.rows]
    assert {"feature 45", "feature 48"} <= set(names)
    assert names == sorted(names, key=lambda name: int(name.split()[1]))
    assert table.caption.startswith("The 30 most unusual of 50:")


@pytest.mark.parametrize("sets", [3, 40])
def test_many_sets_stay_within_their_room(sets: int) -> None:
    x = np.zeros((2, 2))
    data: dict[str, tuple[Any, Any]] = {"test": (x, [0, 1])}
    data |= {f"shift.{i}": (x, [0, 1]) for i in range(sets)}
    found = tables(audit(data))
    card, shared = found["Data card"], found["Rows that stand in two splits"]
    assert (len(card.rows), card.rows_total) == ((4, 0) if sets == 3 else (30, 41))
    assert (len(shared.rows), shared.rows_total) == ((3, 0) if sets == 3 else (30, 40))
    assert len(found["Rows of each class"].columns) == (5 if sets == 3 else 7)


def test_a_record_of_before_the_card_is_shown_without_it() -> None:
    run = planted()
    record = encode(run)
    tree = json.loads(record.audit_json)
    for split in tree["data"]:
        del split["card"]
    arrays = arrays_from_npz(record.arrays_npz, "arrays.npz")
    old = decode(json.dumps(tree).encode(), arrays)
    assert [split.card for split in old.data] == [None, None]
    titles = set(tables(old))
    assert {"Data", "Coverage"} <= titles
    assert not titles & {"Data card", "Rows of each class", "Rows that stand in two splits"}
    again = decode(record.audit_json, arrays)
    assert again.data == run.data
    assert repr(compose(again)) == repr(compose(replace(run, outcomes=again.outcomes)))


def test_names_cannot_leave_their_place() -> None:
    features = ("<img src=x onerror=alert(1)>", "</td><script>alert(2)</script>", "`{{ 7*7 }}`")
    run = planted(classes=HOSTILE[:2], features=features, sensitive=features[:1])
    document = compose(run)
    page = render_html(document, DEFAULT_THEME, sample.record(run)).decode()
    body = page[: page.index('id="audit-record"')] if 'id="audit-record"' in page else page
    assert "&lt;img src=x onerror=alert(1)&gt;" in body
    assert "<img src=x" not in body
    assert "<script>alert(" not in body
    assert "Rows that stand in two splits" in body
