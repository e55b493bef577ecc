"""The data card of the scope part: what each split holds, and which rows stand in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robreport.datacard import FeatureCard, SplitCard, unusual_first
from robreport.datafindings import (
    CARD_TABLE,
    GROUPS_TABLE,
    OVERLAP_TABLE,
    effect_of,
    overlaps_of,
    reasons_of,
)
from robreport.document import Block, Callout, Note, Prose, TableBlock
from robreport.outcome import AuditRun, SplitFacts
from robreport.report import numbers, wording
from robreport.report.entries import Anchors
from robreport.result import Column

MOST_CLASSES = 20
"""More are summed up by the largest and the smallest."""
MOST_FEATURES = 30
MOST_SPLITS = 30
MOST_COUNTED = 6
"""Columns of the table of classes: more splits than these do not fit on a page."""
_NAME = 60


def card_blocks(run: AuditRun, anchors: Anchors) -> list[Block]:
    """Return the blocks of the data card; none for a record of before there was one."""
    described = [(split, split.card) for split in run.data if split.card is not None]
    if not described:
        return []
    blocks: list[Block] = [_splits_table(run, described, anchors)]
    blocks += _classes(run, anchors)
    blocks += _overlaps(run, described, anchors)
    blocks += _groups(described, anchors)
    blocks += _features(run, described, anchors)
    return blocks


def _splits_table(
    run: AuditRun, described: Sequence[tuple[SplitFacts, SplitCard]], anchors: Anchors
) -> TableBlock:
    regression = run.schema.get("task") == "regression"
    label = (
        (Column(key="target", title="Target"),)
        if regression
        else (
            Column(key="classes", title="Classes"),
            Column(key="ratio", title="Largest to smallest class", kind="number"),
        )
    )
    return TableBlock(
        anchor=anchors.of(CARD_TABLE),
        title="Data card",
        columns=(
            Column(key="role", title="Split"),
            *label,
            Column(key="constant", title="Constant features", kind="integer"),
            Column(key="missing", title="Missing values", kind="integer"),
            Column(key="duplicates", title="Repeated rows", kind="integer"),
        ),
        rows=tuple(
            (
                split.role,
                *((_target(card),) if regression else _balance(split, card)),
                card.constant,
                _missing(split, card),
                _repeated(split, card),
            )
            for split, card in described[:MOST_SPLITS]
        ),
        caption=_bounds_words(run, described),
        rows_total=len(described) if len(described) > MOST_SPLITS else 0,
    )


def _target(card: SplitCard) -> Any:
    target = card.target
    if target is None:
        return None
    low, q1, median, q3, high = (
        numbers.number(v) for v in (target.low, target.q1, target.median, target.q3, target.high)
    )
    return (f"{low} to {high}", Note(text=f"quartiles {q1}, {median}, {q3}"))


def _balance(split: SplitFacts, card: SplitCard) -> tuple[Any, Any]:
    balance = card.balance
    if balance is None:
        return None, None
    names = _extremes(split) if balance.classes > MOST_CLASSES else ()
    ratio = (balance.ratio, *names) if names else balance.ratio
    classes: Any = f"{balance.present:,} of {balance.classes:,}"
    if card.unlearned is not None:
        strange = f"{card.unlearned.classes:,} not in train, {card.unlearned.rows:,} rows"
        classes = (classes, Note(text=strange))
    return classes, ratio


def _extremes(split: SplitFacts) -> tuple[Note, ...]:
    counts = split.class_counts
    if not counts:
        return ()
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    return (
        Note(text=f"{_short(most)} {counts[most]:,}, {_short(least)} {counts[least]:,}"),
    )  # fmt: skip


def _missing(split: SplitFacts, card: SplitCard) -> Any:
    if not card.missing:
        return 0
    rows = f"in {wording.count(card.rows_missing, 'row')}"
    return (card.missing, Note(text=f"{rows}, {_share(card.rows_missing, split.n)}"))


def _repeated(split: SplitFacts, card: SplitCard) -> Any:
    if not card.duplicates:
        return 0
    text = _share(card.duplicates, split.n)
    if card.contradicting:
        text += f", {card.contradicting:,} with labels in conflict"
    return (card.duplicates, Note(text=text))


def _bounds_words(run: AuditRun, described: Sequence[tuple[SplitFacts, SplitCard]]) -> str:
    text = "Repeated rows equal an earlier row of the same split in every input."
    cut = [
        f"{split.n:,} of {card.declared:,} in {split.role}"
        for split, card in described
        if card.declared > split.n
    ]
    if cut:
        text = f"Described are the rows in use: {wording.listed(cut[:MOST_COUNTED])}. {text}"
    outside = {split.role: card.outside for split, card in described if card.outside is not None}
    if not outside:
        return f"{text} No bounds are declared for the values."
    beyond = [f"{count:,} in {role}" for role, count in outside.items() if count]
    if beyond:
        return f"{text} Values outside the declared bounds: {wording.listed(beyond)}."
    return f"{text} All values lie within the declared bounds{_bounds(run.schema.get('bounds'))}."


def _bounds(given: Any) -> str:
    if isinstance(given, list | tuple) and all(isinstance(side, int | float) for side in given):
        return f", {' to '.join(numbers.number(side) for side in given)}"
    return ", which each feature has of its own"


def _classes(run: AuditRun, anchors: Anchors) -> list[Block]:
    """The rows of each class; nothing where there are too many classes, or no labels."""
    counted = [split for split in run.data if split.card is not None and split.class_counts]
    names = list(dict.fromkeys(name for split in counted for name in split.class_counts))
    if not 1 < len(names) <= MOST_CLASSES:
        return []
    shown = counted[:MOST_COUNTED]
    left = [split.role for split in counted[MOST_COUNTED:]]
    return [
        TableBlock(
            anchor=anchors.of("data-classes"),
            title="Rows of each class",
            columns=(
                Column(key="class", title="Class"),
                *(
                    Column(key=f"s{i}", title=split.role, kind="integer")
                    for i, split in enumerate(shown)
                ),
            ),
            rows=tuple(
                (_short(name), *(split.class_counts.get(name) for split in shown)) for name in names
            ),
            caption=f"Not shown: {wording.count(len(left), 'further split')}." if left else "",
        )
    ]


def _features(
    run: AuditRun, described: Sequence[tuple[SplitFacts, SplitCard]], anchors: Anchors
) -> list[Block]:
    """The columns of a table, as the model learned them."""
    tables = {split.role: (split, card) for split, card in described if card.features}
    role = next((role for role in ("train", "test", *tables) if role in tables), None)
    if role is None:
        return []
    split, card = tables[role]
    shown = card.features
    if len(shown) > MOST_FEATURES:
        kept = {id(feature) for feature in unusual_first(shown)[:MOST_FEATURES]}
        shown = tuple(feature for feature in shown if id(feature) in kept)
    left = card.values - len(shown)
    caption = (
        f"The {len(shown)} most unusual of {card.values:,}: those with missing values first, then "
        "constant ones, then those whose median lies near an end of their range."
        if left > 0
        else ""
    )
    return [
        TableBlock(
            anchor=anchors.of("data-features"),
            title=f"Features of {role}",
            columns=(
                Column(key="name", title="Feature"),
                Column(key="values", title="Smallest · median · largest, or most frequent"),
                Column(key="distinct", title="Different values", kind="integer"),
                Column(key="missing", title="Missing", kind="integer"),
            ),
            rows=tuple(
                (_named(feature, run), _range(feature, split), feature.distinct, feature.missing)
                for feature in shown
            ),
            caption=caption,
        )
    ]


def _named(feature: FeatureCard, run: AuditRun) -> Any:
    marks = [
        word
        for word, names in (
            ("sensitive", run.schema.get("sensitive")), ("frozen", run.schema.get("frozen")),
        )
        if isinstance(names, list | tuple) and feature.name in names
    ]  # fmt: skip
    name = _short(feature.name)
    return (name, Note(text=", ".join(marks))) if marks else name


def _range(feature: FeatureCard, split: SplitFacts) -> Any:
    if feature.kind == "category":
        if not feature.distinct:
            return None
        return f"{_short(feature.common)} ({_share(feature.common_rows, split.n)})"
    if feature.low is None or feature.median is None or feature.high is None:
        return None
    ends = [numbers.number(value) for value in (feature.low, feature.median, feature.high)]
    return " · ".join(ends)


def _overlaps(
    run: AuditRun, described: Sequence[tuple[SplitFacts, SplitCard]], anchors: Anchors
) -> list[Block]:
    """The pairs of splits that share rows, with what that does to the results."""
    apart = [
        f"{split.role} and {overlap.other}"
        for split, card in described
        for overlap in card.overlaps
        if not overlap.rows
    ]
    blocks: list[Block] = []
    label = "target" if run.schema.get("task") == "regression" else "label"
    shared = [(split, overlap) for split, _ in described for overlap in overlaps_of(split)]
    if shared:
        blocks.append(
            TableBlock(
                anchor=anchors.of(OVERLAP_TABLE),
                title="Rows that stand in two splits",
                columns=(
                    Column(key="pair", title="Rows of"),
                    Column(key="rows", title="Shared rows", kind="integer"),
                    Column(key="share", title="Share", kind="share"),
                    Column(key="same", title=f"Same {label}", kind="integer"),
                    Column(key="other", title=f"Another {label}", kind="integer"),
                    Column(key="examples", title="First rows, here = there"),
                ),
                rows=tuple(
                    (
                        f"{split.role} in {overlap.other}",
                        overlap.rows,
                        overlap.rows / split.n,
                        overlap.same_label,
                        overlap.other_label,
                        ", ".join(f"{here} = {there}" for here, there in overlap.examples[:3]),
                    )
                    for split, overlap in shared[:MOST_SPLITS]
                ),
                caption="Equal in every input; a row may have equal rows with the same "
                f"{label} and with another. Rows in use of the one split are looked for among all "
                "rows declared of the other, also those that its limit leaves out. Rows are "
                "numbered as in their sources.",
                rows_total=len(shared) if len(shared) > MOST_SPLITS else 0,
            )
        )
    if apart:
        listed = apart[:MOST_COUNTED]
        if len(apart) > MOST_COUNTED:
            listed.append(wording.count(len(apart) - MOST_COUNTED, "further pair"))
        blocks.append(Prose(text=f"No row in common: {'; '.join(listed)}."))
    items = []
    for split, overlap in shared:
        effect = effect_of(split, overlap.other)
        short = f"{split.role} in {overlap.other}: {effect}." if effect else ""
        items.append(reasons_of(split, overlap) or short)
    items = list(dict.fromkeys(item for item in items if item))
    if items:
        blocks.append(
            Callout(title="What it does to the results.", items=tuple(items), tone="caution")
        )
    return blocks


def _groups(described: Sequence[tuple[SplitFacts, SplitCard]], anchors: Anchors) -> list[Block]:
    """How many groups each split has, and which splits share some."""
    grouped = [(split, card) for split, card in described if card.grouping is not None]
    if not grouped:
        return []
    rows = []
    for split, card in grouped[:MOST_SPLITS]:
        own = card.grouping
        if own is None:
            continue
        shared = [
            f"{wording.count(s.groups, 'group')} with {s.other} ({wording.count(s.rows, 'row')})"
            for s in card.shared_groups
        ]
        rows.append((split.role, own.groups, own.largest, own.without, "; ".join(shared) or None))
    column = next(card.grouping.column for _, card in grouped if card.grouping is not None)
    return [
        TableBlock(
            anchor=anchors.of(GROUPS_TABLE),
            title="Groups",
            columns=(
                Column(key="role", title="Split"),
                Column(key="groups", title="Groups", kind="integer"),
                Column(key="largest", title="Rows of the largest", kind="integer"),
                Column(key="without", title="Rows without a group", kind="integer"),
                Column(key="shared", title="Shared"),
            ),
            rows=tuple(rows),
            caption=f"Groups are the values of the column {_short(column)!r}. Those of the rows in "
            "use are looked for among all rows declared of the other split.",
            rows_total=len(grouped) if len(grouped) > MOST_SPLITS else 0,
        )
    ]


def _short(text: str) -> str:
    return text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"


def _share(part: int, whole: int) -> str:
    return numbers.share(part / whole) if whole else numbers.share(0.0)
