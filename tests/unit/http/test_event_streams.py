"""The response of a stream: it ends with the session that allowed it, and not while that cannot be looked up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infrastructure.http.errors import ApiError
from infrastructure.http.event_streams import EventStream, OpenStreams
from infrastructure.http.sessions import SESSION_CHECK
from infrastructure.observability import metrics


class SessionChecks:
    """Answers the checks of a session in turn: a status of an error, or None for a session that lasts."""

    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)

    async def __call__(self) -> None:
        status = self.answers.pop(0)
        if status is not None:
            raise ApiError(status, "refused", "the check failed")


class SilentClient:
    """A client that stays, and gets what is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("it never leaves")

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)


async def endless() -> AsyncIterator[bytes]:
    yield b": first\n\n"
    await asyncio.Event().wait()


def served(scope: Any) -> tuple[SilentClient, OpenStreams]:
    client, streams = SilentClient(), OpenStreams(1)
    response: Any = EventStream(streams, endless, check_interval_s=0.001)
    asyncio.run(asyncio.wait_for(response(scope, client.receive, client.send), 30.0))
    return client, streams


@pytest.mark.parametrize("status", [401, 403])
def test_a_stream_ends_when_its_session_has_ended(status: int) -> None:
    checks = SessionChecks(None, 503, None, status)
    client, streams = served({"state": {SESSION_CHECK: checks}})
    assert checks.answers == [], "a session that cannot be looked up is checked again"
    assert [message.get("body") for message in client.messages] == [None, b": first\n\n", b""]
    assert client.messages[-1]["more_body"] is False
    assert streams.open == 0


def test_a_check_that_fails_otherwise_is_an_error_and_ends_the_stream() -> None:
    with pytest.raises(IndexError):
        served({"state": {SESSION_CHECK: SessionChecks()}})


def test_the_metric_counts_the_streams_that_are_open_and_a_refused_one_is_none() -> None:
    """Given room for two, when streams open, one is refused and all end, then the metric is 0, 1, 2, 2, 1 and 0."""
    streams = OpenStreams(2)
    seen = [metrics.STREAMS._value.get()]
    with streams.place():
        seen.append(metrics.STREAMS._value.get())
        with streams.place():
            seen.append(metrics.STREAMS._value.get())
            with pytest.raises(ApiError), streams.place():
                raise AssertionError("there is room for two")
            seen.append(metrics.STREAMS._value.get())
        seen.append(metrics.STREAMS._value.get())
    seen.append(metrics.STREAMS._value.get())
    assert seen == [0, 1, 2, 2, 1, 0]
    assert metrics.STREAMS_CAPACITY._value.get() == 2


def test_a_process_that_starts_reports_no_stream_of_the_one_before() -> None:
    metrics.STREAMS.set(7)
    OpenStreams(3)
    assert metrics.STREAMS._value.get() == 0
