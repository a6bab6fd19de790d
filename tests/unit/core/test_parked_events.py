"""The JSON form of a parked event, the same in every store."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.core.parked_keys import decode_parked_event, encode_parked_event
from projections.core.ports import ParkedEvent, ParkedKind, SinkRejected

INT64 = st.integers(0, 2**63 - 1)
MARKS = st.builds(ParkedEvent, INT64, INT64, INT64, st.text(), st.sampled_from(get_args(ParkedKind)), st.text(), INT64)


@given(MARKS, st.booleans())
def test_a_stored_parked_event_is_read_unchanged(mark: ParkedEvent, as_bytes: bool) -> None:
    text = encode_parked_event(mark)
    assert decode_parked_event(text.encode() if as_bytes else text) == mark


def test_parked_events_of_earlier_releases_stay_readable_and_new_ones_have_their_form() -> None:
    mark = ParkedEvent(3, 16, 2, "GpsPing", "fold", "ZeroDivisionError: a fault", 1_790_000_000_000)
    text = (
        '{"seq":3,"position":16,"version":2,"event_type":"GpsPing","kind":"fold",'
        '"reason":"ZeroDivisionError: a fault","parked_at_ms":1790000000000}'
    )
    assert encode_parked_event(mark) == text
    assert decode_parked_event(text) == mark


def test_text_that_is_no_parked_event_is_an_error() -> None:
    with pytest.raises(SinkRejected):
        decode_parked_event('{"seq":3,"of_another_release":1}')
