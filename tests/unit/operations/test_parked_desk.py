"""The list of parked keys for the API: it counts all, and reads only the page that was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from domain.identifiers import SHARDS, shard_of
from infrastructure.http.errors import ApiError
from infrastructure.http.parked import ParkedPlace
from infrastructure.operations.parked_desk import BackendsParkedDesk
from projections.core.ports import Fence, ParkedEvent, ShardWrite
from projections.rebuild.generations import Generation
from tests.support.ports_in_memory.projection_ports import MemorySink

EVENT = ParkedEvent(3, 30, 2, "GpsPing", "fold", "cannot fold it", 1_790_000_000_000)
KEYS = {("locations", 1): ["a", "b"], ("speed", 1): ["anna"], ("speed", 2): [f"rider-{n}" for n in range(5 * SHARDS)]}


class CountingSink(MemorySink):
    """Counts the events that it gives."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__()
        self.read = 0
        for key in keys:
            shard = shard_of(key)
            fence = Fence("log-1", "one", 3, 30)
            self.apply([ShardWrite(shard, self.held.get(shard), fence, {}, parked={key: EVENT})])

    def parked(self, shards: Any) -> Any:
        raise AssertionError("reads all parked keys")

    def page_parked(self, after: str | None, limit: int) -> list[tuple[str, ParkedEvent]]:
        found = super().page_parked(after, limit)
        self.read += len(found)
        return found


SINKS = {place: CountingSink(keys) for place, keys in KEYS.items()}


def desk() -> BackendsParkedDesk:
    generations = {
        name: [Generation(name, number, 1, "other code", number == 1, "following") for of, number in KEYS if of == name]
        for name in ("locations", "speed")
    }
    found: Any = SimpleNamespace(
        generations=SimpleNamespace(all_by_projection=lambda: generations),
        stores=SimpleNamespace(sink=lambda projection, number: SINKS[projection.name, number]),
        log=None,
        decode=None,
    )
    return BackendsParkedDesk(cast("Any", found))


@pytest.mark.parametrize("limit", [1, 7, 1_000])
@pytest.mark.parametrize("projection", [None, "speed"])
def test_regression_pages_have_each_key_once_and_read_one_more_than_they_have(
    limit: int, projection: str | None
) -> None:
    expected = {(name, number, key) for (name, number), keys in KEYS.items() for key in keys}
    if projection is not None:
        expected = {one for one in expected if one[0] == projection}
    found: list[tuple[str, int, str]] = []
    after: ParkedPlace | None = None
    while True:
        before = sum(sink.read for sink in SINKS.values())
        page = desk().page(projection, limit, after)
        assert sum(sink.read for sink in SINKS.values()) - before <= limit + 1
        assert len(page.items) <= limit
        assert page.total == len(expected)
        found += [(one.projection, one.generation, one.key) for one in page.items]
        if page.next is None:
            break
        after = ParkedPlace(*found[-1])
    assert len(found) == len(expected)
    assert set(found) == expected


def test_items_say_whether_readers_follow_and_this_code_may_retry() -> None:
    (first, *_) = desk().page("speed", 2, None).items
    assert (first.generation, first.key, first.served, first.retriable) == (1, "anna", True, False)
    assert (first.kind, first.reason, first.position) == ("fold", "cannot fold it", 30)


def test_an_unknown_projection_is_refused_and_one_that_is_no_more_ends_the_list() -> None:
    with pytest.raises(ApiError, match="the projections are") as refused:
        desk().page("nothing", 1, None)
    assert refused.value.code == "unknown_projection"
    assert desk().page(None, 1, ParkedPlace("removed", 1, "a")).items == []
