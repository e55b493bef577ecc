"""Hold the data's numbering of categories against the one that a boosted model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from robreport import DataSchema, ModelError
from robreport_plugins.loaders.wording import listed, shown

Array = npt.NDArray[Any]
Categories = Mapping[int, tuple[str, ...]]
"""The names of a feature's categories 0, 1, ..., for the features that a file names them of."""

_MOST_NAMED = 40


def check_categories(
    own: Categories, width: int, order: Array | None, schema: DataSchema | None, where: str
) -> None:
    """Refuse data whose codes do not mean to the model what they mean in the data.

    Parameters
    ----------
    own : mapping of int to tuple of str
        What the file says of its features' categories.
    width : int
        Number of features.
    order : array of int or None
        The data's column of each feature.
    schema : DataSchema or None
    where : str

    Raises
    ------
    ModelError
        A column's categories stand in another order, or are numbers that do not stand for
        themselves; the sentence says what to declare.
    """
    if schema is None or not schema.features:
        return
    for feature in range(width):
        column = schema.features[feature if order is None else int(order[feature])]
        words, names = schema.categories.get(column), own.get(feature)
        if words is None:
            if names is not None and _numbers(names) and not _are_codes(names):
                raise ModelError(
                    f"{where}: was trained on the categories {_list(names)} of the column "
                    f"{shown(column)}, and the data has numbers there; name it in "
                    "data.schema.categorical."
                )
            continue
        if names is None:
            # a model that was given numbers knows them, and not their places
            if _numbers(words) and not _are_codes(words):
                raise ModelError(
                    f"{where}: was trained on numbers in the column {shown(column)}, whose "
                    f"categories {_list(words)} would reach it as 0, 1, 2, ...; take it out of "
                    "data.schema.categorical, or declare categories with every number from 0 on."
                )
            continue
        both = list(zip(words, names, strict=False))
        if all(map(_same, *zip(*both, strict=True))) or (_are_codes(words) and not _numbers(names)):
            continue
        wanted = [*names, *(w for w in words if not any(_same(w, n) for n in names))]
        said = json.dumps(wanted, ensure_ascii=False) if len(wanted) <= _MOST_NAMED else "[...]"
        raise ModelError(
            f"{where}: numbers the categories of the column {shown(column)} in the order "
            f"{_list(names)}, and the data in the order {_list(words)}; declare "
            f"categories = {{ {json.dumps(column, ensure_ascii=False)} = {said[:300]} }} for the "
            "data, in the model's order."
        )


def category_words(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of categories as words: texts, numbers or truths of a file.

    Raises
    ------
    ValueError
        One is none of these.
    """
    if not all(isinstance(value, str | int | float) for value in values):
        raise ValueError("names categories that are neither words nor numbers")
    return tuple(str(value) for value in values)


def _list(words: Sequence[str]) -> str:
    return listed(map(shown, words))


def _same(word: str, name: str) -> bool:
    if word.strip().lower() == name.strip().lower():
        return True
    one, other = _number(word), _number(name)
    return one is not None and one == other


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _numbers(words: Sequence[str]) -> bool:
    return all(_number(word) is not None for word in words)


def _are_codes(words: Sequence[str]) -> bool:
    """Whether each number stands for its own place."""
    return [_number(word) for word in words] == list(range(len(words)))
