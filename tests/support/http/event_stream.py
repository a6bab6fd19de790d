"""A client of Server-Sent Events that reads as a browser does: fields, ids, and comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx


class Message(NamedTuple):
    """One block of a stream. ``kind``: its event type; ``comment``: whether it has no data."""

    kind: str
    last_id: str
    data: Any
    comment: bool


class EventStreamClient:
    """Reads the messages of one response in order."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def messages(self) -> Iterator[Message]:
        """All messages, until the server ends the stream."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(":")
                fields[name or "comment"] = value.removeprefix(" ")
            elif fields:
                data = fields.get("data")
                yield Message(
                    fields.get("event", "message"),
                    fields.get("id", ""),
                    None if data is None else json.loads(data),
                    "comment" in fields,
                )
                fields = {}

    def take(self, count: int) -> list[Message]:
        """The next messages with data or a comment, without those that only set the time to wait."""
        found: list[Message] = []
        for message in self.messages():
            if message.data is not None or message.comment:
                found.append(message)
            if len(found) == count:
                break
        return found


@contextmanager
def event_stream(url: str, **headers: str) -> Iterator[EventStreamClient]:
    """An open stream of ``url``."""
    accept = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with httpx.Client(trust_env=False, timeout=30) as client, client.stream("GET", url, headers=accept) as response:
        yield EventStreamClient(response)
