"""The report of a worker on fences that do not match the log."""

from __future__ import annotations

from uuid import uuid4

from projections.core.fences import check_fences, fence_mismatch
from projections.core.ports import Fence
from tests.support.ports_in_memory.projection_ports import MemoryLog


def test_a_mismatch_counts_its_shards_and_has_the_highest_position_and_the_head() -> None:
    log = MemoryLog()
    last = log.append("rider-1", "GpsPing", {})
    fences: dict[int, Fence | None] = {
        shard: Fence(str(log.log_id), uuid4().hex, 5, position, "digest")
        for shard, position in ((3, 70), (4, 90), (5, 80))
    }
    fences[6] = None
    found = fence_mismatch(check_fences(log, "Rider", fences), fences)
    assert found is not None
    assert (found.shards, found.beyond, found.head) == (3, 90, last.position)
