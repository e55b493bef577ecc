"""Match an estimator's own class labels with the classes of the audit's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport import ModelError
from robreport_plugins.loaders.labels import name_finder
from robreport_plugins.loaders.wording import listed

Reading = Literal["auto", "names", "codes"]


def match_labels(
    labels: Sequence[Any], classes: tuple[str, ...], reading: Reading, where: str
) -> npt.NDArray[np.int64]:
    """Return the index among the data's classes of each label that an estimator predicts.

    Parameters
    ----------
    labels : sequence
        The estimator's ``classes_``: strings, booleans or numbers.
    classes : tuple of str
        The data's class names; empty when nothing is known of the data, and then the labels
        are numbered in their own order.
    reading : "auto", "names" or "codes"
        Whether labels are class names or class indices. ``auto`` takes names if every label is
        one, else indices, and refuses when both fit and differ.

    Raises
    ------
    ModelError
        A label that the data does not know, or an ambiguity.
    """
    if not classes:
        return np.arange(len(labels), dtype=np.int64)
    by_name = _by_name(labels, classes)
    by_code = _by_code(labels, len(classes))
    if reading == "names" or (reading == "auto" and by_code is None):
        chosen = by_name
    elif reading == "codes" or by_name is None:
        chosen = by_code
    elif by_name != by_code:
        raise ModelError(
            f"{where}: its labels {listed(labels)} may be the names or the indices of the data's "
            f"classes {listed(classes)}, which differ; say labels = 'names' or labels = 'codes'."
        )
    else:
        chosen = by_name
    if chosen is None or len(set(chosen)) != len(chosen):
        raise ModelError(
            f"{where}: predicts the labels {listed(map(repr, labels))}, and the data's classes "
            f"are {listed(map(repr, classes))}; audit it on data with its own classes."
        )
    return np.array(chosen, dtype=np.int64)


def _text(label: Any) -> str:
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def _by_name(labels: Sequence[Any], classes: tuple[str, ...]) -> list[int] | None:
    """Return the class of the same name; a number may be spelled "01", a truth "true"."""
    index = {name: i for i, name in enumerate(classes)}
    same = name_finder(classes)
    lower = [name.lower() for name in classes]
    found = []
    for label in labels:
        text = _text(label)
        name = same(text)
        if name is None and isinstance(label, bool | np.bool_) and lower.count(text.lower()) == 1:
            name = classes[lower.index(text.lower())]
        if name is None:
            return None
        found.append(index[name])
    return found


def _by_code(labels: Sequence[Any], count: int) -> list[int] | None:
    codes = []
    for label in labels:
        if isinstance(label, str) or not isinstance(label, int | float | np.number | np.bool_):
            return None
        if not float(label).is_integer() or not 0 <= label < count:
            return None
        codes.append(int(label))
    return codes
