"""The commands on deliveries and what they record, on every event store: in memory and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain.errors import (
    InvalidRiderId,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    WrongStatus,
)
from tests.contract.delivery_processes import MakeProcess, codes, log_of, processes
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import a_step, an_eta, an_order


@pytest.fixture(params=["memory", "postgres"])
def make_process(request: pytest.FixtureRequest) -> Iterator[MakeProcess]:
    with processes(None if request.param == "memory" else request.getfixturevalue("postgres_url")) as make:
        yield make


def test_a_delivery_and_the_legs_of_its_rider_are_recorded_together(make_process: MakeProcess) -> None:
    process = make_process()
    placed, assigned = process.deliveries.execute([an_order(items=3), a_step("assign")])
    assert codes([placed, assigned]) == ["recorded", "recorded"]
    assert placed.delivery is not None
    assert assigned.delivery is not None
    assert (placed.position, placed.delivery.position, placed.delivery.version) == (1, 1, 1)
    assert (placed.delivery.status, assigned.delivery.status) == ("placed", "assigned")
    assert (assigned.position, assigned.delivery.position, assigned.delivery.version) == (2, 2, 2)
    assert process.riders.get("anna").legs == [["order-1", "to_restaurant"]]
    process.deliveries.execute([a_step("pickup")])
    (completed,) = process.deliveries.execute([a_step("complete")])
    assert log_of(process) == [
        ("DeliveryPlaced", 1),
        ("DeliveryAssigned", 2),
        ("RiderRegistered", 1),
        ("LegStarted", 2),
        ("DeliveryPickedUp", 3),
        ("LegEnded", 3),
        ("LegStarted", 4),
        ("DeliveryCompleted", 4),
        ("LegEnded", 5),
    ]
    assert completed.delivery == process.deliveries.get("order-1") == make_process().deliveries.get("order-1")
    assert completed.position == 8
    assert make_process().riders.get("anna").legs == []


def test_an_order_that_was_not_placed_is_not_found(make_process: MakeProcess) -> None:
    with pytest.raises(UnknownDelivery):
        make_process().deliveries.get("order-1")


def test_a_rejected_command_fails_no_other_one_of_its_batch(make_process: MakeProcess) -> None:
    process = make_process()
    outcomes = process.deliveries.execute(
        [
            an_order("order-1"),
            a_step("assign", "order-9"),
            a_step("pickup", "order-1"),
            a_step("assign", "order-1", rider_id="a/b"),
            a_step("assign", "order-1"),
            a_step("assign", "order-1", rider_id="ben"),
            a_step("assign", "order-1"),
            an_order("order-2"),
        ]
    )
    expected = ["recorded", UnknownDelivery, WrongStatus, InvalidRiderId, "recorded", OtherRider, "repeat", "recorded"]
    assert codes(outcomes) == expected
    assert [o.position for o in outcomes] == [1, None, None, None, 2, None, 2, 5]
    assert process.deliveries.execute([]) == []


def test_a_repeat_is_known_to_another_process_and_after_a_restart(make_process: MakeProcess) -> None:
    commands = [an_order(command_id="k-1"), a_step("assign", command_id="k-2"), a_step("pickup")]
    one = make_process()
    assert codes(one.deliveries.execute(commands)) == ["recorded"] * 3
    for process in (one, make_process()):
        again = process.deliveries.execute(commands)
        assert codes(again) == ["repeat"] * 3
        assert [o.position for o in again] == [5, 5, 5], "the delivery as it is now"
    assert len(log_of(one)) == 7


def test_what_another_process_recorded_on_an_order_is_decided_upon(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order()])
    other.deliveries.execute([a_step("assign", rider_id="ben")])
    # ``one`` has the order in memory as it was placed. No event would show that it is behind.
    assert codes(one.deliveries.execute([a_step("assign", rider_id="ben")])) == ["repeat"]
    other.deliveries.execute([a_step("pickup")])
    assert codes(one.deliveries.execute([a_step("arrive")])) == ["recorded"]
    other.deliveries.execute([a_step("complete")])
    assert codes(one.deliveries.execute([a_step("cancel")])) == [WrongStatus]
    assert make_process().deliveries.get("order-1").status == "completed"


def test_what_another_process_recorded_on_a_rider_is_decided_upon(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    orders = [an_order(f"order-{number}") for number in range(22)]
    one.deliveries.execute(orders)
    one.deliveries.execute([a_step("assign", f"order-{number}") for number in range(10)])
    other.deliveries.execute([a_step("assign", f"order-{number}") for number in range(10, 20)])
    # ``one`` knows ten legs.
    assert codes(one.deliveries.execute([a_step("assign", "order-20")])) == [TooManyLegs]
    other.deliveries.execute([a_step("pickup", "order-3"), a_step("complete", "order-3")])
    # ``one`` knows twenty.
    assert codes(one.deliveries.execute([a_step("assign", "order-20"), a_step("assign", "order-21")])) == [
        "recorded",
        TooManyLegs,
    ]
    assert len(make_process().riders.get("anna").legs) == 20


def test_only_what_another_process_changed_is_decided_again(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order("order-1"), an_order("order-2"), a_step("assign", "order-2")])
    other.deliveries.execute([a_step("cancel", "order-1")])
    outcomes = one.deliveries.execute([a_step("assign", "order-1", rider_id="ben"), a_step("pickup", "order-2")])
    assert codes(outcomes) == [WrongStatus, "recorded"]
    assert ("RiderRegistered", 1) in log_of(one)
    assert codes(one.deliveries.execute([a_step("complete", "order-2")])) == ["recorded"]


def test_a_rider_that_another_process_assigned_meanwhile_ends_the_leg(make_process: MakeProcess) -> None:
    """Decided again, the command changes another rider than at first; that one may be in memory as it was before."""
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order("order-1"), an_order("order-2"), a_step("assign", "order-2", rider_id="ben")])
    one.deliveries.execute([a_step("assign", "order-1", rider_id="anna")])
    other.deliveries.execute([a_step("unassign", "order-1"), a_step("assign", "order-1", rider_id="ben")])
    assert codes(one.deliveries.execute([a_step("cancel", "order-1")])) == ["recorded"]
    fresh = make_process()
    assert fresh.riders.get("anna").legs == []
    assert fresh.riders.get("ben").legs == [["order-2", "to_restaurant"]]


def test_pings_and_deliveries_of_one_process_share_the_riders_in_memory(make_process: MakeProcess) -> None:
    process = make_process()
    process.riders.record_pings([a_ping()])
    process.deliveries.execute([an_order(), a_step("assign")])
    process.riders.record_pings([a_ping(t_ms=NOW_MS + 1)])
    process.deliveries.execute([a_step("pickup")])
    outcomes = process.riders.record_pings([a_ping(), a_ping(t_ms=NOW_MS + 2)])
    assert [o.is_new for o in outcomes] == [False, True]
    rider = make_process().riders.get("anna")
    assert (rider.pings, rider.version, rider.legs) == (3, 7, [["order-1", "to_customer"]])


def test_pings_of_another_process_do_not_stop_commands_on_their_rider(make_process: MakeProcess) -> None:
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order(), a_step("assign")])
    for number, verb in enumerate(("pickup", "arrive", "complete")):
        other.riders.record_pings([a_ping(t_ms=NOW_MS + number)])
        assert codes(one.deliveries.execute([a_step(verb)])) == ["recorded"]
    rider = make_process().riders.get("anna")
    assert (rider.pings, rider.legs) == (3, [])


def test_the_first_eta_of_a_leg_is_recorded_once_across_processes_and_restarts(make_process: MakeProcess) -> None:
    one, other = make_process(snapshot_every=2), make_process(snapshot_every=2)
    one.deliveries.execute([an_order(), a_step("assign")])
    assert codes(one.deliveries.execute([an_eta("to_restaurant"), an_eta("to_restaurant")])) == ["recorded", "repeat"]
    assert codes(other.deliveries.execute([an_eta("to_restaurant"), an_eta("at_restaurant")])) == ["repeat", "recorded"]
    # ``one`` has the delivery in memory as it was before ``other`` recorded.
    assert codes(one.deliveries.execute([an_eta("at_restaurant"), a_step("pickup")])) == ["repeat", "recorded"]
    fresh = make_process(snapshot_every=2)
    assert codes(fresh.deliveries.execute([an_eta("to_restaurant"), an_eta("at_restaurant")])) == ["repeat", "repeat"]
    assert log_of(one) == [
        ("DeliveryPlaced", 1),
        ("DeliveryAssigned", 2),
        ("RiderRegistered", 1),
        ("LegStarted", 2),
        ("EtaServed", 3),
        ("EtaServed", 4),
        ("DeliveryPickedUp", 5),
        ("LegEnded", 3),
        ("LegStarted", 4),
    ]
    shown = fresh.deliveries.get("order-1")
    assert (shown.status, shown.version, shown.position) == ("picked_up", 5, 7)


def test_commands_and_etas_of_two_processes_do_not_stop_each_other(make_process: MakeProcess) -> None:
    """An ETA moves the version on, and the other process has to decide its command again, and finds it allowed."""
    one, other = make_process(), make_process()
    one.deliveries.execute([an_order(command_id="k-0")])
    for verb, leg in (("assign", "unassigned"), ("pickup", "to_restaurant"), ("complete", "to_customer")):
        assert codes(other.deliveries.execute([an_eta(leg)])) == ["recorded"]
        assert codes(one.deliveries.execute([a_step(verb, command_id=f"k-{verb}")])) == ["recorded"]
    assert codes(other.deliveries.execute([a_step("complete", command_id="k-complete")])) == ["repeat"]
    assert codes(one.deliveries.execute([an_eta("at_customer")])) == ["recorded"], "the order is over, but it was shown"
    assert make_process().deliveries.get("order-1").version == 8


def test_an_eta_of_an_order_that_was_not_placed_is_refused(make_process: MakeProcess) -> None:
    process = make_process()
    assert codes(process.deliveries.execute([an_eta("unassigned", "order-9")])) == [UnknownDelivery]
    assert log_of(process) == []
