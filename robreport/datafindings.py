"""What the data itself gives reason to say: rows and groups in two splits, and strange classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robreport.datacard import Overlap
from robreport.outcome import SplitFacts
from robreport.result import Finding, Severity

OVERLAP_TABLE = "data-overlap"
"""Id of the table that is the evidence."""
GROUPS_TABLE = "data-groups"
CARD_TABLE = "data-card"
SERIOUS_SHARE = 0.01
UNEVEN = 10.0
"""From this ratio of the largest class to the smallest on, classes are called uneven."""

_SPLIT_ANEW = (
    "Remove these rows from one of the two splits, or split the source anew so that equal records "
    "stay together, and run the audit again"
)


def data_findings(
    data: Iterable[SplitFacts], schema: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """Return a finding for each pair of splits that share rows or groups which they should not
    share, and for each split with classes that train lacks.

    Rows of test that stand in train: high above 1 % of the test rows, or where a label differs;
    else medium. Other pairs: medium above 1 %, else low. A shifted set may hold rows of test as
    they are, and an extra set may be anything: these are no findings.

    Shared groups: medium for test and train, low for other pairs; none where the column is
    declared sensitive in `schema`, since any split has rows of each sex or each origin.
    Classes that train lacks: high above 1 % of the rows of test, medium below, low elsewhere.
    """
    found = []
    sensitive = () if schema is None else schema.get("sensitive") or ()
    for split in data:
        for overlap in overlaps_of(split):
            effect = effect_of(split, overlap.other)
            if not effect:
                continue
            serious = overlap.rows > SERIOUS_SHARE * split.n
            severity: Severity = "medium" if serious else "low"
            if (split.role, overlap.other) == ("test", "train"):
                severity = "high" if serious or overlap.other_label else "medium"
            found.append(
                Finding(
                    severity=severity,
                    claim=f"{shared_rows(split, overlap)}: {effect}",
                    evidence=(OVERLAP_TABLE,),
                    recommendation=_SPLIT_ANEW,
                    affected=split.role,
                )
            )
        found += _unlearned(split)
        found += _of_groups(split, sensitive)
    return tuple(found)


def _unlearned(split: SplitFacts) -> list[Finding]:
    strange = split.card.unlearned if split.card is not None else None
    # an extra set may be anything
    if strange is None or split.role.startswith("extra."):
        return []
    severity: Severity = "low"
    if split.role == "test":
        severity = "high" if strange.rows > SERIOUS_SHARE * split.n else "medium"
    classes = "class" if strange.classes == 1 else "classes"
    noun = "row" if split.n == 1 else "rows"
    return [
        Finding(
            severity=severity,
            claim=f"{strange.rows:,} of {split.n:,} {split.role} {noun} "
            f"({_percent(strange.rows, split.n)}) are of {strange.classes:,} {classes} that no "
            f"row of train has{_named(strange.examples, strange.classes)}: a model that learned "
            "from train cannot answer them rightly",
            evidence=(CARD_TABLE,),
            recommendation="See whether these labels are other spellings of known ones; if not, "
            "declare the data that the model learned them from, or leave these rows out",
            affected=split.role,
        )
    ]


def _of_groups(split: SplitFacts, sensitive: Sequence[str]) -> list[Finding]:
    card = split.card
    if card is None or card.grouping is None or card.grouping.column in sensitive:
        return []
    found = []
    for shared in card.shared_groups:
        if not shared.groups or not effect_of(split, shared.other):
            continue
        found.append(
            Finding(
                severity="medium" if (split.role, shared.other) == ("test", "train") else "low",
                claim=f"{shared.groups:,} of {card.grouping.groups:,} groups of {split.role} "
                f"({card.grouping.column!r}) also have rows in {shared.other}"
                f"{_named(shared.examples, shared.groups)}, with {shared.rows:,} of {split.n:,} "
                f"rows of {split.role}: rows of one group are alike, so what is measured on them "
                "need not hold for groups that are new to the model",
                evidence=(GROUPS_TABLE,),
                recommendation="Split the source so that each group is in one split only; or "
                "leave schema.group out, if rows of one group are no more alike than others",
                affected=split.role,
            )
        )
    return found


def data_warnings(
    data: Iterable[SplitFacts], schema: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Return one line for each finding, and for each uneven or empty class."""
    splits = tuple(data)
    lines = [f"{finding.severity}: {finding.claim}." for finding in data_findings(splits, schema)]
    return (*lines, *(f"{line}." for split in splits for line in _uneven(split)))


