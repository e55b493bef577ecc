"""scikit-learn's bundled sets, split as scikit-learn splits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import datasets
from sklearn.model_selection import train_test_split

from robreport_plugins.loaders.bundled import BundledLoader

LOADER = BundledLoader()
Check = Callable[..., str]


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris", "diabetes"])
@pytest.mark.parametrize("stratify", [True, False])
def test_split_is_scikit_learns(name: str, stratify: bool, load_data: Any) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    task = "regression" if name == "diabetes" else "classification"
    factor = 16 if name == "digits" else 1
    parts = train_test_split(
        x / factor,
        y,
        test_size=0.3,
        random_state=7,
        stratify=y if stratify and task == "classification" else None,
    )
    options = {"dataset": name, "random_state": 7, "stratify": stratify}
    train = load_data(LOADER, "train", task=task, **options)
    test = load_data(LOADER, "test", task=task, **options)
    for got, want in zip((train.x, test.x, train.y, test.y), parts, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.sort([*train.index, *test.index]), np.arange(len(x)))
    np.testing.assert_array_equal(x[test.index] / factor, test.x)
    assert len(train.features) == x.shape[1]
    assert len(train.classes) == (0 if name == "diabetes" else len(np.unique(y)))
    assert train.layout == "table"


def test_sizes_of_the_published_split(load_data: Any) -> None:
    assert len(load_data(LOADER, "train", dataset="digits").x) == 1257
    assert len(load_data(LOADER, "test", dataset="digits").x) == 540


def test_digits_as_images(load_data: Any, refused: Check) -> None:
    data = load_data(LOADER, dataset="digits", as_images=True)
    rows = load_data(LOADER, dataset="digits", scale=1.0)
    assert data.x.shape == (540, 1, 8, 8)
    assert data.x.dtype == np.float32
    assert data.x.max() == 1
    assert data.layout == "image"
    assert data.classes == tuple("0123456789")
    np.testing.assert_array_equal(data.x.reshape(540, 64) * 16, rows.x)
    refused(lambda: load_data(LOADER, dataset="iris", as_images=True), "for digits only")


def test_parts(load_data: Any, refused: Check) -> None:
    assert len(load_data(LOADER, "ood.iris", dataset="iris").x) == 150
    assert len(load_data(LOADER, "extra.a", dataset="iris", part="train").x) == 105
    refused(lambda: load_data(LOADER, "calibration", dataset="iris"), "calibration", "part")
    assert len(load_data(LOADER, "calibration", dataset="iris", part="test").x) == 45
    refused(lambda: load_data(LOADER, dataset="iris", test_size=0.001), "stratify = false")


def test_the_task_must_suit(load_data: Any, refused: Check) -> None:
    refused(lambda: load_data(LOADER, dataset="diabetes"), "is a regression set")
    refused(lambda: load_data(LOADER, dataset="iris", task="regression"), "classification set")
