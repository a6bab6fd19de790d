"""Identities and the hash that spreads them over shards: fixed for the life of every log."""

from __future__ import annotations

import unicodedata
import uuid
import weakref
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafkas_murmur2

from domain.errors import InvalidOrderId, InvalidRiderId
from domain.identifiers import (
    MAX_ID_CODE_POINTS,
    NAMESPACE,
    SHARDS,
    aggregate_id,
    check_order_id,
    check_rider_id,
    derive_event_id,
    murmur2,
    shard_of,
    uuid5_text,
)


@given(st.binary(max_size=64))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafkas_murmur2(data) & 0xFFFFFFFF


@given(st.text(max_size=128).filter(lambda key: key.isprintable()), st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
def test_the_partition_is_the_one_that_kafkas_default_partitioner_gives(key: str, partitions: int) -> None:
    assert shard_of(key) % partitions == (kafkas_murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    assert 0 <= shard_of(key) < SHARDS


def test_ids_are_pinned() -> None:
    # Every log depends on these: another value would separate all riders from their recorded events.
    assert str(aggregate_id("Rider", "anna")) == "71efb14e-18d8-5631-97b3-9f981ed8410b"
    assert derive_event_id("anna", 1_790_000_000_000, 52.5, 13.4) == "ea4d1166-89b3-5807-a5ee-d1a770c17abe"
    assert shard_of("anna") == 23


def test_other_types_and_keys_have_other_ids() -> None:
    assert aggregate_id("Rider", "x") != aggregate_id("Delivery", "x")
    assert aggregate_id("Rider", "e\u0301") != aggregate_id("Rider", "\u00e9")


def test_a_derived_event_id_is_a_lower_case_uuid_of_version_5() -> None:
    found = derive_event_id("anna", 1, 2.0, 3.0)
    assert found == found.lower()
    assert uuid.UUID(found).version == 5


def test_minus_zero_is_zero() -> None:
    assert derive_event_id("anna", 1, -0.0, 0.0) == derive_event_id("anna", 1, 0.0, -0.0)


@given(st.text(min_size=1, max_size=5), st.integers(0, 2**62), st.floats(-90, 90), st.floats(-180, 180))
def test_another_fix_is_another_ping(rider: str, t_ms: int, latitude: float, longitude: float) -> None:
    found = derive_event_id(rider, t_ms, latitude, longitude)
    assert found == derive_event_id(rider, t_ms, latitude, longitude)
    assert found != derive_event_id(rider, t_ms + 1, latitude, longitude)
    assert found != derive_event_id(rider + "x", t_ms, latitude, longitude)


@pytest.mark.parametrize("rider_id", ["x" * 128, "SELECT", "🛵" * 128, "a b", "e\u0301", "...", "DROP TABLE events;--"])
def test_ids_that_are_fine(rider_id: str) -> None:
    assert check_rider_id(rider_id) == rider_id


@pytest.mark.parametrize(
    "rider_id", ["", "x" * 129, "x" * 10_000, "a/b", " a", "a ", "\t", "a\x00", "\u200b", "\ud800", ".", ".."]
)
def test_ids_that_are_rejected(rider_id: str) -> None:
    with pytest.raises(InvalidRiderId):
        check_rider_id(rider_id)


@pytest.mark.parametrize("order_id", ["", "x" * 129, "a/b", " a", "a ", "\ud800", ".", "..", "\u2800"])
def test_an_order_id_obeys_the_same_rules(order_id: str) -> None:
    with pytest.raises(InvalidOrderId, match="order_id must "):
        check_order_id(order_id)


INVISIBLE = ["\u115f", "\u1160", "\u2800", "\u3164", "\uffa0", "\u034f", "\u17b4", "\ufe0f", "\U000e0100", "\u180b"]


@pytest.mark.parametrize("rider_id", [*INVISIBLE, "".join(INVISIBLE), "\u2800 \u3164"])
def test_an_invisible_id_is_rejected_and_one_visible_code_point_is_enough(rider_id: str) -> None:
    with pytest.raises(InvalidRiderId, match="visible"):
        check_rider_id(rider_id)
    assert check_rider_id(f"{rider_id}x") == f"{rider_id}x"


def test_every_printable_letter_digit_and_sign_is_visible() -> None:
    invisible = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
    signs = (chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] in "LNPS")
    for sign in signs:
        if sign not in invisible and sign not in "/.":
            assert check_rider_id(sign) == sign


@given(st.uuids(), st.text(max_size=80))
def test_the_quick_uuid5_is_that_of_the_standard_library(namespace: UUID, name: str) -> None:
    assert uuid5_text(namespace, name) == str(uuid.uuid5(namespace, name))


class _Key(str):
    """A key of which a weak reference shows whether something keeps it."""


def test_a_key_that_is_too_long_for_an_id_is_not_kept_in_memory() -> None:
    # Invariant 16: a request may name a key of 64 KiB, and as many of them as it likes.
    key = _Key("a" * (MAX_ID_CODE_POINTS + 1))
    kept = weakref.ref(key)
    assert shard_of(key) == (murmur2(key.encode()) & 0x7FFFFFFF) % SHARDS
    assert aggregate_id("Rider", key) == uuid.uuid5(NAMESPACE, f"Rider/{key}")
    del key
    assert kept() is None
