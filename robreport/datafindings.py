"""What the data itself gives reason to say: rows in two splits, and classes that hardly occur."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robreport.datacard import Overlap
from robreport.outcome import SplitFacts
from robreport.result import Finding, Severity

OVERLAP_TABLE = "data-overlap"
"""Id of the table that is the evidence."""
SERIOUS_SHARE = 0.01
UNEVEN = 10.0
"""From this ratio of the largest class to the smallest on, classes are called uneven."""

_SPLIT_ANEW = (
    "Remove these rows from one of the two splits, or split the source anew so that equal records "
    "stay together, and run the audit again"
)


def data_findings(data: Iterable[SplitFacts]) -> tuple[Finding, ...]:
    """Return a finding for each pair of splits that share rows which they should not share.

    Rows of test that stand in train: high above 1 % of the test rows, or where a label differs;
    else medium. Other pairs: medium above 1 %, else low. A shifted set may hold rows of test as
    they are, and an extra set may be anything: these are no findings.
    """
    found = []
    for split in data:
        for overlap in overlaps_of(split):
            effect = effect_of(split, overlap)
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
    return tuple(found)


def data_warnings(data: Iterable[SplitFacts]) -> tuple[str, ...]:
    """Return one line for each overlap that is a finding, and for each uneven or empty class."""
    splits = tuple(data)
    lines = [f"{finding.severity}: {finding.claim}." for finding in data_findings(splits)]
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


def effect_of(split: SplitFacts, overlap: Overlap) -> str:
    """Return what an overlap does to the results, as a clause; empty where it does nothing."""
    role, other = split.role, overlap.other
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


def _named(names: Sequence[str], most: int = 5) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > most else ""
    return f" ({', '.join(repr(name) for name in names[:most])}{more})"


def _percent(part: int, whole: int) -> str:
    """Return a share in percent, with two digits where it is small."""
    share = 100 * part / whole if whole else 0.0
    if share >= 1:
        return f"{share:.1f} %"
    return f"{share:.2g} %" if share >= 0.001 else "< 0.001 %"
