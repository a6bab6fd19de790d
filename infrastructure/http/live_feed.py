"""Collects, for all pages of a process at once, which riders moved and which orders changed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, Protocol

import msgspec

from domain.deliveries.values import DeliverySnapshot
from domain.features.orders import OPEN_STATUSES
from infrastructure.event_store.event_pages import RecordedEvent
from infrastructure.event_store.log_tail import LogReplaced, LogTail
from infrastructure.http.errors import ApiError
from infrastructure.redis.state_reader import ReadModelUnavailable
from infrastructure.timestamps import now_ms
from read_models.deliveries.queries import Filters
from read_models.locations.state import UnreadableLocationState, decode

log = logging.getLogger("ridelog.live")

INTERVAL_S: Final = 0.25
MAX_RIDERS: Final = 5_000
"""Riders on the map: those that moved last."""
MAX_ORDERS: Final = 2_000
"""Open orders on the map, and orders that ended a moment ago."""
MAX_READ_KEYS: Final = 2_000
"""Keys that one turn reads; the others wait for the next turn."""
MAX_KEPT_FRAMES: Final = 40
"""Changes of ten seconds. A page that is further behind gets everything again."""
_MAX_EVENTS: Final = 5_000
_FIRST_POLL_S: Final = 5.0


class Locations(Protocol):
    """States of the projection locations. Both raise ReadModelUnavailable."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]: ...

    async def sample(self, most: int) -> dict[str, bytes]: ...


class Orders(Protocol):
    """Rows of the projection deliveries. Blocks. Both raise ApiError."""

    def some(self, order_ids: Sequence[str]) -> list[DeliverySnapshot]: ...

    def page(self, filters: Filters, after: tuple[int, str] | None, limit: int) -> list[DeliverySnapshot]: ...


class RiderPlace(NamedTuple):
    """Where a rider was last, by event time; ``position``: of the last event that the read model has folded."""

    rider_id: str
    latitude: float
    longitude: float
    event_timestamp_ms: int
    position: int


class LiveFrame(NamedTuple):
    """One message to pages, with its number in this feed."""

    number: int
    body: bytes


