"""Norms, budgets and the numbers that name them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport.threat import Norm, parse_eps, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.1", 0.1), ("1e-3", 1e-3), (" 8 / 255 ", 8 / 255), (".5", 0.5),
     ("-2", -2.0), ("1.", 1.0), ("1/3", 1 / 3)],
)  # fmt: skip
def test_numbers_and_fractions(text: str, value: float) -> None:
    assert parse_number(text) == value


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_fraction_is_rounded_once(above: int, below: int) -> None:
    assert parse_number(f"{above}/{below}") == float(Fraction(above, below)) == above / below


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1/0", "1/2/3", "nan", "inf", "1e999", "1e999999999", "0x10", "1_000", "1 2", "/3",
     "9" * 70, "3/", "--1"],
)  # fmt: skip
def test_what_is_no_number_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_number(text)


def test_percentages_are_rounded_once() -> None:
    assert parse_number("99.9", per=100) == 0.999
    assert 99.9 / 100 != 0.999


def test_a_budget_keeps_the_text_it_was_given() -> None:
    assert str(parse_eps("8 / 255")) == "8/255"
    assert parse_eps(0.1).value == 0.1
    assert parse_eps(1) == parse_eps("1")
    assert math.copysign(1, parse_eps("-0.0").value) == 1


HUGE = pytest.param(10**5000, id="huge")


@pytest.mark.parametrize("bad", [True, None, [1], {}, "x", -1, "-1/2", math.nan, math.inf, HUGE])
def test_no_budget(bad: object) -> None:
    with pytest.raises(ValueError, match="eps must"):
        parse_eps(bad)


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.none()))
def test_any_value_gives_a_budget_or_one_error(value: object) -> None:
    said = ""
    try:
        assert parse_eps(value).value >= 0
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


def test_dual_norms() -> None:
    assert [norm.dual for norm in (Norm.L1, Norm.L2, Norm.Linf)] == [Norm.Linf, Norm.L2, Norm.L1]
    for norm in (Norm.L1, Norm.L2, Norm.Linf):
        assert 1 / norm.order + 1 / norm.dual.order == 1
    with pytest.raises(ValueError, match="no dual"):
        _ = Norm.L0.dual
