"""A payload that one fold of a process has decoded is not decoded again for the next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contracts import UndecodableError
from projections.decoded_once import DecodedOnce

payloads = st.lists(st.integers(0, 12).map(lambda n: b'{"n": %d}' % n))


class Decoder:
    """JSON, counting; ``away``: as a registry that does not answer."""

    def __init__(self) -> None:
        self.calls: Counter[bytes] = Counter()
        self.away = False

    def __call__(self, payload: bytes) -> Mapping[str, Any]:
        self.calls[payload] += 1
        if self.away:
            raise ConnectionError("the registry is away")
        if payload == b"damaged":
            raise UndecodableError("damaged")
        found: dict[str, Any] = json.loads(payload)
        return found


def test_two_folds_that_follow_one_topic_decode_a_payload_once() -> None:
    decoder, once = Decoder(), DecodedOnce(100)
    speed, analytics = once.through(decoder), once.through(decoder)
    sent = [b'{"n": %d}' % n for n in range(40)]
    assert [speed(p) for p in sent] == [analytics(bytes(bytearray(p))) for p in sent] == [{"n": n} for n in range(40)]
    assert set(decoder.calls.values()) == {1}


@given(sent=payloads, events=st.integers(1, 8))
def test_whatever_was_forgotten_the_record_is_that_of_its_bytes(sent: list[bytes], events: int) -> None:
    decode = DecodedOnce(events).through(Decoder())
    assert [decode(p) for p in sent] == [json.loads(p) for p in sent]


@given(sent=payloads, events=st.integers(2, 8))
def test_what_came_half_of_its_size_ago_is_remembered_and_what_came_longer_ago_than_its_size_is_not(
    sent: list[bytes], events: int
) -> None:
    decoder = Decoder()
    decode = DecodedOnce(events).through(decoder)
    news = list(dict.fromkeys(sent))
    for payload in news:
        decode(payload)
    for payload in reversed(news[-(events // 2) :]):
        decode(payload)
    assert all(count == 1 for count in decoder.calls.values())
    for payload in news[: max(0, len(news) - events)][-1:]:
        decode(payload)
        assert decoder.calls[payload] == 2


def test_a_failure_is_not_remembered() -> None:
    decoder = Decoder()
    decode = DecodedOnce().through(decoder)
    decoder.away = True
    with pytest.raises(ConnectionError):
        decode(b'{"n": 1}')
    decoder.away = False
    assert decode(b'{"n": 1}') == {"n": 1}
    for _ in range(2):
        with pytest.raises(UndecodableError):
            decode(b"damaged")
    assert decoder.calls[b"damaged"] == 2
