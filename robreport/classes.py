"""One list of classes for all splits, in one order, whatever each loader saw of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robreport.errors import DataError, near_misses
from robreport.loading import LoadedData

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")


def unify_classes(loaded: dict[str, LoadedData]) -> tuple[str, ...]:
    """Give all labelled splits the codes of one list of classes (changed in place).

    Loaders that name their classes may have seen only some of them; names are matched. Foreign
    sets keep their own, which mean something else.
    """
    named = {
        role: d.classes
        for role, d in loaded.items()
        if d.classes and d.y is not None and not role.startswith("ood.")
    }
    # where nobody named the classes, their numbers stand for them: a split with names gives those
    named = {r: n for r, n in named.items() if not loaded[r].numbered} or named
    every = union_of_names(list(named.values()))
    for role, names in named.items():
        data = loaded[role]
        codes = np.array([every.index(name) for name in names], dtype=np.int64)
        loaded[role] = replace(data, y=codes[np.asarray(data.y)], classes=every)
    return every


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
    return in_order(names)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Return names sorted: as numbers where all are, else as text."""
    if all(_WHOLE.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


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
    moved = [name for i, name in enumerate(found) if name in declared and declared[i] != name]
    if moved and not numbered:
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
