"""What privacy.shapr says of a model: scalars, intervals, tables, pictures, findings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from robreport import Bundle, Context, DataSchema, ModelHandle, Needs, SkipMetric, Split
from robreport.result import check_result
from robreport_plugins.privacy.metrics import Shapr, ShaprParams
from robreport_plugins.privacy.shapr import shapr
from robreport_plugins.privacy.shapr_charts import most_exposed
from robreport_plugins.privacy.shapr_intervals import Spread


class Echo(ModelHandle):
    """A model whose outputs are the inputs' first numbers."""

    offers = Needs.PROBABILITIES | Needs.CLASSIFICATION

    def __init__(self, k: int) -> None:
        super().__init__()
        self.name, self.n_outputs = "echo", k

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.reshape(len(x), -1)[:, : self.n_outputs], dtype=np.float64)


def bundle(
    n: int = 150, m: int = 120, k: int = 3, *, layout: str = "table", seed: int = 0
) -> Bundle:
    """A model that is right mostly, with a class (0) whose records are scattered."""
    rng = np.random.default_rng(seed)
    shape = (1, 4, 4) if layout == "image" else (16,)

    def split(role: str, size: int) -> Split:
        y = rng.integers(0, k, size)
        p = rng.dirichlet(np.ones(k) * 0.5, size)
        sharp = np.where(y == 0, 0.4, 6.0)[:, None]
        p = p + sharp * np.eye(k)[y]
        p /= p.sum(axis=1, keepdims=True)
        x = np.zeros((size, 16))
        x[:, :k] = p
        return Split(
            role=role, x=x.reshape(size, *shape), y=y, index=np.arange(size) + 500, digest=role
        )

    return Bundle(
        model=Echo(k),
        splits={"train": split("train", n), "test": split("test", m)},
        schema=DataSchema(
            task="classification", input_shape=shape, layout=layout,
            classes=tuple(f"c{i}" for i in range(k)), bounds=(0.0, 1.0),
        ),
        offers=Needs.PROBABILITIES | Needs.LABELS | Needs.MEMBERS | Needs.CLASSIFICATION,
    )  # fmt: skip


def measured(given: Bundle, **params: Any) -> Any:
    return check_result(Shapr().compute(given, ShaprParams(**params), Context(seed=3)))


def test_scalars_describe_the_scores() -> None:
    given = bundle()
    result = measured(given, thresholds=(0.5, 2))
    scores = result.arrays["shapr"]
    train, test = given.split("train"), given.split("test")
    assert scores == pytest.approx(
        shapr(train.x[:, :3], train.labels, test.x[:, :3], test.labels).scores, abs=1e-12
    )
    value = {name: scalar.value for name, scalar in result.scalars.items()}
    assert value["max_shapr"] == scores.max()
    assert value["mean_shapr"] == pytest.approx(scores.mean())
    assert value["share_above[0.5]"] == np.mean(scores > 0.5)
    assert value["share_above[2]"] == np.mean(scores > 2)
    own_share = np.bincount(test.labels)[train.labels] / 120
    assert value["irrelevant_shapr"] == pytest.approx(own_share.mean())
    assert value["share_above[irrelevant]"] == np.mean(scores > own_share + 1e-9)
    assert value["shapr_quantile[0.9]"] == pytest.approx(np.quantile(scores, 0.9))
    for scalar in result.scalars.values():
        assert scalar.low <= scalar.value <= scalar.high
    assert result.scalars["mean_shapr"].n == 120
    assert result.scalars["share_above[2]"].n == 150
    assert all(check.passed for check in result.checks)


def test_the_list_of_exposed_records_names_rows_of_the_source() -> None:
    result = measured(bundle(), top_k=5)
    rows = result.tables["most_exposed"].rows
    scores, record = result.arrays["shapr"], result.arrays["record"]
    top, names = np.argsort(-scores, kind="stable")[:5], result.tables["per_class"].rows
    labels = result.arrays["label"]
    assert [row[:2] for row in rows] == [
        (rank, f"{record[i]}:\u00a0{names[labels[i]][0]}") for rank, i in enumerate(top, start=1)
    ]
    assert [row[2][0] for row in rows] == sorted(scores, reverse=True)[:5]
    assert all(row[2][1] <= row[2][0] <= row[2][2] for row in rows)


def test_samples_are_seeded_and_said() -> None:
    given = bundle()
    result = measured(given, n_train=40, n_test=30, subsample_seed=1)
    again = measured(given, n_train=40, n_test=30, subsample_seed=1)
    other = measured(given, n_train=40, n_test=30, subsample_seed=2)
    assert result.arrays["record"].tolist() == again.arrays["record"].tolist()
    assert result.arrays["record"].tolist() != other.arrays["record"].tolist()
    assert len(set(result.arrays["record"].tolist())) == 40
    codes = [caveat.code for caveat in result.caveats]
    assert codes == ["shapr-sample", "small-sample"]
    assert "40 of 150" in result.caveats[0].detail
    assert measured(given).caveats == ()


def test_a_scattered_class_is_found() -> None:
    result = measured(bundle(600, 400))
    affected = [finding.affected for finding in result.findings if finding.affected]
    assert affected == ["c0"]
    above = measured(bundle(600, 400), thresholds=(0, 1.2)).findings[0]
    assert "score above 1.2" in above.claim
    assert "share_above[1.2]" in above.evidence


def test_constant_outputs_are_all_tied() -> None:
    given = bundle()
    flat = {role: replace(s, x=np.full_like(s.x, 1 / 3)) for role, s in given.splits.items()}
    result = measured(replace(given, splits=flat))
    assert [c.code for c in result.caveats] == ["shapr-tied-outputs"]
    train, test = given.split("train").labels, given.split("test").labels
    chance = np.mean([np.mean(train == y) for y in test])
    assert result.scalars["mean_shapr"].value == pytest.approx(chance)
    # Records of one class score alike: no more than one value per class.
    assert len(np.unique(result.arrays["shapr"].round(9))) <= 3


