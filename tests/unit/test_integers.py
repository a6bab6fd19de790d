"""One grammar for integers, as text and as JSON numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.timestamps import (
    decimal_integer,
    json_integer,
)
from infrastructure.timestamps import text_ms


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("5.0", 5),
        ("5.", 5),
        ("005.00", 5),
        ("1795946147389.0", 1_795_946_147_389),
        ("1.795946147389e12", 1_795_946_147_389),
        ("1.795946147389E+12", 1_795_946_147_389),
        ("1.7959461473890e12", 1_795_946_147_389),
        ("179594614738.9e1", 1_795_946_147_389),
        ("1795946147389000e-3", 1_795_946_147_389),
        ("0e0", 0),
        ("9007199254740993.0", 9_007_199_254_740_993),
    ],
)
def test_an_integer_as_text(text: str, value: int) -> None:
    assert decimal_integer(text) == value
    assert text_ms(text) == value


@pytest.mark.parametrize("text", ["1.79594E+12", "1.5e12", "2e3", "1e1", "1.795946147389e13"])
def test_an_exponent_that_lost_digits_is_refused_as_a_spreadsheets_cut(text: str) -> None:
    with pytest.raises(ValueError, match="spreadsheet cut"):
        decimal_integer(text)


@pytest.mark.parametrize("text", ["5.5", "1.7959461473895e12", "5e-1", "1e-9999"])
def test_a_number_that_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an integer"):
        decimal_integer(text)


@pytest.mark.parametrize(
    "text", ["", ".5", "1_000", "٥", " 5", "5 ", "0x10", "nan", "inf", "--5", "9" * 65, "5\n", "e5"]
)
def test_what_is_no_number_is_not_read_as_one(text: str) -> None:
    assert decimal_integer(text) is None


@given(st.decimals(-(10**15), 10**15, places=3) | st.integers(-(10**18), 10**18).map(Decimal), st.integers(-3, 12))
def test_text_names_the_integer_that_its_decimal_value_is(value: Decimal, exponent: int) -> None:
    plain = f"{value:f}"
    text = f"{plain}e{exponent}"
    decimals = len(plain.partition(".")[2])
    exact = Fraction(value) * Fraction(10) ** exponent
    if exponent > decimals or exact.denominator != 1:
        with pytest.raises(ValueError, match=r".+"):
            decimal_integer(text)
    else:
        assert decimal_integer(text) == exact


@pytest.mark.parametrize(("value", "number"), [(5, 5), (5.0, 5), (-0.0, 0), (1.795946147389e12, 1_795_946_147_389)])
def test_a_json_number_is_an_integer_by_its_value(value: object, number: int) -> None:
    found = json_integer(value)
    assert found == number
    assert type(found) is int


@pytest.mark.parametrize("value", [5.5, 2.0**53, -(2.0**53), 1e300, float("nan"), float("inf"), True, "5", None, []])
def test_what_names_no_one_integer_in_json_is_none(value: object) -> None:
    assert json_integer(value) is None
