"""One list of classes for all splits, in one order, whatever each loader saw of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from robreport.errors import DataError, near_misses
from robreport.loading import LoadedData

_DECIMAL = re.compile(r"[+-]?([0-9]{1,200}(\.[0-9]{0,200})?|\.[0-9]{1,200})([eE][+-]?[0-9]{1,3})?")
_LEADING = ("train", "test", "calibration")


def number_of(name: str) -> Decimal | None:
    """Return the number that a name spells in decimals, exactly; None where it spells none."""
    return Decimal(name) if _DECIMAL.fullmatch(name) else None


def names_in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names sorted: as decimal numbers where all are, else as text.

    "9" stands before "10", and "2.5" between "2" and "3". Two spellings of one number, such as "1"
    and "01", are sorted as text.
    """
    every = set(names)
    numbers = {name: number_of(name) for name in every}
    if None in numbers.values():
        return tuple(sorted(every))
    return tuple(sorted(every, key=lambda name: (numbers[name], name)))


def unify_classes(loaded: dict[str, LoadedData]) -> tuple[str, ...]:
    """Give all labelled splits the codes of one list of classes (changed in place).

    Loaders that name their classes may have seen only some of them; names are matched. Foreign
    sets keep their own, which mean something else.

    Raises
    ------
    DataError
        Two splits have no class in common, or spell the same number in two ways.
    """
    every_named = {
        role: d.classes
        for role, d in loaded.items()
        if d.classes and d.y is not None and not role.startswith("ood.")
    }
    # where nobody named the classes, their numbers stand for them: a split with names gives those
    named = {r: n for r, n in every_named.items() if not loaded[r].numbered} or every_named
    _refuse_strangers(named, loaded)
    _refuse_spellings(named, loaded)
    every = union_of_names(list(named.values()))
    numbered = next((role for role in every_named if role not in named), None)
    whole = all(number_of(name) is not None for name in every)
    if numbered is not None and whole and not are_numbers(every):
        raise DataError(
            f"data: the labels of {_told(numbered, loaded)} are class numbers, which count from 0, "
            f"and those of {_told(next(iter(named)), loaded)} the names {_listed(every)}; say in "
            f"[data.{numbered}] what its numbers stand for, with classes."
        )
    place = {name: code for code, name in enumerate(every)}
    for role, names in named.items():
        data = loaded[role]
        codes = np.array([place[name] for name in names], dtype=np.int64)
        loaded[role] = replace(data, y=codes[np.asarray(data.y)], classes=every)
    return every


def _refuse_strangers(
    named: Mapping[str, tuple[str, ...]], loaded: Mapping[str, LoadedData]
) -> None:
    """Refuse two splits without a common class: nothing of one could be said of the other."""
    pairs: list[tuple[str, str]] = [
        (role, other)
        for i, role in enumerate(named)
        for other in list(named)[:i]
        if role in _LEADING and other in _LEADING
    ]
    first = next((role for role in named if role in _LEADING), None)
    known = {name for role, names in named.items() if role in _LEADING for name in names}
    if first is not None:
        others = {role: names for role, names in named.items() if role not in _LEADING}
        pairs += [(role, first) for role, names in others.items() if known.isdisjoint(names)]
    for role, other in pairs:
        if set(named[role]).isdisjoint(named[other]):
            raise DataError(
                f"data: {_told(other, loaded)} and {_told(role, loaded)} have no label in common: "
                f"{_listed(named[other])} and {_listed(named[role])}; say which stands for which, "
                "in a table with label_map, or give the same classes the same names."
            )


def _refuse_spellings(
    named: Mapping[str, tuple[str, ...]], loaded: Mapping[str, LoadedData]
) -> None:
    """Refuse "1" in one split and "01" in another, unless a split tells them apart itself."""
    seen: dict[Decimal, tuple[str, str]] = {}
    for role, names in named.items():
        for name in names:
            number = number_of(name)
            if number is None:
                continue
            before, where = seen.setdefault(number, (name, role))
            if before != name and not any({before, name} <= set(n) for n in named.values()):
                raise DataError(
                    f"data: the label {name!r} of {_told(role, loaded)} is {before!r} in "
                    f"{_told(where, loaded)}; give the number one spelling with label_map."
                )


def _told(role: str, loaded: Mapping[str, LoadedData]) -> str:
    source = " ".join(loaded[role].source.split())
    if not source:
        return f"data.{role}"
    return f"data.{role} ({source if len(source) <= 80 else source[:77] + '...'})"


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(n if len(n) <= 60 else n[:57] + "...") for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the names are 0, 1, 2 … and so may stand for classes that nobody named."""
    return tuple(names) == tuple(str(i) for i in range(len(names)))


def union_of_names(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return one list of names: the longest where it holds the others, else the sorted union.

    Numbers stand in their order, texts in theirs.
    """
    longest = max(lists, key=len, default=())
    names = {name for names in lists for name in names}
    if names == set(longest):
        return longest
    return names_in_order(names)


def _key(name: str) -> object:
    """Return what is the same for "1" and "1.0", and else for no two names."""
    number = number_of(name)
    return name if number is None else number


def class_names(declared: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the declared names; they must name the found classes, in their order.

    Raises
    ------
    DataError
        A name stands twice, there are too few, or they are the found ones in another order.
    """
    if not declared:
        return found
    if len(set(declared)) < len(declared):
        raise DataError("data.schema.classes names a class twice.")
    numbered = are_numbers(found)
    if len(declared) < len(found) and not numbered:
        raise DataError(
            f"data.schema.classes names {len(declared)} classes; the labels have {len(found)}: "
            f"{', '.join(found[:20])}."
        )
    keys = [_key(name) for name in declared]
    moved = not numbered and any(
        _key(name) in keys and keys[i] != _key(name) for i, name in enumerate(found)
    )
    if moved:
        raise DataError(
            "data.schema.classes gives the classes in another order than the loader, which has "
            f"{', '.join(found[:20])}."
        )
    return declared


def positive_last(
    loaded: dict[str, LoadedData], names: tuple[str, ...], positive: str
) -> tuple[str, ...]:
    """Return the two classes with the positive one last; labels change their codes in place.

    Raises
    ------
    DataError
        There are not two classes, or none of them has that name.
    """
    if len(names) != 2:
        raise DataError(
            f"data.schema.positive is for two classes; the data has {len(names)}: "
            f"{', '.join(names[:20]) or 'none'}."
        )
    if positive not in names:
        same = [name for name in names if _key(name) == _key(positive)]
        positive = same[0] if len(same) == 1 else positive
    if positive not in names:
        close = near_misses(positive, names)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise DataError(
            f"data.schema.positive is {positive!r}; the classes are {names[0]!r} and "
            f"{names[1]!r}.{hint}"
        )
    if names[1] == positive:
        return names
    for role, data in loaded.items():
        if data.y is not None and not role.startswith("ood."):
            loaded[role] = replace(data, y=1 - np.asarray(data.y), classes=data.classes[::-1])
    return names[::-1]
