"""Group commit: who shares a transaction, who is refused, and who is not dragged down by whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.ingest.group_commit import GroupCommit, NotRecorded, QueueFull
from tests.unit.domain.given import NOW_MS, a_ping

Commits = GroupCommit[GpsPing, PingOutcome]


class Recorder:
    """Records in memory; ``gate`` holds it back so that a test decides what piles up behind it."""

    def __init__(self) -> None:
        self.batches: list[list[GpsPing]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fail: Callable[[Sequence[GpsPing]], None] = lambda pings: None

    def __call__(self, pings: Sequence[GpsPing]) -> list[PingOutcome]:
        self.entered.set()
        assert self.gate.wait(10)
        self.fail(pings)
        self.batches.append(list(pings))
        return [PingOutcome(number, is_new=True) for number, _ in enumerate(pings, start=1)]


@contextmanager
def committing(recorder: Recorder, *, queue_pings: int = 100, batch_pings: int = 50) -> Iterator[Commits]:
    commits = Commits(recorder, max_queued=queue_pings, max_batch=batch_pings)
    commits.start()
    try:
        yield commits
    finally:
        recorder.gate.set()
        commits.stop()


def some(count: int, rider: str = "anna") -> list[GpsPing]:
    return [a_ping(rider, NOW_MS + number) for number in range(count)]


async def _behind_a_held_commit(commits: Commits, recorder: Recorder) -> asyncio.Task[list[PingOutcome]]:
    recorder.gate.clear()
    recorder.entered.clear()
    first = asyncio.create_task(commits.submit(some(1)))
    assert await asyncio.to_thread(recorder.entered.wait, 10)
    return first


def test_requests_that_arrive_together_share_a_transaction_and_get_their_own_outcomes() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        others = [asyncio.create_task(commits.submit(some(n, f"rider-{n}"))) for n in (2, 3, 4)]
        while commits.queued() < 9:
            await asyncio.sleep(0)
        recorder.gate.set()
        answers = await asyncio.gather(first, *others)
        assert [len(answer) for answer in answers] == [1, 2, 3, 4]
        assert [o.position for o in answers[2]] == [3, 4, 5]

    with committing(recorder) as commits:
        asyncio.run(scenario(commits))
    assert [len(batch) for batch in recorder.batches] == [1, 9]


def test_what_waits_counts_the_running_transaction_too() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        assert commits.waiting() == (0, 0.0)
        first = await _behind_a_held_commit(commits, recorder)
        assert commits.queued() == 0
        pings, seconds = commits.waiting()
        assert (pings, seconds > 0.0) == (1, True)
        second = asyncio.create_task(commits.submit(some(2)))
        while commits.queued() < 2:
            await asyncio.sleep(0)
        assert commits.waiting()[0] == 3
        recorder.gate.set()
        await asyncio.gather(first, second)
        assert commits.waiting() == (0, 0.0)

    with committing(recorder) as commits:
        asyncio.run(scenario(commits))


def test_a_request_is_never_split_between_transactions() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        others = [asyncio.create_task(commits.submit(some(n))) for n in (30, 30, 60)]
        while commits.queued() < 120:
            await asyncio.sleep(0)
        recorder.gate.set()
        await asyncio.gather(first, *others)

    with committing(recorder, queue_pings=200) as commits:
        asyncio.run(scenario(commits))
    assert [len(batch) for batch in recorder.batches] == [1, 30, 30, 60]


def test_invariant_15_a_full_queue_refuses_and_records_nothing_of_it() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        waiting = asyncio.create_task(commits.submit(some(60)))
        while commits.queued() < 60:
            await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await commits.submit(some(41))
        fits = asyncio.create_task(commits.submit(some(40)))
        while commits.queued() < 100:
            await asyncio.sleep(0)
        recorder.gate.set()
        await asyncio.gather(first, waiting, fits)

    with committing(recorder) as commits:
        asyncio.run(scenario(commits))
    assert sum(len(batch) for batch in recorder.batches) == 101


def test_an_event_store_that_is_away_is_told_to_every_request_of_the_batch() -> None:
    recorder = Recorder()

    def unavailable(_pings: Sequence[GpsPing]) -> None:
        raise OperationalError("server closed the connection")

    recorder.fail = unavailable
    with committing(recorder) as commits, pytest.raises(NotRecorded, match="closed the connection"):
        asyncio.run(commits.submit(some(3)))
    assert recorder.batches == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ZeroDivisionError("a bug"), ZeroDivisionError), (IntegrityError("no next version"), NotRecorded)],
)
def test_one_request_that_cannot_be_recorded_does_not_take_the_others_down(
    error: Exception, raised: type[Exception]
) -> None:
    recorder = Recorder()

    def poisoned(pings: Sequence[GpsPing]) -> None:
        if any(ping.rider_id == "poison" for ping in pings):
            raise error

    recorder.fail = poisoned

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        good = asyncio.create_task(commits.submit(some(2, "good")))
        bad = asyncio.create_task(commits.submit(some(1, "poison")))
        while commits.queued() < 3:
            await asyncio.sleep(0)
        recorder.gate.set()
        await first
        assert len(await good) == 2
        with pytest.raises(raised):
            await bad

    with committing(recorder) as commits:
        asyncio.run(scenario(commits))
    assert [len(batch) for batch in recorder.batches] == [1, 2]


def test_stopping_commits_what_is_queued_and_refuses_what_comes_after() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        queued = asyncio.create_task(commits.submit(some(5)))
        while commits.queued() < 5:
            await asyncio.sleep(0)
        stopping = asyncio.create_task(asyncio.to_thread(commits.stop))
        recorder.gate.set()
        await asyncio.gather(first, queued, stopping)
        with pytest.raises(QueueFull):
            await commits.submit(some(1))

    commits = Commits(recorder)
    commits.start()
    asyncio.run(scenario(commits))
    assert [len(batch) for batch in recorder.batches] == [1, 5]


def test_a_client_that_has_gone_disturbs_nobody() -> None:
    recorder = Recorder()

    async def scenario(commits: Commits) -> None:
        first = await _behind_a_held_commit(commits, recorder)
        gone = asyncio.create_task(commits.submit(some(2)))
        stays = asyncio.create_task(commits.submit(some(3)))
        while commits.queued() < 5:
            await asyncio.sleep(0)
        gone.cancel()
        recorder.gate.set()
        assert len(await stays) == 3
        await first

    with committing(recorder) as commits:
        asyncio.run(scenario(commits))
