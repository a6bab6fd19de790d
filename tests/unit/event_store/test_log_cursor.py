"""Cursors of the log: their text can be read back, and their marks tell events apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.event_store.log_cursor import LogCursor, mark_of, parse_marked


@given(st.integers(0, 2**62), st.uuids(), st.integers(0, 2**42))
def test_the_text_of_a_cursor_is_read_back(position: int, event_id: object, recorded_at_ms: int) -> None:
    cursor = LogCursor(position, mark_of(str(event_id), recorded_at_ms))
    assert parse_marked(cursor.text()) == cursor
    assert parse_marked(cursor.refused().text()) == cursor.refused() != cursor


@pytest.mark.parametrize(
    "text", ["", "5", "-1", "5-", "5-1a2b3c4", "5-1A2B3C4D", "x-1a2b3c4d", "٥-1a2b3c4d", "-restored"]
)
def test_another_text_has_no_mark(text: str) -> None:
    assert parse_marked(text) is None


def test_an_event_that_is_recorded_again_has_another_mark() -> None:
    assert len({mark_of("a", 1), mark_of("a", 2), mark_of("b", 1)}) == 3
