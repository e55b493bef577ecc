"""What the data gives reason to say: how grave, in which words, and when nothing is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robreport.datacard import (
    Balance,
    Grouping,
    Overlap,
    SharedGroups,
    SplitCard,
    TargetRange,
    Unlearned,
)
from robreport.datafindings import (
    CARD_TABLE,
    GROUPS_TABLE,
    OVERLAP_TABLE,
    data_findings,
    data_warnings,
    reasons_of,
)
from robreport.outcome import SplitFacts


def facts(role: str, n: int = 1000, *overlaps: Overlap, **card: Any) -> SplitFacts:
    counts = card.pop("class_counts", {})
    fields = {"values": 2, "constant": 0, "missing": 0, "rows_missing": 0, "duplicates": 0}
    return SplitFacts(
        role=role, loader="npz", n=n, shape=(2,), dtype="float64", digest="", source="",
        class_counts=counts, card=SplitCard(**{**fields, **card}, overlaps=overlaps),
    )  # fmt: skip


def shared(other: str, rows: int, other_label: int | None = 0) -> Overlap:
    return Overlap(other=other, rows=rows, same_label=rows, other_label=other_label)


@pytest.mark.parametrize(
    ("role", "overlap", "severity"),
    [
        ("test", shared("train", 1), "medium"),
        ("test", shared("train", 10), "medium"),
        ("test", shared("train", 11), "high"),
        ("test", shared("train", 1, 1), "high"),
        ("test", shared("train", 1, None), "medium"),
        ("test", shared("train", 0), None),
        ("test", shared("calibration", 10), "low"),
        ("test", shared("calibration", 11, 11), "medium"),
        ("calibration", shared("train", 11), "medium"),
        ("ood.far", shared("train", 1), "low"),
        ("ood.far", shared("test", 11), "medium"),
        ("shift.dark", shared("train", 11), "medium"),
        ("shift.dark", shared("test", 900), None),
        ("extra.any", shared("train", 900), None),
    ],
)
def test_how_grave_an_overlap_is(role: str, overlap: Overlap, severity: str | None) -> None:
    found = data_findings([facts("train"), facts(role, 1000, overlap)])
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.evidence == (OVERLAP_TABLE,)
        assert finding.affected == role
        assert finding.recommendation


def test_the_claim_says_how_many_and_what_it_does() -> None:
    (finding,) = data_findings([facts("test", 16_281, shared("train", 23, 4))])
    assert finding.claim == (
        "23 of 16,281 test rows (0.14 %) also stand in train, 4 with another label: accuracy is "
        "too favourable, and membership inference is unreliable"
    )
    (finding,) = data_findings([facts("test", 1, shared("train", 1))])
    assert finding.claim.startswith("1 of 1 test row (100.0 %) also stands in train: ")


def test_an_overlap_of_a_regression_speaks_of_errors() -> None:
    target = TargetRange(low=0, q1=1, median=2, q3=3, high=4)
    split = facts("test", 1000, shared("train", 2), target=target)
    assert "test errors are too small" in data_findings([split])[0].claim
    assert "accuracy" not in reasons_of(split, split.card.overlaps[0])  # type: ignore[union-attr]


def test_accuracy_moves_by_no_more_than_is_said() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(2, 40))
        right, rows = rng.random(n) < rng.random(), int(rng.integers(1, n))
        moved = abs(right.mean() - right[rows:].mean())
        assert moved <= rows / n + 1e-12
    split = facts("test", 1000, shared("train", 25))
    overlap = split.card.overlaps[0]  # type: ignore[union-attr]
    assert "differs by at most 2.5 percentage points" in reasons_of(split, overlap)


def test_uneven_and_empty_classes_are_a_line_each() -> None:
    uneven = facts("train", balance=Balance(classes=2, present=2, largest=990, smallest=10,
                                            ratio=99.0))  # fmt: skip
    even = facts("calibration", balance=Balance(classes=2, present=2, largest=9, smallest=1,
                                                ratio=9.0))  # fmt: skip
    empty = facts("test", balance=Balance(classes=3, present=2, largest=9, smallest=0, ratio=None),
                  class_counts={"a": 9, "b\x1b[2J": 0, "c": 1})  # fmt: skip
    lines = data_warnings([uneven, even, empty])
    assert lines == (
        "data.train: the largest class has 99 times the rows of the smallest (990 and 10); "
        "accuracy says little about the small one.",
        "data.test: 1 of 3 classes has no row ('b\\x1b[2J'); nothing is measured about what is "
        "not there.",
    )


def test_overlaps_come_first_among_the_warnings() -> None:
    lines = data_warnings([facts("test", 100, shared("train", 50))])
    assert len(lines) == 1
    assert lines[0].startswith("high: 50 of 100 test rows (50.0 %) also stand in train: ")


def test_without_cards_nothing_is_said() -> None:
    bare = SplitFacts(role="test", loader="", n=0, shape=(), dtype="", digest="", source="")
    assert data_findings([bare]) == ()
    assert data_warnings([bare]) == ()


TEAMS = Grouping(column="team", groups=9, largest=200, without=0)


@pytest.mark.parametrize(
    ("role", "other", "severity"),
    [
        ("test", "train", "medium"),
        ("test", "calibration", "low"),
        ("calibration", "train", "low"),
        ("shift.dark", "train", "low"),
        ("shift.dark", "test", None),
        ("extra.any", "train", None),
    ],
)
def test_how_grave_shared_groups_are(role: str, other: str, severity: str | None) -> None:
    shared = SharedGroups(other=other, groups=7, rows=300, examples=("a", "b"))
    split = facts(role, 1000, grouping=TEAMS, shared_groups=(shared,))
    found = data_findings([split], {"sensitive": ["sex"]})
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.evidence == (GROUPS_TABLE,)
        assert finding.claim.startswith(
            f"7 of 9 groups of {role} ('team') also have rows in {other} ('a', 'b', …), with 300 "
            f"of 1,000 rows of {role}: "
        )
    # every split has rows of each sex, and that is no leak
    assert data_findings([split], {"sensitive": ["team"]}) == ()
    apart = facts(role, 1000, grouping=TEAMS, shared_groups=(SharedGroups(other=other, groups=0,
                                                                        rows=0),))  # fmt: skip
    assert data_findings([apart]) == ()


@pytest.mark.parametrize(
    ("role", "rows", "severity"),
    [("test", 11, "high"), ("test", 10, "medium"), ("shift.dark", 900, "low"),
     ("calibration", 5, "low"), ("extra.any", 900, None)],
)  # fmt: skip
def test_how_grave_labels_are_that_train_lacks(role: str, rows: int, severity: str | None) -> None:
    split = facts(role, 1000, unlearned=Unlearned(classes=2, rows=rows, examples=("x", "y")))
    found = data_findings([split])
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert finding.evidence == (CARD_TABLE,)
        assert "of 2 classes that no row of train has ('x', 'y'): " in finding.claim
