"""Collects, for all pages of a process at once, which riders moved and which orders changed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, Protocol

import msgspec

from domain.deliveries.values import DeliverySnapshot
from domain.features.orders import OPEN_STATUSES
from infrastructure.event_store.log_changes import LogChanges, LogPlace
from infrastructure.event_store.log_tail import LogReplaced
from infrastructure.http.errors import ApiError
from infrastructure.http.live_places import RiderPlace, newer_places
from infrastructure.http.pending_keys import MAX_PENDING_KEYS, PendingKeys
from infrastructure.http.read_delay import ReadDelay
from infrastructure.redis.state_reader import ReadModelUnavailable
from infrastructure.timestamps import now_ms
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.live")

INTERVAL_S: Final = 0.25
MAX_READ_DELAY: Final = 0.8
"""Of the interval, how long a turn waits at most between its read of the log and that of the read models."""
MAX_RIDERS: Final = 5_000
"""Riders on the map: those that moved last since a page came, and before that any."""
MAX_ORDERS: Final = 2_000
"""Open orders on the map: those that were placed last."""
MAX_READ_KEYS: Final = 2_000
"""Keys that one turn reads; the others are first in the next turn."""
RESEED_INTERVAL_S: Final = 5.0
"""Bounds the cost of a read model that stays far behind: changes are dropped, and each page gets everything again."""
MAX_KEPT_FRAMES: Final = 40
"""Changes of ten seconds. A page that is further behind gets everything again."""


class ChangedLog(Protocol):
    """The log, as far as the feed asks it. Blocks."""

    def after(self, place: LogPlace | None) -> LogChanges:
        """What changed after ``place``. Raises LogReplaced, PortUnavailable and SinkRejected."""
        ...


class Locations(Protocol):
    """States of the projection locations. Both raise ReadModelUnavailable."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]: ...

    async def sample(self, most: int) -> dict[str, bytes]: ...


class Orders(Protocol):
    """Rows of the projection deliveries. Blocks. Both raise ApiError."""

    def some(self, order_ids: Sequence[str]) -> list[DeliverySnapshot]: ...

    def newest(self, status: str, limit: int) -> list[DeliverySnapshot]: ...


class LiveFrame(NamedTuple):
    """One message to pages, with its number in this feed."""

    number: int
    body: bytes


