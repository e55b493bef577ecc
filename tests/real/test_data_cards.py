"""Data cards of real data: what is known of it, and what pandas counts in the same rows."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robreport import DataSchema, Split
from robreport.datacard import SplitCard
from robreport.datafindings import data_findings
from robreport.outcome import SplitFacts
from robreport.survey import make_cards

pytestmark = pytest.mark.real

ADULT = (
    "age", "workclass", "weight", "education", "education-num", "marital", "occupation",
    "relationship", "race", "sex", "gain", "loss", "hours", "country", "income",
)  # fmt: skip
WHOLE = ("age", "weight", "education-num", "gain", "loss", "hours")


def cards(data: dict[str, tuple[Any, Any]], **schema: Any) -> dict[str, SplitCard]:
    splits = {
        role: Split(role=role, x=x, y=y, index=np.arange(len(x)), digest="")
        for role, (x, y) in data.items()
    }
    lead = next(iter(splits.values()))
    fields: dict[str, Any] = {"task": "classification", "input_shape": lead.x.shape[1:]}
    return make_cards(splits, DataSchema(**{**fields, **schema}))


def idx(path: Path) -> Any:
    """An IDX file of bytes, read plainly."""
    raw = gzip.decompress(path.read_bytes())
    shape = tuple(np.frombuffer(raw, ">u4", raw[3], 4).tolist())
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


@pytest.mark.parametrize(
    ("name", "constant", "largest", "smallest"),
    [("mnist", (67, 116), (6742, 1135), (5421, 892)),
     ("fashion-mnist", (0, 0), (6000, 1000), (6000, 1000))],
)  # fmt: skip
def test_pictures_of_mnist_stand_once(
    shared_data: Path, name: str, constant: Any, largest: Any, smallest: Any
) -> None:
    folder = shared_data / name
    data = {
        role: (idx(folder / f"{word}-images-idx3-ubyte.gz")[:, None] / np.float32(255),
               idx(folder / f"{word}-labels-idx1-ubyte.gz").astype(np.int64))
        for role, word in (("train", "train"), ("test", "t10k"))
    }  # fmt: skip
    found = cards(data, layout="image", classes=tuple("0123456789"), bounds=(0.0, 1.0))
    for i, card in enumerate((found["train"], found["test"])):
        assert (card.duplicates, card.contradicting, card.missing, card.outside) == (0, 0, 0, 0)
        assert card.constant == constant[i]
        assert card.balance is not None
        assert (card.balance.largest, card.balance.smallest) == (largest[i], smallest[i])
    (overlap,) = found["test"].overlaps
    assert (overlap.other, overlap.rows) == ("train", 0)


def adult(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, names=ADULT, skipinitialspace=True, na_values="?")


@pytest.mark.parametrize("weight", [True, False])
def test_adult_agrees_with_pandas(shared_data: Path, weight: bool) -> None:
    parts = {role: adult(shared_data / "tabular" / f"adult-{role}.csv.xz")
             for role in ("train", "test")}  # fmt: skip
    features = [name for name in ADULT[:-1] if weight or name != "weight"]
    both = pd.concat(parts.values(), ignore_index=True)
    categories = {
        name: tuple(sorted(both[name].dropna().unique())) for name in features if name not in WHOLE
    }
    coded = {
        role: (
            np.column_stack(
                [
                    frame[name].astype(float) if name in WHOLE
                    else pd.Categorical(frame[name], categories[name]).codes.astype(float)
                    for name in features
                ]
            ),
            frame["income"].str.startswith(">50K").to_numpy().astype(np.int64),
        )
        for role, frame in parts.items()
    }  # fmt: skip
    for x, _ in coded.values():
        x[x < 0] = np.nan  # how pandas codes what is missing
    found = cards(coded, layout="table", classes=("<=50K", ">50K"), features=tuple(features),
                  categories=categories, integer=WHOLE)  # fmt: skip
    for role, frame in parts.items():
        x, card = frame[features], found[role]
        assert card.duplicates == int(x.duplicated().sum())
        absent = x.isna()
        assert (card.missing, card.rows_missing) == (absent.sum().sum(), absent.any(axis=1).sum())
        labelled = x.assign(income=coded[role][1])
        labels = labelled.groupby(features, dropna=False)["income"].agg(["size", "nunique"])
        assert card.contradicting == int((labels["size"] - 1)[labels["nunique"] > 1].sum())
        for feature in card.features:
            column = frame[feature.name]
            assert (feature.missing, feature.distinct) == (column.isna().sum(), column.nunique())
            if feature.kind == "category":
                assert feature.common == column.mode()[0]
                assert feature.common_rows == (column == feature.common).sum()
            else:
                wanted = (column.min(), column.median(), column.max())
                assert (feature.low, feature.median, feature.high) == wanted
    (overlap,) = found["test"].overlaps
    keys = {role: frame[features].fillna("?").astype(str).agg("|".join, axis=1)
            for role, frame in parts.items()}  # fmt: skip
    assert overlap.rows == keys["test"].isin(set(keys["train"])).sum() > 0
    signed = {role: keys[role] + "|" + pd.Series(coded[role][1]).astype(str) for role in parts}
    assert overlap.same_label == signed["test"].isin(set(signed["train"])).sum()
    flipped = keys["test"] + "|" + pd.Series(1 - coded["test"][1]).astype(str)
    assert overlap.other_label == flipped.isin(set(signed["train"])).sum()
    here, there = overlap.examples[0]
    assert keys["test"][here] == keys["train"][there]
    if weight:
        # with the label, 24 and 5: in each part one pair of twins disagrees about the income
        assert [found[role].duplicates for role in ("train", "test")] == [25, 6]
        assert [found[role].contradicting for role in ("train", "test")] == [1, 1]
    facts = SplitFacts(role="test", loader="", n=len(parts["test"]), shape=(), dtype="", digest="",
                       source="", card=found["test"])  # fmt: skip
    (finding,) = data_findings([facts])
    rows, other = (26, 3) if weight else (2979, 1003)
    assert (overlap.rows, overlap.other_label, finding.severity) == (rows, other, "high")


def test_a_part_of_cifar(shared_data: Path) -> None:
    data = {}
    for role in ("train", "test"):
        with np.load(shared_data / "cifar10" / f"{role}-0-4999.npz") as file:
            data[role] = (file["x"].astype(np.float32) / 255, file["y"].astype(np.int64))
    found = cards(data, layout="image", classes=tuple("0123456789"), bounds=(0.0, 1.0))
    raw = {role: pd.Series([row.tobytes() for row in x]) for role, (x, _) in data.items()}
    for role, card in found.items():
        assert card.duplicates == raw[role].duplicated().sum() == 0
    assert found["test"].overlaps[0].rows == raw["test"].isin(set(raw["train"])).sum() == 0
