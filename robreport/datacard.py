"""The values of a data card: plain, frozen, and checked when a record is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How evenly a split's rows are spread over the classes.

    Attributes
    ----------
    classes : int
        Classes of the schema.
    present : int
        Those with at least one row here.
    largest, smallest : int
        Rows of the largest class, and of the smallest (0 where one has none).
    ratio : float or None
        ``largest / smallest``; None where a class has no row.
    """

    classes: int
    present: int
    largest: int
    smallest: int
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRange:
    """Smallest value, quartiles (linear interpolation) and largest value of a regression target."""

    low: float
    q1: float
    median: float
    q3: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCard:
    """One column of a table in one split.

    ``low``, ``median`` and ``high`` are of the values that are there; None where all are missing,
    and for a category, whose codes have no order. ``distinct`` counts different values, a missing
    one not among them. ``common`` names the most frequent category (the first of several), which
    ``common_rows`` have; ``categories`` is how many the schema knows.
    """

    name: str
    low: float | None
    median: float | None
    high: float | None
    missing: int
    distinct: int
    kind: Literal["number", "integer", "category"] = "number"
    categories: int = 0
    common: str = ""
    common_rows: int = 0

    @property
    def lopsided(self) -> float:
        """How near the median lies to an end of the range: 0 in the middle, 1 at an end."""
        if self.low is None or self.median is None or self.high is None or self.low >= self.high:
            return 0.0
        # halves first: the whole range of doubles is wider than a double holds
        middle, half = self.low / 2 + self.high / 2, self.high / 2 - self.low / 2
        return min(1.0, abs(self.median - middle) / half) if half > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How many rows of a split stand in another split too.

    Attributes
    ----------
    other : str
        Role of the other split.
    rows : int
        Rows of this split whose inputs equal those of a row of the other.
    same_label, other_label : int or None
        Of these, how many have an equal row there with the same label, and with another label
        (a row may count in both); None where the labels cannot be compared.
    examples : tuple of (int, int)
        Row numbers in the sources, here and there, of the first few.
    """

    other: str
    rows: int
    same_label: int | None = None
    other_label: int | None = None
    examples: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which groups the rows of a split belong to, by the column that `[data] schema` names.

    Attributes
    ----------
    column : str
    groups : int
        Different groups.
    largest : int
        Rows of the largest one.
    without : int
        Rows that belong to none, since the value is missing.
    """

    column: str
    groups: int
    largest: int
    without: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedGroups:
    """How many groups of a split have rows in another split too.

    Attributes
    ----------
    other : str
        Role of the other split.
    groups, rows : int
        Groups of this split that the other has, and their rows here.
    examples : tuple of str
        The first few.
    """

    other: str
    groups: int
    rows: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlearned:
    """Classes of a split that no declared row of train has: how many, their rows, a few names."""

    classes: int
    rows: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCard:
    """What one split holds.

    Attributes
    ----------
    values : int
        Numbers in one row.
    constant : int
        Features that have no two different values in this split.
    missing, rows_missing : int
        Values that are missing, and rows with at least one.
    outside : int or None
        Values outside the declared bounds; None where none are declared.
    duplicates : int
        Rows whose inputs equal those of an earlier row of the split.
    contradicting : int or None
        Of these, how many belong to equal rows that do not all have the same label; None where
        there are no labels to compare.
    balance, target
        Of a classification or a regression; None without labels.
    features : tuple of FeatureCard
        Of a table; of one with very many columns the most unusual, in the order of the columns.
    overlaps : tuple of Overlap
        With the other splits that this one is compared with: rows in use here, looked for among
        all rows that are declared of the other, also those that its limit leaves out.
    declared : int
        Rows of the split before its limit; 0 in records of before it was counted.
    grouping : Grouping or None
        None where no group column is declared.
    shared_groups : tuple of SharedGroups
        With the same other splits as `overlaps`, counted in the same way.
    unlearned : Unlearned or None
        None where there is nothing of the kind, or no train split with labels to compare with.
    """

    values: int
    constant: int
    missing: int
    rows_missing: int
    duplicates: int
    outside: int | None = None
    contradicting: int | None = None
    balance: Balance | None = None
    target: TargetRange | None = None
    features: tuple[FeatureCard, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    declared: int = 0
    grouping: Grouping | None = None
    shared_groups: tuple[SharedGroups, ...] = ()
    unlearned: Unlearned | None = None


def unusual_first(features: Iterable[FeatureCard]) -> list[FeatureCard]:
    """Return features with missing values first, then constant ones, then the lopsided."""
    return sorted(features, key=lambda f: (-f.missing, f.distinct > 1, -f.lopsided))


def card_problem(card: SplitCard, n: int) -> str:
    """Return what contradicts itself in the card of a split of `n` rows, or an empty string."""
    total = n * card.values
    counted: list[tuple[str, int | None, int]] = [
        ("values", card.values, 2**62),
        ("constant", card.constant, card.values),
        ("missing", card.missing, total),
        ("rows_missing", card.rows_missing, n),
        ("outside", card.outside, total),
        ("duplicates", card.duplicates, max(0, n - 1)),
        ("contradicting", card.contradicting, card.duplicates),
    ]
    if card.balance is not None:
        counted += [
            ("balance.present", card.balance.present, card.balance.classes),
            ("balance.largest", card.balance.largest, n),
            ("balance.smallest", card.balance.smallest, card.balance.largest),
        ]
    for i, feature in enumerate(card.features):
        counted += [
            (f"features.{i}.missing", feature.missing, n),
            (f"features.{i}.distinct", feature.distinct, n - feature.missing),
            (f"features.{i}.common_rows", feature.common_rows, n - feature.missing),
        ]
    for i, overlap in enumerate(card.overlaps):
        counted += [
            (f"overlaps.{i}.rows", overlap.rows, n),
            (f"overlaps.{i}.same_label", overlap.same_label, overlap.rows),
            (f"overlaps.{i}.other_label", overlap.other_label, overlap.rows),
        ]
    if card.declared:
        counted.append(("the number of rows in use", n, card.declared))
    if card.grouping is not None:
        counted += [
            ("grouping.without", card.grouping.without, n),
            ("grouping.groups", card.grouping.groups, n - card.grouping.without),
            ("grouping.largest", card.grouping.largest, n - card.grouping.without),
        ]
    for i, shared in enumerate(card.shared_groups):
        groups = 0 if card.grouping is None else card.grouping.groups
        counted += [
            (f"shared_groups.{i}.groups", shared.groups, groups),
            (f"shared_groups.{i}.rows", shared.rows, n),
        ]
    if card.unlearned is not None:
        counted += [
            ("unlearned.rows", card.unlearned.rows, n),
            ("unlearned.classes", card.unlearned.classes, card.unlearned.rows),
        ]
    for name, value, most in counted:
        if value is not None and not 0 <= value <= most:
            return f"{name} is {value}, which is not between 0 and {most}"
    return ""