class LiveFeed:
    """Runs while a page follows it, in the event loop. The log says what is new, the read models say what is."""

    def __init__(
        self,
        changes: ChangedLog,
        locations: Locations,
        orders: Orders,
        interval_s: float = INTERVAL_S,
        *,
        max_pending: int = MAX_PENDING_KEYS,
        reseed_interval_s: float = RESEED_INTERVAL_S,
    ) -> None:
        self._changes = changes
        self._locations = locations
        self._orders = orders
        self._interval_s = interval_s
        self._delay = ReadDelay(MAX_READ_DELAY * interval_s)
        self._reseed_interval_s = reseed_interval_s
        self._riders: OrderedDict[str, RiderPlace] = OrderedDict()
        self._open: OrderedDict[str, DeliverySnapshot] = OrderedDict()
        self._pending_riders = PendingKeys(max_pending)
        self._pending_orders = PendingKeys(max_pending)
        self._just_moved: set[str] = set()
        self._frames: deque[LiveFrame] = deque(maxlen=MAX_KEPT_FRAMES)
        self._number = 0
        self._changed = asyncio.Event()
        self._pages = 0
        self._task: asyncio.Task[None] | None = None
        self._seeded = asyncio.Event()  # a first attempt to read the map has ended
        self._is_current = False
        self._reached: LogPlace | None = None

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
                # The position before the map is read. An order that changes meanwhile is read again: none is missed.
                await self._read_changes()
                await self._seed()
                self._seeded.set()
                await self._follow()
                continue  # the log grew faster than it was read, or a change was missed: read the map again
            except LogReplaced:
                log.info("the log was replaced: the map is read again")
                self._reached = None
                self._pending_riders.clear()
                self._pending_orders.clear()
                continue
            except (ReadModelUnavailable, ApiError, PortUnavailable, SinkRejected) as error:
                log.info("the map is not refreshed for now: %s", error)
            except Exception:
                # The task must survive any error: every open page waits for it.
                log.exception("the map cannot be refreshed")
            self._seeded.set()
            await asyncio.sleep(1.0)

    async def _read_changes(self) -> bool:
        """Note what changed since the last read. Returns False if that cannot be known without reading the map."""
        found = await asyncio.to_thread(self._changes.after, self._reached)
        self._reached = found.upto
        if found.keys is None:
            return False
        self._pending_riders.note(found.keys.riders)
        self._pending_orders.note(found.keys.orders)
        return True

    async def _seed(self) -> None:
        """Read what is on the map. Pages that follow already get it as a snapshot, without what is no longer there."""
        self._pending_riders.has_dropped = self._pending_orders.has_dropped = False
        states = await self._locations.sample(MAX_RIDERS)
        # The sample is of any riders: those that moved last are known here.
        known = list(self._riders)
        for first in range(0, len(known), MAX_READ_KEYS):
            states |= await self._locations.get_many(known[first : first + MAX_READ_KEYS])
        found = await asyncio.to_thread(self._open_orders)
        places = sorted(newer_places(states, {}).places, key=lambda place: place.position)[-MAX_RIDERS:]
        self._riders = OrderedDict((place.rider_id, place) for place in places)
        self._open = OrderedDict((order.order_id, order) for order in found)
        self._is_current = True
        self._frames.clear()
        self._emit("snapshot", places, found)

    def _open_orders(self) -> list[DeliverySnapshot]:
        """The open orders that were placed last, by the time of placing."""
        found = [order for status in OPEN_STATUSES for order in self._orders.newest(str(status), MAX_ORDERS)]
        # The four reads are of four moments: an order that changed between them is in two.
        latest = {order.order_id: order for order in sorted(found, key=lambda order: order.position)}
        return sorted(latest.values(), key=lambda order: (order.placed_at_ms, order.order_id))[-MAX_ORDERS:]

    async def _follow(self) -> None:
        """Send changes until some were missed: by the read of the log, which passes a bounded part of it, or here."""
        clock = asyncio.get_running_loop().time
        seeded_at = clock()
        while await self._read_changes():
            # A dropped change may be the end of an order, which no later event would take off the map.
            has_dropped = self._pending_riders.has_dropped or self._pending_orders.has_dropped
            if has_dropped and clock() - seeded_at >= self._reseed_interval_s:
                return
            delay_s = self._delay.seconds
            await asyncio.sleep(delay_s)
            await self._turn()
            await asyncio.sleep(self._interval_s - delay_s)

    async def _turn(self) -> None:
        """Read the pending keys once, as many as one turn reads, and send what changed.

        A rider that was sent in the turn before is not read: where the read model lags, every rider that moves waits
        all the time, and would be read twice for each ping.
        """
        riders = [one for one in self._pending_riders.first(MAX_READ_KEYS) if one not in self._just_moved]
        orders = self._pending_orders.first(MAX_READ_KEYS)
        states = await self._locations.get_many(riders) if riders else {}
        read = await asyncio.to_thread(self._orders.some, orders) if orders else []
        moved, folded = newer_places(states, self._riders)
        self._just_moved = {place.rider_id for place in moved}
        changed = [order for order in read if self._is_changed(order)]
        for place in moved:
            self._riders[place.rider_id] = place
            self._riders.move_to_end(place.rider_id)
        for order in changed:
            self._open[order.order_id] = order
            if order.status not in OPEN_STATUSES:
                del self._open[order.order_id]
        self._delay.note(riders, self._pending_riders.settle(riders, folded))
        self._pending_orders.settle(orders, {order.order_id: order.position for order in read})
        for known, most in ((self._riders, MAX_RIDERS), (self._open, MAX_ORDERS)):
            while len(known) > most:
                known.popitem(last=False)
        if moved or changed:
            self._emit("changes", moved, changed)

    def _is_changed(self, order: DeliverySnapshot) -> bool:
        known = self._open.get(order.order_id)
        if known is not None:
            return known.position < order.position
        return order.position >= self._pending_orders.wanted(order.order_id)

    def _emit(self, kind: str, riders: Sequence[RiderPlace], orders: Sequence[DeliverySnapshot]) -> None:
        self._number += 1
        self._frames.append(LiveFrame(self._number, _frame(kind, _body(riders, orders))))
        self.wake()


def _body(riders: Iterable[RiderPlace], orders: Iterable[DeliverySnapshot]) -> bytes:
    return msgspec.json.encode({"at_ms": now_ms(), "riders": list(riders), "orders": list(orders)})


def _frame(kind: str, body: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)
