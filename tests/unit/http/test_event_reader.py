"""The frames of a stream of ``/events`` over a log in memory: no gap through failures, and a sign of life in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infrastructure.event_store.event_pages import LOG_REPLACED, EventPage, EventSelection
from infrastructure.event_store.log_cursor import LogCursor, parse_marked
from infrastructure.event_store.log_tail import LogTail
from infrastructure.http.errors import ApiError
from infrastructure.http.event_json import EventEncoder
from infrastructure.http.event_streams import OpenStreams
from infrastructure.http.events import EventReader
from infrastructure.schema_registry.client import RegistryUnavailable
from tests.support.ports_in_memory.log_end import MemoryLogEnd

LIMIT_S = 30.0
"""Ends a test whose stream sends nothing."""


class FlakyDecoding:
    """Decodes nothing, and fails ``failures`` times. Remembers the threads that called it."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.threads: set[int] = set()

    def __call__(self, _payload: bytes) -> dict[str, Any]:
        self.threads.add(threading.get_ident())
        if self.failures:
            self.failures -= 1
            raise RegistryUnavailable("the registry does not answer")
        return {}


class GrowingLog(MemoryLogEnd):
    """Has one more ping at each read of its head."""

    is_growing = True

    def head(self) -> Any:
        if self.is_growing:
            self.ping("anna")
        return super().head()


class Follower:
    """Reads a stream frame by frame."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames = frames
        self._fields: list[dict[str, str]] = []

    async def block(self) -> dict[str, str]:
        """The fields of the next block with an id; a comment's name is empty."""
        while not self._fields:
            frame = await asyncio.wait_for(anext(self._frames), LIMIT_S)
            for block in frame.decode().strip().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
                if "id" in fields:
                    self._fields.append(fields)
        return self._fields.pop(0)

    async def positions(self, count: int) -> list[int]:
        return [place(await self.block()) for _ in range(count)]


def place(block: dict[str, str]) -> int:
    return int(block["id"].partition("-")[0])


def source_of(log: MemoryLogEnd, tail: LogTail, decode: Any = None) -> EventReader:
    return EventReader(log, tail, EventEncoder(decode or FlakyDecoding()), retry_interval_s=0.001)


def follow(
    source: EventReader, start: EventPage, selection: EventSelection | None = None, heartbeat_s: float = 30
) -> Follower:
    return Follower(source.frames(selection or EventSelection(), start, OpenStreams(1), heartbeat_s))


@pytest.mark.parametrize("failures", [1, 3])
def test_events_that_cannot_be_decoded_for_now_are_not_passed(failures: int) -> None:
    log = MemoryLogEnd()
    log.ping("anna", "ben")
    tail = LogTail(log)
    decode = FlakyDecoding(failures)

    async def followed() -> list[int]:
        source = source_of(log, tail, decode)
        stream = follow(source, await source.start(LogCursor(0)))
        seen = await stream.positions(3)
        tail.poll()
        log.ping("anna", "ben", "anna")
        tail.poll()
        decode.failures = failures
        return seen + await stream.positions(3)

    assert asyncio.run(followed()) == [0, 1, 2, 3, 4, 5]
    assert threading.get_ident() not in decode.threads, "a registry that is slow must not stop the event loop"


def test_a_stream_that_is_interrupted_before_its_first_event_resumes_where_it_began() -> None:
    log = MemoryLogEnd()
    log.ping("anna", "ben")

    async def resumed() -> list[int]:
        source = source_of(log, LogTail(log))
        first = await follow(source, await source.start(None)).block()
        assert first["event"] == "log"
        log.ping("chloe")
        start = await source.start(parse_marked(first["id"]))
        return await follow(source, start).positions(2)

    assert asyncio.run(resumed()) == [2, 3]


@pytest.mark.parametrize("by_tail", [True, False], ids=["tail", "pages"])
def test_a_rare_type_gets_signs_of_life_while_other_events_pass(by_tail: bool) -> None:
    log = GrowingLog()
    tail = LogTail(log, interval_s=0.001)
    if by_tail:
        tail.start()

    async def passed() -> list[dict[str, str]]:
        source = source_of(log, tail)
        rare = EventSelection(event_type="AlertReviewed")
        stream = follow(source, await source.start(None), rare, heartbeat_s=0.05)
        return [await stream.block() for _ in range(4)]

    first, *signs = asyncio.run(passed())
    if by_tail:
        tail.stop()
    assert all("data" not in sign for sign in signs)
    places = [place(first), *(place(sign) for sign in signs)]
    assert places == sorted(set(places)), "each has the position that is passed"


def test_the_id_of_an_end_is_refused_too() -> None:
    log = MemoryLogEnd()
    log.ping("anna", "ben", "anna")
    tail = LogTail(log)

    async def ended() -> dict[str, str]:
        source = source_of(log, tail)
        stream = follow(source, await source.start(None))
        await stream.block()
        log.restore(1)
        log.ping("ben", "anna", "ben")
        return await stream.block()

    end = asyncio.run(ended())
    assert (end["event"], LOG_REPLACED in end["data"], end["id"]) == ("end", True, "3-restored")


def test_pages_are_unavailable_with_503_while_the_log_is() -> None:
    log = MemoryLogEnd()
    log.available = False
    source = source_of(log, LogTail(log))
    with pytest.raises(ApiError) as caught:
        asyncio.run(source.start(None))
    assert caught.value.status == 503
