"""The simulated world: the seed determines everything, every order ends, and no command would be refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.simulator.actions import Action, SentCommand, Upload, UploadKind
from infrastructure.simulator.deliveries import TripLeg, Verb
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.riders import CRUISE_MPS, MAX_ORDERS
from infrastructure.simulator.scenario import Scenario
from infrastructure.simulator.world import SimulatedWorld, advance
from tests.support.http.fake_deliveries import FakeDeliveries
from tests.unit.simulator.scenarios import HOUR_S, START_MS, busy, commands, only_pings, sent, simulate, truths

SEEDS = st.integers(0, 1_000)


def test_the_seed_determines_everything_and_another_seed_gives_another_day() -> None:
    first = simulate(busy(1))
    assert first == simulate(busy(1))
    assert first[0] != simulate(busy(2))[0]


@settings(max_examples=10)
@given(st.lists(st.floats(0.01, 900.0), min_size=1, max_size=30))
def test_the_steps_in_which_a_world_is_advanced_change_nothing(steps: list[float]) -> None:
    scenario = busy(3, duration_s=1_200.0)
    whole = SimulatedWorld(scenario)
    expected = [*whole.advance(1_200.0), *whole.finish()]
    world, found = SimulatedWorld(scenario), list[Action]()
    for step_s in [*steps, 1_200.0]:
        found += advance(world, step_s)
        assert all(action.send_at_s <= world.now_s for action in found[-1:])
    assert [*found, *world.finish()] == expected


@settings(max_examples=25)
@given(SEEDS)
def test_every_day_has_plausible_orders_riders_and_times(seed: int) -> None:
    """Three rules for each day, because the simulation of a day takes longer than its checks."""
    check_that_every_order_ends_and_no_command_is_refused(seed)
    check_that_no_rider_carries_more_than_two_orders_in_truth(seed)
    check_that_times_of_the_truth_are_plausible(seed)


def check_that_every_order_ends_and_no_command_is_refused(seed: int) -> None:
    server = FakeDeliveries()
    for command in commands(busy(seed)):
        if command.verb is Verb.PLACE:
            status, answer = server.place(command.body, command.key)
        else:
            status, answer = server.step(command.order_id, command.verb.value, command.body, command.key)
        assert status in {200, 201}, f"{command} was answered {answer}"
        assert answer["recorded"] == (command.kind is not UploadKind.REPEAT)
    statuses = Counter(order.status for order in server.orders.values())
    assert set(statuses) == {"completed", "cancelled"}
    assert statuses["completed"] > statuses["cancelled"]
    assert server.most_legs <= MAX_ORDERS


def check_that_no_rider_carries_more_than_two_orders_in_truth(seed: int) -> None:
    changes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    assigned: dict[str, int] = {}
    for leg in truths(busy(seed)):
        if leg.leg == TripLeg.TO_RESTAURANT.value:
            assigned[leg.order_id] = leg.began_ms
        if leg.leg == TripLeg.TO_CUSTOMER.value or leg.outcome != "completed":
            changes[leg.rider_id] += [(assigned[leg.order_id], 1), (leg.handover_ms or leg.reported_ms, -1)]
    for each in changes.values():
        carried = 0
        for _, change in sorted(each):
            carried += change
            assert 0 <= carried <= MAX_ORDERS


def check_that_times_of_the_truth_are_plausible(seed: int) -> None:
    ended: dict[str, int] = {}
    for leg in truths(busy(seed)):
        began_ms = ended.pop(leg.order_id, leg.placed_ms)
        assert began_ms <= leg.began_ms <= leg.reported_ms
        if leg.outcome == "completed":
            assert leg.arrived_ms is not None
            assert leg.handover_ms is not None
            assert leg.began_ms <= leg.arrived_ms < leg.handover_ms <= leg.reported_ms
            if leg.leg == TripLeg.TO_RESTAURANT.value:
                assert leg.handover_ms > leg.food_ready_ms
            ended[leg.order_id] = leg.handover_ms
        assert 0.0 <= leg.ridden_m <= CRUISE_MPS[2] * (leg.reported_ms - leg.began_ms) / 1_000.0 + 1.0


def test_a_lively_day_has_everything_that_can_happen() -> None:
    found, legs = commands(busy(1)), truths(busy(1))
    assert {command.verb for command in found} == set(Verb)
    assert {command.kind for command in found} == set(UploadKind)
    assert {leg.outcome for leg in legs} == {"completed", "unassigned", "cancelled"}
    assert any(leg.stacked for leg in legs)
    assigned = Counter(
        command.order_id for command in found if command.verb is Verb.ASSIGN and command.kind is UploadKind.LIVE
    )
    assert max(assigned.values()) > 1, "an order was reassigned"
    delivered = [leg for leg in legs if leg.leg == TripLeg.TO_CUSTOMER.value and leg.outcome == "completed"]
    pressed = [leg.reported_arrival_ms - (leg.arrived_ms or 0) for leg in delivered if leg.reported_arrival_ms]
    assert len(pressed) < len(delivered), "some riders never press arrived"
    assert min(pressed) < -10_000, "some riders press arrived too early"
    assert max(pressed) > 15_000, "some riders press arrived late"


def test_commands_happen_before_they_are_sent_and_at_plausible_places() -> None:
    scenario = busy(1)
    late = 0.0
    for command in commands(scenario):
        assert command.at_ms <= START_MS + command.send_at_s * 1_000.0 + 0.5
        late = max(late, START_MS / 1_000.0 + command.send_at_s - command.at_ms / 1_000.0)
        if command.verb is Verb.PLACE:
            for place in (command.body["restaurant"], command.body["customer"]):
                assert abs(place["latitude"] - scenario.city.latitude) < 0.02
                assert abs(place["longitude"] - scenario.city.longitude) < 0.03
    assert late > 20.0, "a phone that was offline reports late"


def test_pings_of_a_hand_over_are_at_the_customer() -> None:
    scenario = busy(1)
    places = {
        command.order_id: command.body["customer"] for command in commands(scenario) if command.verb is Verb.PLACE
    }
    at_customer = {
        leg.rider_id: (leg.arrived_ms, leg.handover_ms, places[leg.order_id])
        for leg in truths(scenario)
        if leg.leg == TripLeg.TO_CUSTOMER.value and leg.handover_ms
    }
    seen = 0
    for action in sent(scenario):
        if isinstance(action, Upload) and action.rider_id in at_customer:
            arrived_ms, handover_ms, place = at_customer[action.rider_id]
            for fix in action.fixes:
                if (arrived_ms or 0) <= fix.ping["event_timestamp_ms"] <= (handover_ms or 0):
                    assert fix.truth.speed_mps == 0.0
                    here = scenario.city.degrees_of(*fix.truth.at)
                    assert here == pytest.approx((place["latitude"], place["longitude"]), abs=1e-6)
                    seen += 1
    assert seen > 0


def test_riders_move_along_streets_without_jumps() -> None:
    scenario = only_pings(every_s=1.0)
    by_rider: dict[str, list[tuple[int, tuple[float, float], float]]] = defaultdict(list)
    for action in sent(scenario):
        if isinstance(action, Upload) and action.kind is not UploadKind.REPEAT:
            for fix in action.fixes:
                at_ms = fix.ping["event_timestamp_ms"]
                by_rider[action.rider_id].append((at_ms, fix.truth.at, fix.truth.odometer_m))
    for fixes in by_rider.values():
        for (then_ms, before, odometer_before), (now_ms, after, odometer) in pairwise(fixes):
            seconds = (now_ms - then_ms) / 1_000.0
            moved = abs(after[0] - before[0]) + abs(after[1] - before[1])
            assert moved <= odometer - odometer_before + 1e-3
            assert odometer - odometer_before <= CRUISE_MPS[2] * seconds + 1e-3
        assert fixes[-1][2] > 100.0, "riders without orders move too"


@pytest.mark.parametrize("riders", [1, 40])
def test_orders_that_no_rider_can_take_end_too(riders: int) -> None:
    scenario = busy(1, riders=riders)._replace(shifts=True, start_ms=START_MS + 12 * 3_600_000)
    server = FakeDeliveries()
    for command in commands(scenario._replace(duration_s=4 * HOUR_S)):
        if command.verb is Verb.PLACE:
            server.place(command.body, command.key)
        else:
            server.step(command.order_id, command.verb.value, command.body, command.key)
    assert {order.status for order in server.orders.values()} <= {"completed", "cancelled"}


def test_riders_send_nothing_between_their_shifts() -> None:
    scenario = Scenario("1", START_MS, 48 * HOUR_S, 4, demand=Demand(4.0, 3, by_hour=True), shifts=True)
    times = sorted(
        fix.ping["event_timestamp_ms"]
        for action in sent(scenario._replace(phone=scenario.phone._replace(every_s=60.0)))
        if isinstance(action, Upload) and action.rider_id == "rider-0001"
        for fix in action.fixes
    )
    gaps_h = [(after - before) / 3_600_000 for before, after in pairwise(times)]
    assert 8.0 < max(gaps_h) < 24.0 * 2
    assert (times[-1] - times[0]) / 3_600_000 - sum(gap for gap in gaps_h if gap > 1.0) < 2.5 * 8.0


def test_an_unfinished_world_gives_what_its_phones_hold() -> None:
    world = SimulatedWorld(busy(1))
    world.advance(1_000.0)
    rest = world.finish()
    assert all(before.send_at_s <= after.send_at_s for before, after in pairwise(rest))
    assert world.advance(0.0) == []


def test_a_command_has_one_key_and_its_repeat_the_same() -> None:
    found = commands(busy(1))
    keys = Counter(command.key for command in found if command.kind is not UploadKind.REPEAT)
    assert set(keys.values()) == {1}
    first: dict[str, SentCommand] = {}
    for command in found:
        before = first.setdefault(command.key, command)
        assert (before.verb, before.body, before.order_id) == (command.verb, command.body, command.order_id)