def test_pictures_come_with_images_unless_switched_off() -> None:
    given = bundle(layout="image")
    grid = measured(given, top_k=8).images["most_exposed"]
    assert grid.images.shape == (1, 8, 4, 4)
    assert grid.images.dtype == np.uint8
    first = int(grid.cell_labels[0][0].split(":")[0]) - 500
    shown = given.split("train").x[first, 0]
    assert np.array_equal(grid.images[0, 0], np.round(255 * shown).astype(np.uint8))
    assert measured(given, show_images=False).images == {}
    assert measured(bundle()).images == {}


def test_large_pictures_stand_in_rows_of_five() -> None:
    given = bundle(layout="image")
    wide = {
        role: replace(s, x=np.repeat(s.x, 12, axis=3).astype(np.float32))
        for role, s in given.splits.items()
    }
    schema = replace(given.schema, input_shape=(1, 4, 48))
    grid = most_exposed(
        replace(given, splits=wide, schema=schema), np.arange(7), np.ones(7), ("a", "b", "c")
    )
    assert grid is not None
    assert grid.images.shape == (2, 5, 4, 48)
    assert grid.cell_labels[1][2:] == ("", "", "")
    assert (grid.images[1, 2:] == 255).all()


def test_a_record_that_never_matters_is_not_above_its_line() -> None:
    far = shapr(
        np.array([[0.0], [0.1], [0.9], [40.0]]),
        np.array([0, 1, 1, 1]),
        np.array([[0.2], [0.3], [0.7]]),
        np.array([1, 1, 0]),
    )
    assert far.scores[3] == pytest.approx(far.irrelevant[3], abs=1e-12)
    share, _ = Spread(far).share_above(far.irrelevant)
    assert share == np.mean(far.scores[:3] > far.irrelevant[:3] + 1e-9) * 3 / 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_thresholds_are_finite(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        ShaprParams(thresholds=(bad,))


@pytest.mark.parametrize("same", [True, False])
def test_one_of_everything(same: bool) -> None:
    """The only neighbour of the only test point: it is worth all of it, or nothing."""
    given = bundle(1, 1)
    label = given.split("test").y if same else given.split("test").y - 1
    train = replace(given.split("train"), y=label, x=given.split("test").x)
    result = measured(replace(given, splits={**given.splits, "train": train}))
    assert result.arrays["shapr"] == [float(same)]
    most, above = result.scalars["max_shapr"], result.scalars["share_above[0]"]
    assert (most.value, most.low, most.high) == (float(same), None, None)
    assert "too few distinct test points" in most.reason
    # Wilson's interval of 0 or 1 of 1, with z = 1.96
    bound = 1 / (1 + 1.959964**2)
    assert above.value == float(same)
    assert (above.low, above.high) == pytest.approx((bound, 1) if same else (0, 1 - bound))


@pytest.mark.parametrize(("role", "words"), [("train", "the train set"), ("test", "the test set")])
def test_an_empty_set_is_skipped(role: str, words: str) -> None:
    given = bundle()
    empty = replace(given.split(role), x=np.zeros((0, 16)), y=np.zeros(0, int))
    with pytest.raises(SkipMetric, match=words):
        measured(replace(given, splits={**given.splits, role: empty}))


def test_labels_beyond_the_classes_are_refused() -> None:
    given = bundle()
    train = given.split("train")
    wrong = replace(train, y=np.where(train.labels == 2, 9, train.labels))
    with pytest.raises(ValueError, match="beyond the data's 3 classes"):
        measured(replace(given, splits={**given.splits, "train": wrong}))


def test_a_hundred_classes_and_many_records_stay_small() -> None:
    result = measured(bundle(3000, 200, k=16))
    for figure in result.figures.values():
        assert len(str(figure.spec)) < 40_000
    assert len(result.tables["by_rank"].rows) < 100


def test_intervals_cover_what_other_samples_show() -> None:
    """Over fresh records and test points, the intervals hold the expected values."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(0, 2, n)
        return (y + rng.normal(0, 0.8, n))[:, None], y

    shares, quantiles, inside = [], [], []
    for _ in range(250):
        spread = Spread(shapr(*draw(80), *draw(80), rng=rng))
        shares.append(spread.share_above(1.0))
        quantiles.append(spread.quantile(0.9))
    for estimates in (shares, quantiles):
        truth = np.mean([value for value, _ in estimates])
        inside.append(np.mean([i.low <= truth <= i.high for _, i in estimates]))
    assert min(inside) >= 0.93


def test_a_class_with_more_of_the_test_points_is_not_exposed_for_that() -> None:
    """All records are alike but for their class, of which the test set has twice as many."""
    rng = np.random.default_rng(1)
    parts = {}
    for role, shares in (("train", (0.5, 0.5)), ("test", (0.3, 0.7))):
        y = rng.choice(2, size=400, p=shares)
        p = np.where(np.eye(2)[y] > 0, 0.9, 0.1) + rng.uniform(0, 1e-3, (400, 2))
        x = np.zeros((400, 16))
        x[:, :2] = p / p.sum(axis=1, keepdims=True)
        parts[role] = Split(role=role, x=x, y=y, index=np.arange(400), digest=role)
    given = bundle(k=2)
    result = measured(replace(given, splits=parts))
    scores, y = result.arrays["shapr"], parts["train"].y
    assert scores[y == 1].mean() > 1.5 * scores[y == 0].mean()
    assert not [f for f in result.findings if "exposed more" in f.claim]
