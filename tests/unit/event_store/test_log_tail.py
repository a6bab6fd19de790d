"""The tail of the log: one reader for all, contiguous events, and nothing read while no stream waits."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.event_store import log_tail
from infrastructure.event_store.log_cursor import LogCursor
from infrastructure.event_store.log_tail import LogReplaced, LogTail
from tests.support.ports_in_memory.log_end import MemoryLogEnd


@given(st.lists(st.integers(0, 60), max_size=20), st.integers(1, 50))
def test_a_stream_that_follows_the_tail_gets_every_event_once_and_in_order(batches: list[int], limit: int) -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        got: list[int] = []
        for batch in batches:
            end.ping(*["anna"] * batch)
            tail.poll()
            events = tail.since(LogCursor(got[-1] if got else 0), limit, epoch)
            assert events is not None
            got += [event.position for event in events]
        while events := tail.since(LogCursor(got[-1] if got else 0), limit, epoch):
            got += [event.position for event in events]
    assert got == list(range(1, sum(batches) + 1))


def test_only_the_newest_events_are_in_memory() -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        end.ping(*["anna"] * (log_tail.MAX_TAIL_EVENTS - 1))
        while tail.poll():
            pass
        assert tail.since(LogCursor(0), 1, epoch) != []
        end.ping(*["anna"] * 10)
        tail.poll()
        assert tail.since(LogCursor(0), 1, epoch) is None, "a page of the database has it"
        newest = tail.since(LogCursor(len(end.events) - 3), 10, epoch)
        assert newest is not None
        assert [event.position for event in newest] == [len(end.events) - 2 + step for step in range(3)]


def test_a_tail_that_is_far_behind_starts_at_the_head() -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        end.ping(*["anna"] * (log_tail.MAX_TAIL_EVENTS + 1))
        tail.poll()
        assert tail.position == len(end.events)
        assert tail.since(LogCursor(0), 10, epoch) is None


def test_another_log_and_an_older_state_end_the_streams_of_before() -> None:
    end = MemoryLogEnd()
    end.ping("anna", "ben", "anna")
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        del end.events[1:]
        tail.poll()
        with pytest.raises(LogReplaced):
            tail.since(LogCursor(3), 10, epoch)
        with tail.watching() as later:
            assert tail.since(LogCursor(1), 10, later) == []
            end.log_id = MemoryLogEnd().log_id
            tail.poll()
            with pytest.raises(LogReplaced):
                tail.since(LogCursor(1), 10, later)


@given(st.integers(1, 30), st.integers(0, 29), st.integers(0, 40))
def test_a_log_that_was_restored_and_has_grown_since_ends_the_streams(read: int, kept: int, grown: int) -> None:
    end = MemoryLogEnd()
    end.ping("anna")
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        end.ping(*["anna"] * read)
        tail.poll()
        end.restore(min(kept, read))
        end.ping(*["anna"] * (read + 2 + grown))
        tail.poll()
        with pytest.raises(LogReplaced):
            tail.since(LogCursor(read + 1), 100, epoch)


def test_a_stream_that_read_further_than_the_tail_is_not_continued_after_a_restore() -> None:
    """A page reads past the tail; the log is restored before the tail polls, and then grows to another event there."""
    end = MemoryLogEnd()
    end.ping("anna", "ben", "anna")
    reached = end.events[-1].cursor()
    tail = LogTail(end)
    with tail.watching() as epoch:
        end.restore(2)
        tail.poll()
        assert tail.since(reached, 10, epoch) is None, "a page verifies the position"
        end.ping("ben", "ben")
        tail.poll()
        with pytest.raises(LogReplaced):
            tail.since(reached, 10, epoch)


def test_the_place_before_the_first_event_in_memory_is_verified_too() -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)
    with tail.watching() as epoch:
        tail.poll()
        for count in (log_tail.MAX_TAIL_EVENTS - 1, 10):
            end.ping(*["anna"] * count)
            while tail.poll():
                pass
        before = end.events[len(end.events) - log_tail.MAX_TAIL_EVENTS - 1].cursor()
        assert tail.since(before, 1, epoch) == end.events[before.position : before.position + 1]
        with pytest.raises(LogReplaced):
            tail.since(LogCursor(before.position, "00000000"), 1, epoch)


def test_nothing_is_kept_when_the_last_stream_has_left() -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)
    with tail.watching():
        tail.poll()
        end.ping("anna")
        tail.poll()
        assert tail.position == 1
    assert tail.position == -1


def test_all_that_wait_are_woken_by_one_read() -> None:
    end = MemoryLogEnd()
    tail = LogTail(end)

    async def wait_twenty() -> list[bool]:
        waiting = [asyncio.create_task(tail.wait(0, 30.0)) for _ in range(20)]
        while len(tail._waiting) < 20:
            await asyncio.sleep(0)
        end.ping("anna")
        reads = end.reads
        await asyncio.to_thread(tail.poll)
        found = await asyncio.gather(*waiting)
        assert end.reads == reads + 1
        return found

    with tail.watching():
        tail.poll()
        assert asyncio.run(wait_twenty()) == [True] * 20
        assert asyncio.run(tail.wait(1, 0.01)) is False
