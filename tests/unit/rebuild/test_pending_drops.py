"""What a stopped worker has written into a dropped generation is deleted, also if the store was unavailable first."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from projections.core.ports import Fence, ShardWrite
from projections.core.projection import Projection
from projections.locations import LOCATIONS
from projections.rebuild.generations import Generation
from projections.rebuild.pending_drops import PendingDrops
from projections.speed import SPEED
from tests.support.ports_in_memory.projection_ports import MemorySink, ServerUnavailable

FENCE = Fence("log-1", "one", 1, 1)


class DroppedSink(MemorySink):
    """A sink into which a worker wrote after its generation was dropped; ``failures`` drops fail first."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.apply([ShardWrite(3, None, FENCE, {"anna": b"state"})])

    def drop(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ServerUnavailable("the store is unavailable")
        super().drop()


class Stores:
    def __init__(self) -> None:
        self.sinks: dict[tuple[str, int], DroppedSink] = defaultdict(DroppedSink)
        self.drops = PendingDrops(self.sink)

    def sink(self, projection: Projection[Any], number: int) -> DroppedSink:
        return self.sinks[projection.name, number]


def test_regression_a_drop_that_failed_is_retried() -> None:
    """The worker was forgotten before the drop: an unavailable store left its writes there for all time."""
    stores = Stores()
    sink = stores.sink(SPEED, 2)
    sink.failures = 2
    stores.drops.add(SPEED, 2)
    for _ in range(2):
        with pytest.raises(ServerUnavailable):
            stores.drops.drop_all({})
        assert sink.all_states() == {"anna": b"state"}
    stores.drops.drop_all({})
    assert (sink.all_states(), sink.fences([3])) == ({}, [None])


def test_a_drop_that_succeeded_is_not_repeated() -> None:
    stores = Stores()
    stores.drops.add(SPEED, 2)
    stores.drops.drop_all({})
    sink = stores.sink(SPEED, 2)
    sink.apply([ShardWrite(3, None, FENCE, {"ben": b"state"})])
    stores.drops.drop_all({})
    assert sink.all_states() == {"ben": b"state"}


def test_an_unavailable_store_delays_only_its_own_generations() -> None:
    stores = Stores()
    stores.sink(SPEED, 2).failures = 1
    stores.drops.add(SPEED, 2)
    stores.drops.add(LOCATIONS, 5)
    with pytest.raises(ServerUnavailable):
        stores.drops.drop_all({})
    assert stores.sink(LOCATIONS, 5).all_states() == {}


def test_a_number_that_a_restored_log_assigned_again_is_not_dropped() -> None:
    stores = Stores()
    sink = stores.sink(SPEED, 2)
    sink.failures = 1
    stores.drops.add(SPEED, 2)
    with pytest.raises(ServerUnavailable):
        stores.drops.drop_all({"speed": []})
    again = Generation("speed", 2, SPEED.fold_version, "digest", active=False, state="filling")
    stores.drops.drop_all({"speed": [again]})
    stores.drops.drop_all({"speed": []})
    assert sink.all_states() == {"anna": b"state"}
