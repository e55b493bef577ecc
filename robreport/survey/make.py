"""The cards of all splits of an audit, made together: what stands in two of them shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import DataSchema, Split
from robreport.datacard import Balance, FeatureCard, Overlap, SplitCard, TargetRange
from robreport.survey.equal_rows import row_groups
from robreport.survey.values import describe_features, describe_target, survey

Array = npt.NDArray[Any]

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class _Content:
    """A split as group numbers of its rows, and codes of its labels (None: not comparable)."""

    groups: Array
    labels: Array | None
    index: Array


def make_cards(splits: Mapping[str, Split], schema: DataSchema) -> dict[str, SplitCard]:
    """Return the card of each split by role.

    The data is read in chunks, so that memory-mapped splits may be larger than the memory; what is
    kept beside it is about 100 bytes a row.

    Raises
    ------
    DataError
        A value is infinite.
    ValueError
        The rows of two splits have different shapes.
    """
    contents = _contents(splits)
    overlaps: dict[str, list[Overlap]] = {role: [] for role in splits}
    size = 1 + max((int(c.groups.max()) for c in contents.values() if len(c.groups)), default=-1)
    for role, other in compared_pairs(tuple(splits)):
        overlaps[role].append(_overlap(contents[role], contents[other], other, size))
    return {
        role: _card(split, schema, contents[role], tuple(overlaps[role]))
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


def _contents(splits: Mapping[str, Split]) -> dict[str, _Content]:
    groups = row_groups([split.x for split in splits.values()])
    labels = [np.asarray(s.y, dtype=np.float64) for s in splits.values() if _labelled(s)]
    codes: Iterator[Array] = iter(())
    if labels:
        inverse = np.unique(np.concatenate(labels), return_inverse=True)[1].astype(np.int64)
        codes = iter(np.split(inverse, np.cumsum([len(some) for some in labels])[:-1]))
    return {
        role: _Content(own, next(codes) if _labelled(split) else None, np.asarray(split.index))
        for (role, split), own in zip(splits.items(), groups, strict=True)
    }


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
