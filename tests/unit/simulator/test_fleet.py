"""FleetRunner sends each upload when it is due, and stops when it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from infrastructure.client.messages import PostReceipt, Rejection
from infrastructure.simulator.fleet import MAX_REQUEST_PINGS, FleetRunner, fleet_uploads
from infrastructure.simulator.phone import Day, PhoneModel

DAY = Day("1", 1_700_000_000_000, 60.0, phone=PhoneModel(every_s=1.0, repeat_share=0.1))


class Server:
    """Records identities; rejects the pings of rider-0002."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.requests: list[int] = []

    def __call__(self, pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        self.requests.append(len(pings))
        good = [ping["event_id"] for ping in pings if ping["rider_id"] != "rider-0002"]
        bad = [index for index, ping in enumerate(pings) if ping["rider_id"] == "rider-0002"]
        before = len(self.seen)
        self.seen.update(good)
        new = len(self.seen) - before
        return PostReceipt(new, len(good) - new, [Rejection(index, "invalid_rider_id", "") for index in bad])


class Clock(threading.Event):
    """Time that passes only during a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def test_a_fast_run_sends_everything_and_its_counts_add_up() -> None:
    server = Server()
    totals = FleetRunner(server).fast(fleet_uploads(3, DAY), threading.Event())
    assert totals.sent == sum(server.requests)
    assert totals.sent == totals.accepted + totals.duplicates + totals.rejected.total()
    assert totals.accepted == len(server.seen)
    assert totals.duplicates > 0
    assert totals.kinds.total() == totals.sent
    assert set(totals.truths) == {"rider-0001", "rider-0002", "rider-0003"}


def test_a_real_time_run_sends_nothing_early_and_the_same_uploads_in_total() -> None:
    clock, server = Clock(), Server()
    early: list[float] = []

    def post(pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        newest_s = max(ping["event_timestamp_ms"] for ping in pings) / 1000.0 - DAY.start_ms / 1000.0
        early.append(newest_s - (clock.now - 100.0))
        return server(pings)

    real = FleetRunner(post).real_time(fleet_uploads(3, DAY), clock, lambda: clock.now)
    fast = FleetRunner(Server()).fast(fleet_uploads(3, DAY), threading.Event())
    assert real.summary() == fast.summary()
    assert max(early) <= 1e-6
    assert clock.now >= 100.0 + 55.0


def test_after_an_outage_overdue_uploads_are_sent_in_few_requests() -> None:
    clock, server = Clock(), Server()

    def post(pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        if not server.requests:
            clock.now += 30.0
        return server(pings)

    totals = FleetRunner(post).real_time(fleet_uploads(3, DAY), clock, lambda: clock.now)
    assert max(server.requests) > 30
    assert totals.sent == FleetRunner(Server()).fast(fleet_uploads(3, DAY), threading.Event()).sent


def test_a_set_stop_ends_the_run() -> None:
    clock = Clock()
    clock.set()
    server = Server()
    assert FleetRunner(server).real_time(fleet_uploads(3, DAY), clock, lambda: clock.now).sent == 0
    assert FleetRunner(server).fast(fleet_uploads(3, DAY), clock).sent == 0
    assert server.requests == []


def test_requests_are_bounded() -> None:
    server = Server()
    FleetRunner(server).fast(fleet_uploads(200, DAY._replace(duration_s=30.0)), threading.Event())
    longest = max(len(upload.fixes) for upload in fleet_uploads(200, DAY._replace(duration_s=30.0)))
    assert max(server.requests) < MAX_REQUEST_PINGS + longest
