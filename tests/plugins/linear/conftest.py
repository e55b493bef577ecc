"""Small data with two classes, and one fitted run that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robreport import Bundle, Context, Result
from robreport.result import check_result
from robreport.testing import make_bundle
from robreport.testing.watch import ArtifactStore
from robreport_plugins.linear.metrics import RobustHinge
from robreport_plugins.linear.params import HingeParams


def two_classes(layout: Any = "table", *, classes: int = 2, n: int = 150, seed: int = 0) -> Bundle:
    """Return a bundle as a metric of the data sees it, with train and test."""
    return make_bundle(
        RobustHinge.needs, n=n, classes=classes, layout=layout, seed=seed,
        splits=("train", "test"),
    )  # fmt: skip


def fitted(bundle: Bundle, store: ArtifactStore | None = None, **params: Any) -> Result:
    """Return the metric's result; small charts where nothing else is asked for."""
    given = {"epochs": 20, "grid_points": 21, "eps": (0.05, 0.1), **params}
    return check_result(
        RobustHinge().compute(bundle, HingeParams(**given), Context(seed=3, artifact=store))
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture(scope="module")
def table() -> Bundle:
    return two_classes()


@pytest.fixture(scope="module")
def result(table: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Result:
    store = ArtifactStore(tmp_path_factory.mktemp("artifacts"))
    return fitted(table, store, solver="both", shown=3)


@pytest.fixture
def folder_of() -> Callable[[Result, str], Path]:
    return lambda result, name: Path(result.artifacts[name])