class LiveFeed:
    """Runs while a page follows it, in the event loop. The log says what is new, the read models say what is."""

    def __init__(self, tail: LogTail, locations: Locations, orders: Orders, interval_s: float = INTERVAL_S) -> None:
        self._tail = tail
        self._locations = locations
        self._orders = orders
        self._interval_s = interval_s
        self._riders: OrderedDict[str, RiderPlace] = OrderedDict()
        self._open: OrderedDict[str, DeliverySnapshot] = OrderedDict()
        # Key -> position of its newest event: waits until the read model has folded it.
        self._pending_riders: OrderedDict[str, int] = OrderedDict()
        self._pending_orders: OrderedDict[str, int] = OrderedDict()
        self._frames: deque[LiveFrame] = deque(maxlen=MAX_KEPT_FRAMES)
        self._number = 0
        self._changed = asyncio.Event()
        self._pages = 0
        self._task: asyncio.Task[None] | None = None
        self._seeded = asyncio.Event()  # a first attempt to read the map has ended
        self._is_current = False

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While inside, the feed runs; at the first page it reads everything that is on the map."""
        self._pages += 1
        if self._task is None or self._task.done():
            self._seeded.clear()
            self._is_current = False
            self._task = asyncio.create_task(self._run())
        try:
            await self._seeded.wait()
            yield
        finally:
            self._pages -= 1
            if self._pages == 0 and self._task is not None:
                # Let go of it before it has ended: a page that comes meanwhile starts another.
                ending, self._task = self._task, None
                ending.cancel()
                with suppress(asyncio.CancelledError):
                    await ending

    @property
    def is_current(self) -> bool:
        """Whether the read models were read since the first page came."""
        return self._is_current

    def everything(self) -> LiveFrame:
        """All riders and open orders that the feed knows."""
        return LiveFrame(self._number, _frame("snapshot", self.body()))

    def body(self) -> bytes:
        """All riders and open orders, as JSON."""
        return _body(self._riders.values(), self._open.values())

    def since(self, number: int) -> list[LiveFrame] | None:
        """The frames after ``number``; None if some of them are not kept any more."""
        if number >= self._number:
            return []
        if not self._frames or self._frames[0].number > number + 1:
            return None
        return [frame for frame in self._frames if frame.number > number]

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next frame. Returns False after ``timeout_s``."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """Wake every page that waits, also to let its stream end."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _run(self) -> None:
        while True:
            try:
                with self._tail.watching() as epoch:
                    position = await self._begin()
                    await self._seed()
                    self._seeded.set()
                    await self._follow(position, epoch)
                continue  # the log grew faster than it was read: read the map again
            except LogReplaced:
                log.info("the log was replaced: the map is read again")
            except (ReadModelUnavailable, ApiError) as error:
                log.info("the map is not refreshed for now: %s", error)
            except Exception:
                # The task must survive any error: every open page waits for it.
                log.exception("the map cannot be refreshed")
            self._seeded.set()
            await asyncio.sleep(1.0)

    async def _begin(self) -> int:
        """The position before the map is read. An order that changes meanwhile is read again: none is missed."""
        await self._tail.wait(-1, _FIRST_POLL_S)
        if self._tail.position < 0:
            raise ReadModelUnavailable("the log is not read yet")
        return self._tail.position

    async def _seed(self) -> None:
        """Read what is on the map. Pages that follow already get it as changes."""
        places = _places(await self._locations.sample(MAX_RIDERS))
        found = await asyncio.to_thread(self._open_orders)
        self._riders = OrderedDict((place.rider_id, place) for place in sorted(places, key=lambda one: one.position))
        self._open = OrderedDict((order.order_id, order) for order in found)
        self._is_current = True
        self._emit(list(self._riders.values()), list(self._open.values()))

    def _open_orders(self) -> list[DeliverySnapshot]:
        found: list[DeliverySnapshot] = []
        for status in OPEN_STATUSES:
            found += self._orders.page(Filters(status=str(status)), None, MAX_ORDERS - len(found) or 1)
        return found[:MAX_ORDERS]

    async def _follow(self, position: int, epoch: int) -> None:
        """Send changes until the tail has no longer all events after the last one that was read."""
        while (events := self._tail.since(position, _MAX_EVENTS, epoch)) is not None:
            self._note(events)
            position = events[-1].position if events else position
            await self._turn()
            await asyncio.sleep(self._interval_s)

    def _note(self, events: Sequence[RecordedEvent]) -> None:
        for event in events:
            if event.event_type == "GpsPing":
                self._pending_riders[event.key] = event.position
            elif event.stream == "Delivery":
                self._pending_orders[event.key] = event.position
        for pending, most in ((self._pending_riders, MAX_RIDERS), (self._pending_orders, MAX_ORDERS)):
            while len(pending) > most:
                pending.popitem(last=False)

    async def _turn(self) -> None:
        """Read the pending keys once, and send what changed."""
        riders = list(self._pending_riders)[:MAX_READ_KEYS]
        orders = list(self._pending_orders)[:MAX_READ_KEYS]
        moved = [place for place in _places(await self._locations.get_many(riders)) if self._is_newer(place)]
        read = await asyncio.to_thread(self._orders.some, orders) if orders else []
        changed = [order for order in read if self._is_changed(order)]
        for place in moved:
            self._riders[place.rider_id] = place
            self._riders.move_to_end(place.rider_id)
            _settle(self._pending_riders, place.rider_id, place.position)
        for order in changed:
            self._open[order.order_id] = order
            _settle(self._pending_orders, order.order_id, order.position)
            if order.status not in OPEN_STATUSES:
                del self._open[order.order_id]
        for known, most in ((self._riders, MAX_RIDERS), (self._open, MAX_ORDERS)):
            while len(known) > most:
                known.popitem(last=False)
        if moved or changed:
            self._emit(moved, changed)

    def _is_newer(self, place: RiderPlace) -> bool:
        known = self._riders.get(place.rider_id)
        return known is None or place.position > known.position

    def _is_changed(self, order: DeliverySnapshot) -> bool:
        known = self._open.get(order.order_id)
        wanted = self._pending_orders.get(order.order_id, 0)
        return known.position < order.position if known is not None else order.position >= wanted

    def _emit(self, riders: Sequence[RiderPlace], orders: Sequence[DeliverySnapshot]) -> None:
        self._number += 1
        self._frames.append(LiveFrame(self._number, _frame("changes", _body(riders, orders))))
        self.wake()


def live_frames(feed: LiveFeed, is_stopping: Callable[[], bool], heartbeat_s: float) -> AsyncIterator[bytes]:
    """The stream of one page: everything once, then changes, four times a second at most."""

    async def frames() -> AsyncIterator[bytes]:
        async with feed.following():
            frame = feed.everything()
            yield frame.body
            number = frame.number
            while not is_stopping():
                found = feed.since(number)
                if found is None:
                    found = [feed.everything()]
                if found:
                    number = found[-1].number
                    yield b"".join(frame.body for frame in found)
                elif not await feed.wait(heartbeat_s):
                    yield b": \n\n"

    return frames()


def _places(states: dict[str, bytes]) -> list[RiderPlace]:
    found: list[RiderPlace] = []
    for rider_id, data in states.items():
        try:
            state = decode(data)
        except UnreadableLocationState as error:
            # Invariant 16: one bad state takes no other rider off the map.
            log.warning("the location of a rider cannot be read: %s", error)
            continue
        if (fix := state.latest) is not None:
            found.append(RiderPlace(rider_id, fix.latitude, fix.longitude, fix.t_ms, state.position))
    return found


def _settle(pending: OrderedDict[str, int], key: str, position: int) -> None:
    if position >= pending.get(key, 0):
        pending.pop(key, None)


def _body(riders: Iterable[RiderPlace], orders: Iterable[DeliverySnapshot]) -> bytes:
    return msgspec.json.encode(
        {"at_ms": now_ms(), "riders": [place._asdict() for place in riders], "orders": list(orders)}
    )


def _frame(kind: str, body: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)