def overlaps_of(split: SplitFacts) -> tuple[Overlap, ...]:
    """Return the overlaps of a split with at least one row."""
    card = split.card
    return tuple(o for o in card.overlaps if o.rows) if card is not None else ()


def shared_rows(split: SplitFacts, overlap: Overlap) -> str:
    """Return how many rows are shared as a clause: "3 of 50 test rows (6.0 %) also stand in …"."""
    noun = "row" if split.n == 1 else "rows"
    verb = "stands" if overlap.rows == 1 else "stand"
    text = (
        f"{overlap.rows:,} of {split.n:,} {split.role} {noun} ({_percent(overlap.rows, split.n)}) "
        f"also {verb} in {overlap.other}"
    )
    if overlap.other_label:
        text += f", {overlap.other_label:,} with another label"
    return text


def effect_of(split: SplitFacts, other: str) -> str:
    """Return what rows that a split shares with the split `other` do to the results, as a clause;
    empty where they do nothing.
    """
    role = split.role
    if (role, other) == ("test", "train"):
        quality = (
            "test errors are too small" if _regression(split) else "accuracy is too favourable"
        )
        return f"{quality}, and membership inference is unreliable"
    if (role, other) == ("calibration", "train"):
        return "thresholds are set on rows that the model learned, as if they were new to it"
    if (role, other) == ("test", "calibration"):
        return "thresholds are judged on rows that they were set on, which is too favourable"
    if role.startswith("ood."):
        known = "learned them" if other == "train" else "meets them in test as known ones"
        return f"they count as foreign although the model {known}, so detection looks worse"
    if role.startswith("shift.") and other == "train":
        return "results under this shift are of rows that the model learned: too favourable"
    return ""


def reasons_of(split: SplitFacts, overlap: Overlap) -> str:
    """Return why rows of test that stand in train do that to the results, in sentences."""
    if (split.role, overlap.other) != ("test", "train"):
        return ""
    text = "The model learned these rows, and the test counts them as new to it"
    if not _regression(split):
        points = _percent(overlap.rows, split.n).removesuffix(" %")
        text += f"; without them, test accuracy differs by at most {points} percentage points"
    text += (
        ". Membership inference counts them as non-members although they are members, which makes "
        "an attack look weaker than it is."
    )
    if overlap.other_label:
        text += " Where the label differs, no answer is right in both splits."
    card = split.card
    if card is not None and card.features and card.duplicates:
        text += (
            f" {_percent(card.duplicates, split.n)} of the test rows repeat another row of test "
            "too: some equal rows may be different records that the columns do not tell apart."
        )
    return text


def _regression(split: SplitFacts) -> bool:
    return split.card is not None and split.card.target is not None


def _uneven(split: SplitFacts) -> Sequence[str]:
    balance = split.card.balance if split.card is not None else None
    if balance is None or balance.classes < 2:
        return ()
    empty = balance.classes - balance.present
    if empty:
        verb = "has" if empty == 1 else "have"
        noun = "class" if balance.classes == 1 else "classes"
        named = _named([name for name, count in split.class_counts.items() if count == 0])
        return (
            f"data.{split.role}: {empty:,} of {balance.classes:,} {noun} {verb} no row{named}; "
            "nothing is measured about what is not there",
        )
    if balance.ratio is None or balance.ratio < UNEVEN:
        return ()
    return (
        f"data.{split.role}: the largest class has {balance.ratio:,.0f} times the rows of the "
        f"smallest ({balance.largest:,} and {balance.smallest:,}); accuracy says little about the "
        "small one",
    )


def _named(names: Sequence[str], count: int = 0, most: int = 5) -> str:
    if not names:
        return ""
    shown = names[:most]
    more = ", …" if max(count, len(names)) > len(shown) else ""
    return f" ({', '.join(map(repr, shown))}{more})"


def _percent(part: int, whole: int) -> str:
    """Return a share in percent, with two digits where it is small."""
    share = 100 * part / whole if whole else 0.0
    if share >= 1:
        return f"{share:.1f} %"
    return f"{share:.2g} %" if share >= 0.001 else "< 0.001 %"
