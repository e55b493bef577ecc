"""Numbers as documents write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robreport.document import Limit, Quantity
from robreport.report import numbers

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9892, f"98.9{THIN}%"),
        (0.15, f"15.0{THIN}%"),
        (0.0, f"0.0{THIN}%"),
        (1.0, f"100.0{THIN}%"),
        (0.0005, f"0.050{THIN}%"),
        (0.99951, f"99.951{THIN}%"),
        (-0.25, f"−25.0{THIN}%"),
        (-1e-12, f"0.0{THIN}%"),
        (1e-9, f"< 0.001{THIN}%"),
        (1 - 1e-9, f"> 99.999{THIN}%"),
        (1.25, f"125.0{THIN}%"),
    ],
)
def test_shares_are_percent_with_the_digits_that_tell_them_from_0_and_1(
    value: float, text: str
) -> None:
    assert numbers.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (10000, "10,000"),
        (1256.7, "1,257"),
        (0.146312, "0.1463"),
        (12.0, "12"),
        (99999.6, "100,000"),
        (-3.25, "−3.25"),
        (0.000032, "3.2 × 10⁻⁵"),
        (-2.5e9, "−2.5 × 10⁹"),
        (9.9996, "10"),
        (math.inf, "∞"),
        (True, "yes"),
    ],
)
def test_numbers_have_four_significant_digits(value: float, text: str) -> None:
    assert numbers.number(value) == text


def test_ends_of_an_interval_have_the_same_decimals() -> None:
    assert numbers.interval(0.12, 0.184, "share") == "12.0–18.4"
    assert numbers.interval(0.9952, 0.99999, "share") == "99.520–99.999"
    assert numbers.interval(0.0312, 0.0661) == "0.0312–0.0661"
    assert numbers.interval(1, 12.5) == "1.0–12.5"
    assert numbers.interval(-0.5, 0.3) == "−0.500 to 0.300"
    assert numbers.interval(1200, 1350.5) == "1,200–1,350"


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_a_number_reads_back_to_four_digits(value: float) -> None:
    text = numbers.number(value).replace(",", "").replace("−", "-")
    if "×" in text:
        mantissa, exponent = text.split(" × 10")
        power = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        text = f"{mantissa}e{power}"
    assert float(text) == pytest.approx(value, rel=6e-4, abs=1e-300)


@given(st.floats(0, 1), st.floats(0, 1))
def test_an_interval_holds_what_it_held(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, _, last = numbers.interval(low, high, "share").partition("–")
    assert float(first) <= float(last)
    assert float(first) == pytest.approx(100 * low, abs=0.06)
    assert float(last) == pytest.approx(100 * high, abs=0.06)


def test_a_refused_and_a_censored_quantity_say_so() -> None:
    assert numbers.quantity(Quantity(value=None, reason="too few")) == "–"
    assert numbers.quantity(Quantity(value=0.3, censored=">")) == "> 0.3"
    assert numbers.quantity(Quantity(value=0.0443, unit="nats")) == f"0.0443{THIN}nats"
    assert numbers.quantity_interval(Quantity(value=1.0)) == ""


def test_limits_are_written_in_the_unit_of_what_they_limit() -> None:
    assert numbers.limit(Limit(operator=">=", value=0.5, unit="share")) == f"≥ 50{THIN}%"
    assert numbers.limit(Limit(operator="<", value=0.001, unit="share")) == f"< 0.1{THIN}%"
    assert numbers.limit(Limit(operator="<=", value=2, text="≤ 2")) == "≤ 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84, f"0.8{THIN}s"), (59.6, f"1{THIN}min 0{THIN}s"), (3725, f"1{THIN}h 2{THIN}min")],
)
def test_durations(value: float, text: str) -> None:
    assert numbers.seconds(value) == text


def test_sizes_digests_and_times() -> None:
    assert numbers.size(999) == f"999{THIN}B"
    assert numbers.size(14_200_000) == f"14.2{THIN}MB"
    assert numbers.size(3.2e9) == f"3.2{THIN}GB"
    assert numbers.short_digest("sha256:" + "ab" * 32) == "abababab"
    assert numbers.moment("2026-11-20T18:42:10+00:00") == "2026-11-20 18:42 UTC"
    assert numbers.moment("yesterday") == "yesterday"
