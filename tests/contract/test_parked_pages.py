"""Parked keys by pages: every adapter of the Sink port gives each of them once, in the same order."""

from __future__ import annotations

import pytest

from domain.identifiers import SHARDS, shard_of
from projections.core.ports import Fence, ParkedEvent, ShardWrite, Sink
from tests.contract import test_sinks

sink = test_sinks.sink

KEYS = ["ü b", "B", "a", *(f"rider-{number}" for number in range(3 * SHARDS))]


def parked_event(key: str) -> ParkedEvent:
    return ParkedEvent(3, 30, 2, "GpsPing", "fold", f"cannot fold {key}", 1_790_000_000_000)


@pytest.mark.parametrize("limit", [1, 50, 1_000])
def test_pages_have_every_parked_key_once_by_shard_and_code_points(sink: Sink, limit: int) -> None:
    by_shard: dict[int, dict[str, ParkedEvent | None]] = {}
    for key in KEYS:
        by_shard.setdefault(shard_of(key), {})[key] = parked_event(key)
    fence = Fence("log-1", "one", 3, 30)
    sink.apply([ShardWrite(shard, None, fence, {}, parked=parked) for shard, parked in by_shard.items()])
    found: list[tuple[str, ParkedEvent]] = []
    while page := sink.page_parked(found[-1][0] if found else None, limit):
        assert len(page) <= limit
        found += page
    assert found == [(key, parked_event(key)) for key in sorted(KEYS, key=lambda key: (shard_of(key), key))]
    assert sink.count_parked() == len(KEYS)


def test_without_parked_keys_there_is_no_page(sink: Sink) -> None:
    assert (sink.count_parked(), sink.page_parked(None, 10), sink.page_parked("rider-1", 10)) == (0, [], [])
