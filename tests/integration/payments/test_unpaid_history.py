"""Payouts of an imported history are not handed over before a person says from when on legs are paid here."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import REGISTRY

from infrastructure.postgres.payment_decisions import PaymentDecision
from infrastructure.postgres.payment_handovers import HISTORY_DAYS, LONG_AGO, PaymentHandovers, UnpaidHistory
from infrastructure.processes.payments import PaymentsProcess
from tests.support.servers.fake_provider import SECRET
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.payment_world import PaymentWorld, entry_of


def put_history(world: PaymentWorld) -> None:
    world.put("anna", "old", 10, days=HISTORY_DAYS + 20)
    world.put("anna", "older", 11, days=HISTORY_DAYS + 30)
    world.put("anna", "new", 12)
    world.put("bert", "today", 13)


def since(world: PaymentWorld, days: int) -> PaymentHandovers:
    return PaymentHandovers(world.backends.engine, datetime.now(UTC) - timedelta(days=days))


@pytest.mark.parametrize("way", ["by the cursors", "by the comparison of all"])
def test_regression_a_history_that_was_imported_is_not_paid_again(world: PaymentWorld, way: str) -> None:
    put_history(world)
    note = world.handovers.note_new if way == "by the cursors" else world.handovers.note_missed
    with pytest.raises(UnpaidHistory, match="payouts are of legs that ended long ago"):
        note(1)
    assert entry_of("old") not in world.states()
    assert entry_of("older") not in world.states()


@pytest.mark.parametrize(
    ("days", "paid"), [(1, ["new"]), (HISTORY_DAYS + 25, ["old", "new"]), (999, ["old", "older", "new"])]
)
def test_legs_are_paid_from_the_instant_on_that_the_setting_names(
    world: PaymentWorld, days: int, paid: list[str]
) -> None:
    put_history(world)
    world.handovers = since(world, days)
    while world.hand_over():
        pass
    assert [body["entry_id"] for body in world.provider.of("anna")] == [entry_of(name) for name in paid]
    assert len(world.provider.of("bert")) == 1
    # The comparison of all entries with all hand-overs adds none of before.
    world.handovers.note_missed(1)
    assert len(world.states()) == len(paid) + 1


def test_a_late_adjustment_of_a_payout_that_was_handed_over_is_no_history(world: PaymentWorld) -> None:
    world.put("anna", "payout", 10)
    assert world.hand_over() == 1
    world.run("UPDATE payout_entries SET ended_at = ended_at - interval '30 days'")
    world.put("anna", "adjustment", 11, 40, payout="payout", days=30)
    assert world.hand_over() == 1
    assert len(world.provider.of("anna")) == 2


@pytest.mark.parametrize("way", ["by the cursors", "by the comparison of all"])
def test_regression_a_leg_that_is_reported_long_after_its_end_holds_up_its_rider_alone(
    world: PaymentWorld, way: str
) -> None:
    """A dispatcher completes an order of last week, with the time of then: no other rider was paid any more."""
    world.put("anna", "first", 10)
    assert world.hand_over() == 1
    world.put("bert", "late", 20, days=HISTORY_DAYS + 1)
    world.put("bert", "after", 21)
    world.put("anna", "second", 22)
    if way == "by the cursors":
        world.note()
    else:
        assert world.handovers.note_missed(1) == 3
    assert world.driver().round() == 1
    assert [body["entry_id"] for body in world.provider.of("anna")] == [entry_of("first"), entry_of("second")]
    (held,) = world.handovers.listed(10)
    assert (held["entry_id"], held["state"], held["reason"]) == (entry_of("late"), "held", LONG_AGO)
    assert world.decide(PaymentDecision.RETRY, entry_of("late")) == [entry_of("late")]
    assert world.driver().round() == 2
    assert [body["entry_id"] for body in world.provider.of("bert")] == [entry_of("late"), entry_of("after")]


def test_a_history_is_refused_though_a_newer_part_of_it_was_noted_first(world: PaymentWorld) -> None:
    """While an import is folded, a shard whose riders are new has no entry of long ago."""
    world.put("bert", "today", 13)
    world.note()
    world.put("anna", "old", 10, days=HISTORY_DAYS + 20)
    with pytest.raises(UnpaidHistory, match="1 payouts are of legs"):
        world.handovers.note_new(1)


def test_regression_a_history_that_is_not_decided_is_shown_to_the_alerts(world: PaymentWorld) -> None:
    """No payment is open or held then, so that no rule saw that no rider was paid."""
    put_history(world)
    stop = threading.Event()
    provider = {"payments_url": "http://127.0.0.1:9/", "payments_secret": SECRET}
    process = PaymentsProcess(msgspec.structs.replace(world.backends.settings, **provider), stop)
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        eventually(lambda: REGISTRY.get_sample_value("ridelog_payments_unpaid_history") == 1, what="it is shown")
    finally:
        stop.set()
        thread.join(scaled_s(30))
    assert not thread.is_alive()
    assert world.provider.ledger == []
