"""Read what a black box answers, and refuse what is no prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataSchema, ModelError
from robreport_plugins.loaders.black_box_options import BlackBoxOptions, Returns
from robreport_plugins.loaders.class_labels import match_labels
from robreport_plugins.loaders.labels import name_finder
from robreport_plugins.loaders.wording import did_you_mean, listed, one_line, word

Array = npt.NDArray[Any]

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from summing to 1; it is then divided by its sum."""


LONGEST_NAME = 1000
"""Most characters of a class name: an array of texts has room for the longest in every row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """What the answers mean.

    Attributes
    ----------
    where : str
        How error sentences begin.
    returns : "probabilities", "logits", "labels" or "values"
    n_outputs : int
        Classes of the data, or 1.
    index : array of int64
        The data's class of each of the model's own classes, in the model's order.
    names : mapping of str to int
        The data's class of each class name.
    numbers : "names", "codes" or "unclear"
        What a label that is a number means: a name, or a position in the model's order.
    own : tuple of str
        Names of the model's classes in its order, where known.
    """

    where: str
    returns: Returns
    n_outputs: int
    index: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    names: Mapping[str, int] = field(default_factory=dict)
    numbers: str = "codes"
    own: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """Width of a row that `read` returns: 0 for a single label or value."""
        return self.n_outputs if self.returns in ("probabilities", "logits") else 0

    def read(self, raw: Any, count: int) -> Array:
        """Return checked answers: scores float64 ``(n, k)`` in the data's order, class indices
        int64 ``(n,)``, or values float64 ``(n,)``.

        Raises
        ------
        ModelError
            The answer is of another shape or kind, not finite, or names no class.
        """
        found = plain_array(raw, count, self.own, self.where)
        if self.returns == "labels":
            return self._labels(found)
        found = _numbers(found, self.returns, self.where)
        if self.returns == "values":
            return _single(found, "value", self.where)
        if found.ndim == 1:
            found = found[:, None]
        if found.shape[1] == 1 and len(self.index) == 2:
            other = 1.0 - found if self.returns == "probabilities" else np.zeros_like(found)
            found = np.concatenate([other, found], axis=1)
        if found.shape[1] != len(self.index):
            raise ModelError(
                f"{self.where}: answers {found.shape[1]} scores per input, and "
                f"{len(self.index)} classes are known; declare classes = [...] in its own order."
            )
        if self.returns == "probabilities":
            _check_probabilities(found, self.where)
            found = found / found.sum(axis=1, keepdims=True)
        whole = np.zeros((len(found), self.n_outputs))
        whole[:, self.index] = found
        return whole

    def _labels(self, found: Array) -> Array:
        found = _single(found, "label", self.where)
        values, inverse = np.unique(found, return_inverse=True)
        codes = np.array([self._label(v) for v in values.tolist()], dtype=np.int64)
        return codes[inverse.reshape(-1)]

    def _label(self, value: Any) -> int:
        if isinstance(value, bool) and str(value) not in self.names:
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not float(value).is_integer():
                raise ModelError(
                    f"{self.where}: answers the label {value!r}, which is no class index; declare "
                    "returns = 'probabilities' or 'values' if it is none."
                )
            value = int(value)
            if self.numbers == "unclear":
                raise ModelError(
                    f"{self.where}: answers the label {value}, which may be the name or the index "
                    f"of one of the classes {listed(self.own)}; say labels = 'names' or "
                    "labels = 'codes'."
                )
            if self.numbers == "codes":
                if 0 <= value < len(self.index):
                    return int(self.index[value])
                raise ModelError(
                    f"{self.where}: answers the class {value}, and there are {len(self.index)}, "
                    f"0 to {len(self.index) - 1}; declare labels = 'names' if it is a name."
                )
        text = name_finder(tuple(self.names))(str(value)) or str(value)
        if text not in self.names:
            raise ModelError(
                f"{self.where}: answers the label {text[:80]!r}, and the classes are "
                f"{listed(self.names)}.{did_you_mean(text[:80], self.names)}"
            )
        return self.names[text]


def plain_array(raw: Any, count: int, own: tuple[str, ...], where: str) -> Array:
    """Return an answer as an array of numbers or texts with one row per input.

    Raises
    ------
    ModelError
        It is ragged, holds objects, or has another number of rows.
    """
    columns = getattr(raw, "columns", None)
    if own and columns is not None and set(map(str, columns)) == set(own):
        raw = raw[[c for name in own for c in columns if str(c) == name]]
    if isinstance(raw, list) and raw and all(isinstance(row, dict) for row in raw):
        raw = _by_name(raw, own, where)
    if isinstance(raw, str | bytes | dict) or raw is None:
        raise ModelError(
            f"{where}: answers {'nothing' if raw is None else f'a single {type(raw).__name__}'}, "
            "and one row per input is needed."
        )
    if isinstance(raw, list) and _longest_text(raw) > LONGEST_NAME:
        raise ModelError(f"{where}: answers a text of more than {LONGEST_NAME:,} characters.")
    try:
        found = np.asarray(raw)
    except Exception as error:  # anybody's object may refuse to become an array in its own way
        raise ModelError(
            f"{where}: answers rows of unequal length, or something that is no array "
            f"({one_line(error)})."
        ) from error
    if found.dtype.kind == "O":
        found = _texts(found, where)
    if found.ndim == 0 or found.ndim > 2 or len(found) != count:
        raise ModelError(
            f"{where}: answers an array of shape {found.shape} for {count} inputs, and one row "
            "per input is needed: a label or value, or one score per class."
        )
    if found.ndim == 2 and not found.shape[1]:
        raise ModelError(f"{where}: answers empty rows, and one score per class is needed.")
    if found.dtype.kind not in "biufU":
        raise ModelError(f"{where}: answers an array of {found.dtype}, not of numbers or names.")
    return found


def _longest_text(rows: list[Any]) -> int:
    longest = 0
    for row in rows:
        for value in row if isinstance(row, list) else (row,):
            if isinstance(value, str):
                longest = max(longest, len(value))
    return longest


def _texts(found: Array, where: str) -> Array:
    """Return an object array as texts or numbers, if it holds nothing else."""
    kinds = {type(value).__name__ for value in found.reshape(-1)[:100_000].tolist()}
    if kinds == {"str"}:
        return found.astype(np.str_)
    if kinds and kinds <= {"int", "float", "bool"}:
        try:
            return found.astype(np.float64)
        except (OverflowError, TypeError, ValueError):
            pass
    said = "nulls" if "NoneType" in kinds else listed(sorted(kinds))
    raise ModelError(f"{where}: answers {said} among its predictions; each must be a number.")


def _by_name(rows: list[dict[str, Any]], own: tuple[str, ...], where: str) -> list[list[Any]]:
    keys = set(map(str, rows[0]))
    if not own or any(set(map(str, row)) != set(own) for row in rows):
        raise ModelError(
            f"{where}: answers a table per input with the keys "
            f"{listed(map(word, sorted(keys)))}, and "
            f"{f'the classes are {listed(own)}' if own else 'no classes are declared'}; name the "
            "member that holds the predictions, or declare classes."
        )
    return [[row[name] for name in own] for row in rows]


def _numbers(found: Array, returns: str, where: str) -> Array:
    if found.dtype.kind not in "iuf":
        sample = found.reshape(-1)[:1].tolist()
        raise ModelError(
            f"{where}: answers {str(sample[0])[:60]!r} where {returns} are expected; declare "
            "returns = 'labels' if it answers class names."
        )
    found = found.astype(np.float64)
    wide = found if found.ndim == 2 else found[:, None]
    bad = int((~np.isfinite(wide).all(axis=1)).sum())
    if bad:
        raise ModelError(
            f"{where}: answers NaN or infinite numbers for {bad:,} of {len(found):,} inputs."
        )
    return found


def _single(found: Array, what: str, where: str) -> Array:
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ModelError(
            f"{where}: answers {found.shape[1]} numbers per input where one {what} is expected; "
            "declare returns = 'probabilities' or 'logits' if they are scores of classes."
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ModelError(f"{where}: answers a {what} that is NaN or infinite.")
    return found


def _check_probabilities(found: Array, where: str) -> None:
    off = np.abs(found.sum(axis=1) - 1)
    if len(found) and (found.min() < -1e-9 or off.max() > SUM_TOLERANCE):
        raise ModelError(
            f"{where}: answers rows that are no probabilities: they range from "
            f"{found.min():.4g} to {found.max():.4g}, with sums off from 1 by up to "
            f"{off.max():.4g}; declare returns = 'logits' if they are scores."
        )
    np.maximum(found, 0.0, out=found)


def found_out(raw: Any, count: int, own: tuple[str, ...], task: str, where: str) -> Returns:
    """Return what the answers are, where only one reading is possible.

    Raises
    ------
    ModelError
        Several are, so that it must be declared.
    """
    found = plain_array(raw, count, own, where)
    flat = found.ndim == 1 or found.shape[1] == 1
    if task == "regression" and flat and found.dtype.kind in "iuf":
        return "values"
    if found.dtype.kind in "bU" and flat:
        return "labels"
    if found.dtype.kind in "iu" and flat:
        return "labels"
    if found.dtype.kind == "f" and not flat:
        sums = np.abs(found.sum(axis=1) - 1)
        if np.isfinite(found).all() and found.min() >= 0 and sums.max() <= SUM_TOLERANCE:
            return "probabilities"
    what = "one number" if flat else f"{found.shape[1]} numbers"
    raise ModelError(
        f"{where}: answers {what} per input, which can be read in several ways; declare "
        "returns = 'probabilities', 'logits', 'labels' or 'values'."
    )


def answer_form(
    options: BlackBoxOptions, returns: Returns, width: int | None, schema: DataSchema | None,
    where: str,
) -> AnswerForm:  # fmt: skip
    """Return how answers are read: `width` is the number of scores in a row, if it is known.

    Raises
    ------
    ModelError
        It does not suit the audit's task, or its classes are not the data's.
    """
    if schema is not None and (returns == "values") != (schema.task == "regression"):
        raise ModelError(f"{where}: returns {returns}, which does not suit a {schema.task} audit.")
    if returns == "values":
        return AnswerForm(where=where, returns=returns, n_outputs=1)
    data = tuple(schema.classes) if schema is not None else ()
    own = options.classes or data
    if not own:
        if not width:
            raise ModelError(f"{where}: its classes are not known; declare classes = [...].")
        own = tuple(str(i) for i in range(max(width, 2)))
    index = match_labels(list(own), data if options.classes else (), "names", where)
    if returns == "logits" and data and len(own) < len(data):
        raise ModelError(
            f"{where}: has {len(own)} classes, and the data has {len(data)}; logits are needed "
            "for every class."
        )
    return AnswerForm(
        where=where,
        returns=returns,
        n_outputs=len(data) or len(own),
        index=index,
        names={name: int(i) for name, i in zip(own, index, strict=True)},
        numbers=_numbers_mean(own) if options.labels == "auto" else options.labels,
        own=own,
    )


def _numbers_mean(own: tuple[str, ...]) -> str:
    """Return whether a label that is a number is a position; "unclear" where it may be a name."""
    if own == tuple(str(i) for i in range(len(own))):
        return "codes"
    return "unclear" if any(name.lstrip("-").isdecimal() for name in own) else "codes"
