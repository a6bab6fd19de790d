"""Counts for a demo what was acknowledged and what the log has, while its parts are killed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from infrastructure.client.client import RidelogClient
from infrastructure.client.messages import CommandReceipt, PostReceipt
from infrastructure.errors import UserError
from infrastructure.simulator.event_books import EventBooks, EventName

log = logging.getLogger(__name__)

READ_INTERVAL_S: Final = 1.0
PAGE_EVENTS: Final = 1_000
TIMEOUT_S: Final = 10.0
PING: Final = "GpsPing"
DELIVERIES: Final = "Delivery"


class CountedClient(RidelogClient):
    """A client that enters into the books what the server acknowledges."""

    def __init__(self, url: str, books: EventBooks) -> None:
        super().__init__(url)
        self._books = books

    def post_pings(self, pings: Sequence[Mapping[str, Any]]) -> PostReceipt:
        """As ``RidelogClient``. An answer that was lost is repeated, and then a duplicate: acknowledged too."""
        receipt = super().post_pings(pings)
        rejected = {item.index for item in receipt.rejected}
        self._books.acknowledge(
            (ping["rider_id"], ping["event_id"]) for index, ping in enumerate(pings) if index not in rejected
        )
        return receipt

    def place_order(self, order: Mapping[str, Any], key: str) -> CommandReceipt:
        """As ``RidelogClient``."""
        return self._entered(order["order_id"], key, super().place_order(order, key))

    def delivery_command(self, order_id: str, verb: str, body: Mapping[str, Any], key: str) -> CommandReceipt:
        """As ``RidelogClient``."""
        return self._entered(order_id, key, super().delivery_command(order_id, verb, body, key))

    def _entered(self, order_id: str, key: str, receipt: CommandReceipt) -> CommandReceipt:
        # A repeat by its content has the key of the first one in the log.
        if receipt.code is None and receipt.recorded:
            self._books.acknowledge([(order_id, key)])
        return receipt


class _Event(msgspec.Struct):
    stream: str
    key: str
    type: str
    event_id: str
    command_id: str | None


class _Page(msgspec.Struct):
    items: list[_Event]
    next: int
    head: int


class LogCount:
    """Reads the log by ``GET /events`` in a thread, and enters into the books what it has."""

    def __init__(self, url: str, books: EventBooks) -> None:
        """Begins at the end that the log has now. Raises UserError if the server does not answer."""
        self._books = books
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        try:
            # Of this page only the head counts: what was recorded before the demo is not compared.
            self.position = self._page(0, 1).head
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise UserError(f"the log cannot be read: {error}") from error
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-count", daemon=True)

    def read(self) -> None:
        """Read the log to its end and check the books. Raises HTTPError, MsgspecError: call it again."""
        marked = self._books.mark()
        while True:
            page = self._page(self.position, PAGE_EVENTS)
            self._books.record(name for one in page.items if (name := event_name(one)) is not None)
            self.position = page.next
            if page.next >= page.head:
                break
        self._books.check(marked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        self._http.close()

    def _page(self, after: int, limit: int) -> _Page:
        answer = self._http.get("/events", params={"after": after, "limit": limit})
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=_Page)

    def _run(self) -> None:
        while not self._stop.wait(READ_INTERVAL_S):
            try:
                self.read()
            except (httpx.HTTPError, msgspec.MsgspecError) as error:
                # A part of the server was killed: what waits for its check goes on to wait.
                log.info("the log cannot be read now: %s", error)


def event_name(event: _Event) -> EventName | None:
    """What the sender of the event knows it by; None for an event that no client has sent."""
    if event.type == PING:
        return event.key, event.event_id
    if event.stream == DELIVERIES and event.command_id is not None:
        return event.key, event.command_id
    return None
