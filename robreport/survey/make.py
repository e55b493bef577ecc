"""The cards of all splits of an audit, made together: what stands in two of them shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema, Split
from robreport.classes import names_in_order
from robreport.datacard import (
    Balance,
    FeatureCard,
    Grouping,
    Overlap,
    SharedGroups,
    SplitCard,
    TargetRange,
    Unlearned,
)
from robreport.survey.equal_rows import row_groups
from robreport.survey.values import describe_features, describe_target, survey

Array = npt.NDArray[Any]

EXAMPLES = 5
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class _Content:
    """A split as group numbers of its rows, and codes of its labels (None: not comparable).

    ``named`` counts the rows of each declared group.
    """

    groups: Array
    labels: Array | None
    index: Array
    named: Mapping[str, int]


def make_cards(
    splits: Mapping[str, Split], schema: DataSchema, whole: Mapping[str, Split] | None = None
) -> dict[str, SplitCard]:
    """Return the card of each split by role.

    A card describes the rows in use. What it shares with another split is looked for among all
    rows of the other: `whole` holds the splits that a limit cut, as they were before.

    The data is read in chunks, so that memory-mapped splits may be larger than the memory; what is
    kept beside it is about 100 bytes a row.

    Raises
    ------
    DataError
        A value is infinite.
    ValueError
        The rows of two splits have different shapes.
    """
    uncut = whole or {}
    found = _contents([*splits.values(), *uncut.values()])
    contents = dict(zip(splits, found, strict=False))
    every = {**contents, **dict(zip(uncut, found[len(splits) :], strict=True))}
    overlaps: dict[str, list[Overlap]] = {role: [] for role in splits}
    shared: dict[str, list[SharedGroups]] = {role: [] for role in splits}
    size = 1 + max((int(c.groups.max()) for c in found if len(c.groups)), default=-1)
    for role, other in compared_pairs(tuple(splits)):
        overlaps[role].append(_overlap(contents[role], every[other], other, size))
        if splits[role].groups is not None and splits[other].groups is not None:
            shared[role].append(_shared_groups(contents[role], every[other], other))
    learned = uncut.get("train") or splits.get("train")
    return {
        role: replace(
            _card(split, schema, contents[role], tuple(overlaps[role])),
            declared=len(uncut.get(role, split)),
            grouping=_grouping(split, schema, contents[role].named),
            shared_groups=tuple(shared[role]),
            unlearned=_unlearned(split, learned, schema),
        )
        for role, split in splits.items()
    }


def compared_pairs(roles: Sequence[str]) -> list[tuple[str, str]]:
    """Return which split's rows are looked for in which other split.

    What is judged is looked for in what came before it: test in train and calibration, calibration
    in train; every named set in train and in test.
    """
    pairs = [("test", "train"), ("test", "calibration"), ("calibration", "train")]
    named = [role for role in roles if "." in role]
    pairs += [(role, other) for role in named for other in ("train", "test")]
    return [pair for pair in pairs if pair[0] in roles and pair[1] in roles]


def _labelled(split: Split) -> bool:
    """Whether labels can be compared: those of a foreign set mean something else."""
    return split.y is not None and not split.role.startswith("ood.")


def _contents(splits: Sequence[Split]) -> list[_Content]:
    groups = row_groups([split.x for split in splits])
    labels = [np.asarray(s.y, dtype=np.float64) for s in splits if _labelled(s)]
    codes: Iterator[Array] = iter(())
    if labels:
        inverse = np.unique(np.concatenate(labels), return_inverse=True)[1].astype(np.int64)
        codes = iter(np.split(inverse, np.cumsum([len(some) for some in labels])[:-1]))
    return [
        _Content(
            own, next(codes) if _labelled(split) else None, np.asarray(split.index), _named(split)
        )
        for split, own in zip(splits, groups, strict=True)
    ]


def _named(split: Split) -> Mapping[str, int]:
    """Return the rows of each group; those that belong to none are left out."""
    if split.groups is None:
        return {}
    counts: Counter[str] = Counter()
    for start in range(0, len(split.groups), _CHUNK):
        counts.update(split.groups[start : start + _CHUNK].tolist())
    del counts[""]
    return counts


def _grouping(split: Split, schema: DataSchema, named: Mapping[str, int]) -> Grouping | None:
    if split.groups is None:
        return None
    return Grouping(
        column=schema.group,
        groups=len(named),
        largest=max(named.values(), default=0),
        without=len(split) - sum(named.values()),
    )


def _shared_groups(mine: _Content, theirs: _Content, other: str) -> SharedGroups:
    both = [name for name in mine.named if name in theirs.named]
    return SharedGroups(
        other=other,
        groups=len(both),
        rows=sum(mine.named[name] for name in both),
        examples=names_in_order(both)[:EXAMPLES],
    )


def _unlearned(split: Split, learned: Split | None, schema: DataSchema) -> Unlearned | None:
    """Return the classes that a model which learned from train alone cannot know."""
    if schema.task != "classification" or learned is None or not _labelled(learned):
        return None
    if split.role == "train" or not _labelled(split):
        return None
    known, counts = (
        np.bincount(np.asarray(part.labels), minlength=schema.n_classes)
        for part in (learned, split)
    )
    strange = np.flatnonzero((known == 0) & (counts > 0))
    if not len(strange):
        return None
    return Unlearned(
        classes=len(strange),
        rows=int(counts[strange].sum()),
        examples=tuple(schema.classes[code] for code in strange[:EXAMPLES]),
    )


def _overlap(mine: _Content, theirs: _Content, other: str, size: int) -> Overlap:
    """Return how much of `mine` stands in `theirs`; group numbers are below `size`."""
    first = np.full(size, -1, dtype=np.int64)
    # written from the last to the first, so that the first stays
    first[theirs.groups[::-1]] = np.arange(len(theirs.groups) - 1, -1, -1)
    shared = np.flatnonzero(first[mine.groups] >= 0)
    same = different = None
    if mine.labels is not None and theirs.labels is not None:
        own_groups, own_labels = mine.groups[shared], mine.labels[shared]
        classes = 1 + int(max(mine.labels.max(initial=0), theirs.labels.max(initial=0)))
        known = np.isin(own_groups * classes + own_labels, theirs.groups * classes + theirs.labels)
        low, high = _label_range(theirs.groups, theirs.labels, size)
        apart = (low[own_groups] != own_labels) | (high[own_groups] != own_labels)
        same, different = int(known.sum()), int(apart.sum())
    return Overlap(
        other=other,
        rows=len(shared),
        same_label=same,
        other_label=different,
        examples=tuple(
            (int(mine.index[row]), int(theirs.index[first[mine.groups[row]]]))
            for row in shared[:EXAMPLES]
        ),
    )


def _label_range(groups: Array, labels: Array, size: int) -> tuple[Array, Array]:
    """Return the smallest and largest label code in each group."""
    low = np.full(size, np.iinfo(np.int64).max)
    high = np.full(size, -1, dtype=np.int64)
    np.minimum.at(low, groups, labels)
    np.maximum.at(high, groups, labels)
    return low, high


def _card(
    split: Split, schema: DataSchema, content: _Content, overlaps: tuple[Overlap, ...]
) -> SplitCard:
    seen = survey(split.x, schema.bounds, f"data.{split.role}")
    numbers, own, sizes = np.unique(content.groups, return_inverse=True, return_counts=True)
    contradicting = None
    if content.labels is not None:
        low, high = _label_range(own, content.labels, len(numbers))
        contradicting = int((sizes[low != high] - 1).sum())
    features: tuple[FeatureCard, ...] = ()
    if schema.layout == "table" and split.x.ndim == 2:
        features = describe_features(split.x, seen, schema)
    return SplitCard(
        values=len(seen.low),
        constant=seen.constant,
        missing=int(seen.missing.sum()),
        rows_missing=seen.rows_missing,
        outside=seen.outside,
        duplicates=len(content.groups) - len(numbers),
        contradicting=contradicting,
        balance=_balance(split, schema),
        target=_target(split, schema),
        features=features,
        overlaps=overlaps,
    )


def _balance(split: Split, schema: DataSchema) -> Balance | None:
    if schema.task != "classification" or not _labelled(split) or not schema.classes:
        return None
    counts = np.bincount(np.asarray(split.labels), minlength=schema.n_classes)
    largest, smallest = int(counts.max()), int(counts.min())
    return Balance(
        classes=len(counts),
        present=int(np.count_nonzero(counts)),
        largest=largest,
        smallest=smallest,
        ratio=largest / smallest if smallest else None,
    )


def _target(split: Split, schema: DataSchema) -> TargetRange | None:
    if schema.task != "regression" or not _labelled(split) or not len(split):
        return None
    return describe_target(np.asarray(split.labels))
