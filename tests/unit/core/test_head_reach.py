"""Invariant 16: no record is applied whose numbers are beyond the head of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from domain.identifiers import SHARDS
from projections.core.head_reach import IDLE_CHECKS, MAX_EARLY, BeyondHead, HeadReach, ReachResult
from projections.core.ports import LoggedEvent, LogHead
from tests.support.ports_in_memory.projection_ports import MemoryLog

STREAM = "Rider"


def event(seq: int, *, shard: int = 3, payload: bytes = b"bytes") -> LoggedEvent:
    return LoggedEvent(10 * seq, shard, seq, "anna", seq, "GpsPing", payload)


class GrowingLog(MemoryLog):
    """A log of chosen events, which counts how often its head is read."""

    def __init__(self, *events: LoggedEvent) -> None:
        super().__init__(STREAM)
        self.events = list(events)
        self.heads_read = 0

    def head(self, stream: str) -> LogHead:
        assert stream == STREAM
        self.heads_read += 1
        seqs = [0] * SHARDS
        for one in self.events:
            seqs[one.shard] = max(seqs[one.shard], one.seq)
        return LogHead(self.log_id, max((one.position for one in self.events), default=0), seqs)

    def events_at(self, positions: Sequence[int]) -> dict[int, LoggedEvent]:
        return {one.position: one for one in self.events if one.position in positions}


def idle_check(log: GrowingLog, reach: HeadReach) -> None:
    reach.on_idle_check(log.head(STREAM))
    reach.on_poll()


def test_a_record_at_the_head_is_accepted_and_reads_the_head_once() -> None:
    log = GrowingLog(event(1), event(2))
    reach = HeadReach(log, STREAM)
    assert [reach.holds(event(seq)) for seq in (1, 2)] == [True, True]
    assert log.heads_read == 1
    assert reach.reached() == ReachResult({}, 0)
    assert log.heads_read == 1


@pytest.mark.parametrize("beyond", [{"position": 21}, {"seq": 3}, {"shard": 4}], ids=str)
def test_each_number_beyond_the_head_alone_is_enough(beyond: dict[str, Any]) -> None:
    reach = HeadReach(GrowingLog(event(1), event(2)), STREAM)
    # Both before the head was read and after it.
    assert not reach.holds(event(2)._replace(**beyond))
    assert not reach.holds(event(2)._replace(**beyond))
    assert reach.holds(event(2))


def test_the_head_is_read_once_a_poll_for_records_beyond_it() -> None:
    log = GrowingLog(event(1))
    reach = HeadReach(log, STREAM)
    assert [reach.holds(event(seq)) for seq in (2, 3, 1)] == [False, False, True]
    assert log.heads_read == 1
    log.events.append(event(2))
    assert not reach.holds(event(2))
    reach.on_poll()
    assert reach.holds(event(2))
    assert log.heads_read == 2


def test_a_shard_is_due_up_to_the_head_once_the_head_has_reached_an_early_record() -> None:
    log = GrowingLog(event(1))
    reach = HeadReach(log, STREAM)
    assert not reach.holds(event(2))
    log.events += [event(2), event(3)]
    reach.on_poll()
    assert reach.reached() == ReachResult({3: 3}, 0)
    assert reach.reached() == ReachResult({}, 0)


def test_an_early_record_that_differs_from_the_log_is_foreign_and_its_shard_is_still_filled() -> None:
    log = GrowingLog(event(1))
    reach = HeadReach(log, STREAM)
    assert not reach.holds(event(2, payload=b"forged"))
    log.events.append(event(2))
    reach.on_poll()
    assert reach.reached() == ReachResult({3: 2}, 1)


def test_a_record_that_stays_beyond_the_head_is_foreign_after_two_idle_checks() -> None:
    log = GrowingLog(event(1))
    reach = HeadReach(log, STREAM)
    idle_check(log, reach)
    assert not reach.holds(event(9))
    found = []
    for _ in range(IDLE_CHECKS + 1):
        idle_check(log, reach)
        found.append(reach.reached())
    assert found == [ReachResult({}, 0)] * (IDLE_CHECKS - 1) + [ReachResult({}, 1), ReachResult({}, 0)]


def test_a_flood_of_records_beyond_the_head_is_remembered_up_to_a_bound() -> None:
    reach = HeadReach(GrowingLog(event(1)), STREAM)
    for seq in range(2, MAX_EARLY + 2):
        assert not reach.holds(event(seq))
    with pytest.raises(BeyondHead, match="position 99990 is beyond the head of the log, like 1000 other records"):
        reach.holds(event(9_999))
    assert reach.holds(event(1))


def test_a_forgotten_head_is_read_again() -> None:
    log = GrowingLog(event(1), event(2))
    reach = HeadReach(log, STREAM)
    assert reach.holds(event(2))
    assert not reach.holds(event(9))
    # A restore has removed the second event.
    del log.events[1]
    reach.forget()
    assert not reach.holds(event(2))
    assert log.heads_read == 2
    reach.forget()
    for _ in range(IDLE_CHECKS):
        idle_check(log, reach)
    assert reach.reached() == ReachResult({}, 0)
