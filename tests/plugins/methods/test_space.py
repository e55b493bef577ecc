"""Where an attacker may go: whatever is wanted, what comes back is valid and inside the ball."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robreport import DataError, DataSchema, Eps, Norm, ThreatModel
from robreport_plugins.methods.perturb_confine import confine
from robreport_plugins.methods.space_of import space_of

NORMS = (Norm.L0, Norm.L1, Norm.L2, Norm.Linf)
FEATURES = ("age", "hours", "gain", "job", "own", "rent", "free", "score")


def schema(**changes: Any) -> DataSchema:
    known: dict[str, Any] = {
        "task": "classification", "input_shape": (8,), "layout": "table", "features": FEATURES,
        "categories": {"job": ("a", "b", "c", "d")}, "frozen": ("age",), "integer": ("hours",),
        "bounds": ((0, 0, 0, 0, 0, 0, 0, -1), (90, 99, 1e4, 3, 1, 1, 1, 1)),
    }  # fmt: skip
    return DataSchema(**(known | changes))


def threat(norm: Norm = Norm.Linf, eps: float = 1.0, **changes: Any) -> ThreatModel:
    known: dict[str, Any] = {
        "name": "t", "norm": norm, "eps": (Eps(eps, str(eps)),),
        "increase": ("gain",), "one_hot": (("own", "rent", "free"),),
    }  # fmt: skip
    return ThreatModel(**(known | changes))


def rows(n: int, rng: np.random.Generator, dtype: Any = np.float64) -> np.ndarray:
    x = np.empty((n, 8))
    x[:, 0] = rng.integers(17, 91, n)
    x[:, 1] = rng.integers(0, 100, n)
    x[:, 2] = rng.choice([0.0, 1234.5, 9999.25], n)
    x[:, 3] = rng.integers(0, 4, n)
    x[:, 4:7] = np.eye(3)[rng.integers(0, 3, n)]
    x[:, 7] = rng.uniform(-1, 1, n)
    return x.astype(dtype)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    eps=st.sampled_from((0.0, 0.05, 0.7, 1.0, 1.5, 3.0, 50.0)),
    size=st.sampled_from((1e-3, 0.3, 2.0, 100.0)),
    scale=st.sampled_from(("none", "std", "range")),
    dtype=st.sampled_from((np.float32, np.float64)),
)
def test_what_lands_is_valid_and_inside(
    seed: int, norm: Norm, eps: float, size: float, scale: str, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    x = rows(6, rng, dtype)
    space = space_of(schema(), threat(norm, eps, scale=scale), (8,), rows(50, rng))
    delta = rng.normal(0, size, x.shape)
    delta[0, 7] = np.nan
    landed = space.land(x, delta, norm, eps)
    assert landed.dtype == x.dtype
    assert space.inside(x, landed, norm, eps).all()
    assert (landed[0] == x[0]).all(), "a row that is not a number is left as it is"
    # the same, said without the code under test
    assert (landed[:, 0] == x[:, 0]).all()
    assert (landed[:, 1] == np.rint(landed[:, 1])).all()
    assert (landed[:, 2] >= x[:, 2]).all()
    assert np.isin(landed[:, 3], (0, 1, 2, 3)).all()
    assert (np.sort(landed[:, 4:7], axis=1) == [0, 0, 1]).all()
    assert ((landed[:, 7] >= -1) & (landed[:, 7] <= 1)).all()
    unit = np.ones(8) if space.unit is None else space.unit
    for before, after in zip(x.astype(float), landed.astype(float), strict=True):
        moves = list(np.abs(after - before)[[1, 2, 7]] / unit[[1, 2, 7]])
        moves += [float(after[3] != before[3]), float((after[4:7] != before[4:7]).any())]
        total = {
            Norm.L0: np.count_nonzero(moves), Norm.L1: sum(moves),
            Norm.L2: np.sqrt(sum(m * m for m in moves)), Norm.Linf: max(moves),
        }[norm]  # fmt: skip
        assert total <= eps * (1 + 1e-9) + 1e-12


def test_a_plain_space_is_the_ball_and_the_bounds() -> None:
    rng = np.random.default_rng(0)
    x, delta = rng.random((20, 4)), rng.normal(0, 1, (20, 4))
    plain = DataSchema(
        task="classification", input_shape=(4,), layout="table", bounds=(0.0, 1.0),
        features=("a", "b", "c", "d"),
    )  # fmt: skip
    for norm in (Norm.L1, Norm.L2, Norm.Linf):
        space = space_of(plain, ThreatModel(name="t", norm=norm, eps=()), (4,))
        assert space.plain
        expected = confine(x, delta, norm, 0.3, np.zeros(4), np.ones(4))
        assert np.array_equal(space.land(x, delta, norm, 0.3), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_a_change_that_fits_is_made(norm: Norm) -> None:
    """A want that stays inside the ball lands where it points."""
    rng = np.random.default_rng(1)
    space = space_of(schema(), threat(norm), (8,))
    x = rows(1, rng)
    aim = x.copy()
    aim[0, 1] = 40 if x[0, 1] != 40 else 41
    aim[0, 3] = (x[0, 3] + 1) % 4
    aim[0, 4:7] = np.roll(x[0, 4:7], 1)
    eps = float(space.sizes(x, aim, norm)[0])
    assert eps == {
        Norm.L0: 3, Norm.L1: abs(aim - x)[0, 1] + 2,
        Norm.L2: np.sqrt(abs(aim - x)[0, 1] ** 2 + 2), Norm.Linf: abs(aim - x)[0, 1],
    }[norm]  # fmt: skip
    assert np.array_equal(space.land(x, aim - x, norm, eps), aim)


def test_units_are_those_of_the_columns() -> None:
    rng = np.random.default_rng(2)
    reference = rows(200, rng)
    std = space_of(schema(), threat(scale="std"), (8,), reference).unit
    width = space_of(schema(), threat(scale="range"), (8,), reference).unit
    assert std is not None
    assert width is not None
    for place in (0, 1, 2, 7):
        assert std[place] == pytest.approx(reference[:, place].std())
        assert width[place] == pytest.approx(np.ptp(reference[:, place]))
    assert (std[3:7] == 1).all()
    constant = reference.copy()
    constant[:, 1] = 7.0
    flat = space_of(schema(), threat(scale="std"), (8,), constant).unit
    assert flat is not None
    assert flat[1] == 1.0
    with pytest.raises(DataError, match="scale needs inputs"):
        space_of(schema(), threat(scale="std"), (8,))


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 0.5, 1234.567])
@pytest.mark.parametrize("scale", ["std", "range"])
def test_a_column_that_never_differs_has_unit_one(scale: str, value: float) -> None:
    reference = rows(1000, np.random.default_rng(7))
    reference[:, 7] = value
    unit = space_of(schema(), threat(scale=scale), (8,), reference).unit
    assert unit is not None
    assert unit[7] == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frozen": ("agge",)}, "threats.t.frozen names 'agge', which is no column"),
        ({"one_hot": (("own",),)}, "two columns or more"),
        ({"one_hot": (("own", "rent"), ("rent", "free"))}, "belongs to one group"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        space_of(schema(), threat(**changes), (8,))


def test_what_was_invalid_may_stay() -> None:
    """A row outside of the bounds, of half hours and of no ownership, is not mended."""
    x = np.array([[120.0, 7.5, -3.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    space = space_of(schema(), threat(), (8,))
    assert space.valid(x, x).all()
    landed = space.land(x, np.full_like(x, 0.4), Norm.Linf, 0.4)
    assert space.inside(x, landed, Norm.Linf, 0.4).all()
    assert (landed[0, 4:7] == 0).all()


def test_directions_and_frozen_columns_leave_no_room() -> None:
    x = rows(3, np.random.default_rng(3))
    space = space_of(schema(), threat(increase=("hours",), decrease=("gain",)), (8,))
    low, high = space.room(x)
    assert (low[:, 0] == x[:, 0]).all()
    assert (high[:, 0] == x[:, 0]).all()
    assert (low[:, 1] == x[:, 1]).all()
    assert (high[:, 1] == 99).all()
    assert (low[:, 2] == 0).all()
    assert (high[:, 2] == x[:, 2]).all()


def numbers(d: int, **rules: Any) -> tuple[DataSchema, ThreatModel]:
    """Return plain columns without bounds and the rules for them."""
    names = tuple(f"f{i}" for i in range(d))
    known = DataSchema(
        task="classification", input_shape=(d,), layout="table", bounds=None, features=names
    )
    if rules.pop("whole", False):
        rules["integer"] = names
    return known, ThreatModel(name="t", eps=(), **rules)


@pytest.mark.parametrize("eps", [0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_what_lands_far_from_zero_stays_inside(norm: Norm, eps: float) -> None:
    """Seconds since 1970 in float64, whose last digit is more than the tolerance of a radius."""
    rng = np.random.default_rng(6)
    x = np.stack([1.6e9 + 1e3 * rng.normal(size=200), rng.normal(size=200)], axis=1)
    space = space_of(*numbers(2, norm=norm, scale="std"), (2,), x)
    assert space.unit is not None
    wanted = 10 * space.unit * np.sign(rng.normal(size=x.shape))
    landed = space.land(x, wanted, norm, eps)
    assert space.inside(x, landed, norm, eps).all()
    assert (space.sizes(x, landed, norm) > 0.99 * eps).all()


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_whole_numbers_inside_land_where_they_are(norm: Norm) -> None:
    """What `inside` accepts by its tolerance, landing leaves."""
    known, rules = numbers(2, norm=norm, whole=True, scale="range")
    space = space_of(known, rules, (2,), np.array([[0.0, 0.0], [10.0, 10.0]]))
    x = np.zeros((1, 2))
    for a, b in ((1, 2), (3, 0), (2, 1), (-1, 2), (3, 3), (0, 7)):
        aim = np.array([[float(a), float(b)]])
        eps = round(float(space.sizes(x, aim, norm)[0]), 12)
        assert space.inside(x, aim, norm, eps).all()
        assert np.array_equal(space.land(x, aim, norm, eps), aim)


def test_as_many_whole_numbers_are_rounded_up_as_fit() -> None:
    space = space_of(*numbers(10, norm=Norm.L2, whole=True), (10,))
    x = np.zeros((2, 10))
    wanted = np.full((2, 10), 2 / np.sqrt(10))
    wanted[1, 5:] += 0.01
    landed = space.land(x, wanted, Norm.L2, 2.0)
    assert np.array_equal(landed[0], [1.0] * 4 + [0.0] * 6), "the first of what is alike"
    assert np.array_equal(landed[1], [0.0] * 5 + [1.0] * 4 + [0.0]), "the largest part of a step"


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from((Norm.L1, Norm.L2)),
    eps=st.sampled_from((0.7, 1.0, 2.0, 3.3, 7.0)),
    scale=st.sampled_from(("none", "std")),
)
def test_no_whole_number_is_rounded_back_that_had_a_place(
    seed: int, norm: Norm, eps: float, scale: str
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, 6, (4, 6)).astype(np.float64)
    space = space_of(*numbers(6, norm=norm, whole=True, scale=scale), (6,), x)
    wanted = rng.normal(0, 3, x.shape)
    landed = space.land(x, wanted, norm, eps)
    assert space.inside(x, landed, norm, eps).all()
    unit = np.ones(6) if space.unit is None else space.unit
    size = np.linalg.norm(wanted / unit, ord=norm.order, axis=1, keepdims=True)
    cut = x + wanted * np.minimum(1, eps / size)
    for row in range(4):
        for place in np.flatnonzero(np.rint(cut[row]) != landed[row]):
            other = landed[[row]].copy()
            other[0, place] = np.rint(cut[row, place])
            assert not space.inside(x[[row]], other, norm, eps * (1 - 1e-8)).any()


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    eps=st.sampled_from((0.05, 0.7, 1.0, 1.6, 3.0, 50.0)),
    scale=st.sampled_from(("none", "std")),
)
def test_all_but_codes_that_lands_is_within_reach(
    seed: int, norm: Norm, eps: float, scale: str
) -> None:
    rng = np.random.default_rng(seed)
    x = rows(6, rng)
    space = space_of(schema(), threat(norm, eps, scale=scale), (8,), rows(50, rng))
    landed = space.land(x, rng.normal(0, 10, x.shape), norm, eps)
    low, high = space.reach(x, norm, eps)
    rest = [0, 1, 2, 4, 5, 6, 7]
    assert ((low <= landed) & (landed <= high))[:, rest].all()
    assert (low[:, 3] == high[:, 3]).all()
    assert ((low <= x) & (x <= high)).all()
    group_moves = (low < high)[:, 4:7].any()
    assert group_moves == (eps >= 1)


def test_whole_numbers_reach_as_far_as_whole_steps() -> None:
    rng = np.random.default_rng(4)
    x = rows(20, rng)
    space = space_of(schema(frozen=()), threat(), (8,))
    for eps, steps in ((0.9, 0), (1.0, 1), (1.6, 1), (2.0, 2)):
        low, high = space.reach(x, Norm.Linf, eps)
        assert np.array_equal(low[:, 1], np.maximum(x[:, 1] - steps, 0))
        assert np.array_equal(high[:, 1], np.minimum(x[:, 1] + steps, 99))


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.Linf])
def test_a_stretched_change_fills_the_ball_and_keeps_its_direction(norm: Norm) -> None:
    rng = np.random.default_rng(5)
    x = rows(50, rng)
    space = space_of(schema(), threat(norm, scale="std"), (8,), x)
    assert space.unit is not None
    delta = rng.normal(0, 0.01, (5, 8))
    delta[0] = 0.0
    found = space.stretch(x[:5], delta, norm, 0.7)
    free = [0, 1, 2, 7]
    moved = (found / space.unit)[:, free]
    assert np.linalg.norm(moved[1:], ord=norm.order, axis=1) == pytest.approx(0.7)
    assert (found[0] == 0).all()
    assert np.array_equal(found[:, 3:7], delta[:, 3:7])
    times = found[1:, free] / delta[1:, free]
    assert times == pytest.approx(np.broadcast_to(times[:, :1], times.shape))
