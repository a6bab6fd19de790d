"""FleetRunner sends each action when it is due, in order, and stops when it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from infrastructure.client.messages import CommandReceipt, PostReceipt, Rejection
from infrastructure.simulator.actions import Upload, UploadKind
from infrastructure.simulator.fleet import MAX_REQUEST_PINGS, FleetRunner
from tests.support.http.fake_deliveries import Answered, FakeDeliveries
from tests.unit.simulator.scenarios import START_MS, busy, only_pings, sent

ACTIONS = sent(busy(1))
PINGS_ONLY = sent(only_pings(duration_s=60.0, riders=3, every_s=1.0))


class Server:
    """Records identities and deliveries; rejects the pings of rider-0002."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.requests: list[int] = []
        self.deliveries = FakeDeliveries()
        self.order: list[str] = []
        """Event ids and Idempotency-Keys in the order of their reception."""

    def post_pings(self, pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        self.requests.append(len(pings))
        self.order += [ping["event_id"] for ping in pings]
        good = [ping["event_id"] for ping in pings if ping["rider_id"] != "rider-0002"]
        bad = [index for index, ping in enumerate(pings) if ping["rider_id"] == "rider-0002"]
        before = len(self.seen)
        self.seen.update(good)
        new = len(self.seen) - before
        return PostReceipt(new, len(good) - new, [Rejection(index, "invalid_rider_id", "") for index in bad])

    def place_order(self, body: Mapping[str, Any], key: str, /) -> CommandReceipt:
        self.order.append(key)
        return _receipt(self.deliveries.place(dict(body), key))

    def delivery_command(self, order_id: str, verb: str, body: Mapping[str, Any], key: str, /) -> CommandReceipt:
        self.order.append(key)
        return _receipt(self.deliveries.step(order_id, verb, dict(body), key))


def _receipt(answered: Answered) -> CommandReceipt:
    if answered.status >= 400:
        return CommandReceipt(recorded=False, code=answered.body["code"])
    return CommandReceipt(answered.body["recorded"], answered.body["status"])


class Clock(threading.Event):
    """Time that passes only during a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def test_a_fast_run_sends_everything_in_order_and_its_counts_add_up() -> None:
    server = Server()
    totals = FleetRunner(server).fast(ACTIONS, threading.Event())
    assert totals.sent == sum(server.requests)
    assert totals.sent == totals.accepted + totals.duplicates + totals.rejected.total()
    assert totals.accepted == len(server.seen)
    assert totals.duplicates > 0
    assert totals.kinds.total() == totals.sent
    assert set(totals.truths) == {f"rider-000{number}" for number in range(1, 7)}
    assert server.order == [
        each
        for action in ACTIONS
        for each in ([fix.ping["event_id"] for fix in action.fixes] if isinstance(action, Upload) else [action.key])
    ]


def test_every_order_of_a_run_is_recorded_and_repeats_are_counted_apart() -> None:
    server = Server()
    totals = FleetRunner(server).fast(ACTIONS, threading.Event())
    assert totals.open_orders == {}
    assert totals.refused.total() == 0
    assert (
        totals.repeats == sum(not isinstance(each, Upload) and each.kind is UploadKind.REPEAT for each in ACTIONS) > 0
    )
    summary = totals.summary()
    assert summary["orders"] == len(server.deliveries.orders) == summary["completed"] + summary["cancelled"]
    assert summary["commands"] == sum(1 + len(order.steps) for order in server.deliveries.orders.values())


def test_a_real_time_run_sends_nothing_early_and_the_same_in_total() -> None:
    clock, server = Clock(), Server()
    early: list[float] = []
    post = server.post_pings

    def post_pings(pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        newest_s = max(ping["event_timestamp_ms"] for ping in pings) / 1000.0 - START_MS / 1000.0
        early.append(newest_s - (clock.now - 100.0))
        return post(pings)

    server.post_pings = post_pings  # type: ignore[method-assign]
    real = FleetRunner(server).real_time(ACTIONS, clock, lambda: clock.now)
    fast = FleetRunner(Server()).fast(ACTIONS, threading.Event())
    assert real.summary() == fast.summary()
    assert max(early) <= 1e-6
    assert clock.now >= 100.0 + 7_000.0


def test_after_an_outage_overdue_uploads_are_sent_in_few_requests() -> None:
    clock, server = Clock(), Server()
    post = server.post_pings

    def post_pings(pings: Sequence[Mapping[str, Any]], /) -> PostReceipt:
        if not server.requests:
            clock.now += 30.0
        return post(pings)

    server.post_pings = post_pings  # type: ignore[method-assign]
    totals = FleetRunner(server).real_time(PINGS_ONLY, clock, lambda: clock.now)
    assert max(server.requests) > 30
    assert totals.sent == FleetRunner(Server()).fast(PINGS_ONLY, threading.Event()).sent


def test_a_set_stop_ends_the_run() -> None:
    clock = Clock()
    clock.set()
    server = Server()
    assert FleetRunner(server).real_time(ACTIONS, clock, lambda: clock.now).sent == 0
    assert FleetRunner(server).fast(ACTIONS, clock).sent == 0
    assert server.requests == []


def test_a_run_that_is_stopped_cancels_the_orders_that_it_leaves_open() -> None:
    server = Server()
    halves = [action for action in ACTIONS if action.send_at_s < 1_500.0]
    runner = FleetRunner(server)
    runner.fast(halves, threading.Event())
    left = set(runner.totals.open_orders)
    assert len(left) > 3
    assert left == {
        key for key, order in server.deliveries.orders.items() if order.status not in {"completed", "cancelled"}
    }
    runner.cancel_open_orders()
    assert {server.deliveries.orders[order_id].status for order_id in left} == {"cancelled"}
    assert runner.totals.open_orders == {}
    assert runner.totals.refused.total() == 0
    # Their riders are free again.
    assert all(server.deliveries.legs(f"rider-000{number}") == 0 for number in range(1, 7))


def test_an_order_whose_answer_was_lost_is_cancelled_too() -> None:
    server = Server()
    runner = FleetRunner(server)
    runner.totals.placing("never-placed")
    runner.cancel_open_orders()
    assert runner.totals.open_orders == {}
    assert runner.totals.refused.total() == 0


def test_a_refused_command_is_counted_by_its_code() -> None:
    server = Server()
    later = [action for action in ACTIONS if not isinstance(action, Upload)][5:]
    totals = FleetRunner(server).fast(later, threading.Event())
    assert totals.refused["unknown_delivery"] > 0


def test_requests_are_bounded() -> None:
    server = Server()
    actions = sent(only_pings(duration_s=30.0, riders=200, every_s=1.0))
    FleetRunner(server).fast(actions, threading.Event())
    longest = max(len(action.fixes) for action in actions if isinstance(action, Upload))
    assert max(server.requests) < MAX_REQUEST_PINGS + longest
