"""Sends what the phones of all simulated riders send, in real time or as fast as the server accepts it.

Deterministic: the same day gives the same uploads in the same order.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from infrastructure.client.client import RidelogClient
from infrastructure.client.messages import PostReceipt
from infrastructure.errors import UserError
from infrastructure.simulator.phone import Day, Upload, UploadKind, uploads
from infrastructure.simulator.riders import SimulatedRider


def rider_ids(riders: int) -> list[str]:
    """``rider-0001``, ``rider-0002``, …"""
    return [f"rider-{number:04}" for number in range(1, riders + 1)]


def fleet_uploads(riders: int, day: Day) -> Iterator[Upload]:
    """The uploads of all phones, by time of sending. A rider's uploads do not depend on the number of riders."""
    return heapq.merge(*(uploads(rider_id, day) for rider_id in rider_ids(riders)), key=_when)


def _when(upload: Upload) -> tuple[float, str]:
    return upload.send_at_s, upload.rider_id


class FleetTotals:
    """Counts of sent pings and of the server's answers. Written by one thread; any thread may read it."""

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.kinds: Counter[UploadKind] = Counter()
        self.truths: dict[str, SimulatedRider] = {}
        """The true state of each rider at the newest ping sent."""

    def add(self, uploads: Iterable[Upload], receipt: PostReceipt) -> None:
        """Count one answered request."""
        truths = dict(self.truths)
        for upload in uploads:
            self.sent += len(upload.fixes)
            self.kinds[upload.kind] += len(upload.fixes)
            if upload.kind is not UploadKind.REPEAT:
                truths[upload.rider_id] = upload.fixes[-1].truth
        # The dictionary is replaced, not changed, because the demo reads it from another thread.
        self.truths = truths
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected.update(item.code for item in receipt.rejected)

    def summary(self) -> dict[str, Any]:
        """The counts for ``--json``. ``late``: sent in a batch after a time offline; ``repeated``: sent twice."""
        return {
            "sent": self.sent,
            "late": self.kinds[UploadKind.LATE],
            "repeated": self.kinds[UploadKind.REPEAT],
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
        }


TICK_S = 0.05
"""In real time, uploads that are due within one tick share a request, as behind a gateway: 1,000 riders do not need
1,000 requests per second."""

MAX_REQUEST_PINGS = 2_000
"""A request with this many pings is sent even before its tick ends."""


class PostUpload(Protocol):
    def __call__(self, pings: Sequence[Mapping[str, Any]], /) -> PostReceipt: ...


class FleetRunner:
    """One simulation run. Any thread may read ``totals`` while it runs."""

    def __init__(self, post: PostUpload, on_request: Callable[[FleetTotals, float], None] = lambda *_: None) -> None:
        """``on_request(totals, simulated seconds)`` is called after each answer, in the thread that runs."""
        self.totals = FleetTotals()
        self._post = post
        self._on_request = on_request

    def real_time(self, uploads: Iterable[Upload], stop: threading.Event, clock: Callable[[], float]) -> FleetTotals:
        """Send each upload when it is due, until there are no more or ``stop`` is set. Second 0 is now.

        ``clock`` is monotonic, in seconds. After the server was unavailable, overdue uploads are sent at once. Raises
        what ``post`` raises.
        """
        began = clock()
        due: list[Upload] = []
        size = 0
        for upload in uploads:
            at_s = math.ceil(upload.send_at_s / TICK_S) * TICK_S
            if due and (at_s > clock() - began or size >= MAX_REQUEST_PINGS):
                self._send(due)
                due, size = [], 0
            if stop.wait(max(0.0, began + at_s - clock())):
                return self.totals
            due.append(upload)
            size += len(upload.fixes)
        self._send(due)
        return self.totals

    def fast(self, uploads: Iterable[Upload], stop: threading.Event) -> FleetTotals:
        """Send all uploads in their order, without waiting. Raises what ``post`` raises."""
        due: list[Upload] = []
        size = 0
        for upload in uploads:
            if stop.is_set():
                return self.totals
            due.append(upload)
            size += len(upload.fixes)
            if size >= MAX_REQUEST_PINGS:
                self._send(due)
                due, size = [], 0
        self._send(due)
        return self.totals

    def _send(self, uploads: Sequence[Upload]) -> None:
        if uploads:
            receipt = self._post([fix.ping for upload in uploads for fix in upload.fixes])
            self.totals.add(uploads, receipt)
            self._on_request(self.totals, uploads[-1].send_at_s)


JOIN_TIMEOUT_S = 35.0
"""Longer than one request may take: the end of a run waits for the request that is under way."""


class BackgroundFleet:
    """Sends uploads in real time in a thread, while the context is open."""

    def __init__(self, uploads: Iterable[Upload], client: RidelogClient) -> None:
        self.runner = FleetRunner(client.post_pings)
        self._uploads = uploads
        self._client = client
        self._stop = threading.Event()
        self._error: UserError | None = None
        # A daemon thread, so that a server that never answers cannot keep the process running.
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)

    def check(self) -> None:
        """Raises UserError if the run has failed."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._client.interrupt()
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self.runner.real_time(self._uploads, self._stop, time.monotonic)
        except UserError as error:
            self._error = error
