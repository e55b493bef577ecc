"""A model's own labels among the names of the data's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robreport import ModelError
from robreport_plugins.loaders.class_labels import match_labels


@pytest.mark.parametrize(
    ("labels", "classes", "wanted"),
    [
        ([1, 2], ("01", "02"), [0, 1]),
        ([2.0, 1.0], ("1", "2"), [1, 0]),
        (np.array([1.0, 2.0]), ("1.0", "2.0"), [0, 1]),
        ([np.int64(10), np.int64(9)], ("9", "10"), [1, 0]),
        ([False, True], ("FALSE", "TRUE"), [0, 1]),
        ([np.bool_(True), np.bool_(False)], ("false", "true"), [1, 0]),
        ([False, True], ("0", "1"), [0, 1]),
        (["b", "a"], ("a", "b"), [1, 0]),
        (["01", "1"], ("1", "01"), [1, 0]),
    ],
)
def test_a_number_finds_its_class_however_it_is_spelled(
    labels: Any, classes: tuple[str, ...], wanted: list[int]
) -> None:
    assert match_labels(labels, classes, "auto", "model 'm'").tolist() == wanted


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([1, 5], ("1", "01", "3"), "audit it on data with its own classes"),
        ([1, 0], ("1", "0"), ""),
        ([0, 1], ("1", "0"), "may be the names or the indices"),
        ([0, 1], ("01", "00"), "may be the names or the indices"),
        ([True, False], ("TRUE", "True", "False"), ""),
        (["yes", "no"], ("Yes", "No"), "predicts the labels 'yes', 'no'"),
    ],
)
def test_what_does_not_match_is_refused(labels: Any, classes: tuple[str, ...], words: str) -> None:
    if not words:
        found = match_labels(labels, classes, "names", "model 'm'").tolist()
        assert [classes[i] for i in found] == [str(label) for label in labels]
        return
    with pytest.raises(ModelError, match=words):
        match_labels(labels, classes, "auto", "model 'm'")
