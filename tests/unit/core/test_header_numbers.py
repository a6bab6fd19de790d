"""Numbers in the headers of a record: exact limits."""

from __future__ import annotations

import pytest

from projections.core.records import MAX_DIGITS, MAX_NUMBER, header_number


@pytest.mark.parametrize("number", [1, 2, 9, 10, MAX_NUMBER - 1, MAX_NUMBER])
def test_a_number_from_1_to_the_highest_is_read(number: int) -> None:
    assert header_number(b"%d" % number) == number


@pytest.mark.parametrize(
    "text", [b"", b"+1", b"-1", b" 1", b"1_0", b"1.5", "\u0661".encode(), b"a", b"1" * (MAX_DIGITS + 1)]
)
def test_text_that_is_no_number_of_1_to_19_digits_is_rejected_as_such(text: bytes) -> None:
    with pytest.raises(ValueError, match="is no number of 1 to"):
        header_number(text)


@pytest.mark.parametrize("text", [b"0", b"00", b"%d" % (MAX_NUMBER + 1)])
def test_a_number_out_of_bounds_is_rejected_as_such(text: bytes) -> None:
    with pytest.raises(ValueError, match="is not from 1 to"):
        header_number(text)
