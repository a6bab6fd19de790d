"""The audit of served ETAs: whatever was served is what the log gives, and every mutation of the service is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.eta.baseline import Baseline
from domain.identifiers import shard_of
from projections.digest.digest import answer_digest
from projections.parity.eta_findings import EtaFindings, describe_eta
from projections.parity.key_walk import WalkBudget
from projections.parity.served_etas import EtaVerdict, LoggedEta, eta_code_digest
from read_models.eta.answer import NAME, eta_answer
from tests.support.worlds.city import drive
from tests.support.worlds.order_lives import placed_data, step_data
from tests.support.worlds.recorded_city import AS_OF_MS, Recorded
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.served_etas import EtaWorld, audit_of, leg

RIDERS = ("r0", "r1", "r2")
ORDERS = ("o0", "o1", "o2", "o3")
STEPS = ("Assigned", "PickedUp")


def small_world(pings: int = 16) -> EtaWorld:
    """Three riders and four orders; nobody has completed one."""
    riders = [leg(rider, f"o{n}", 1) for n, rider in enumerate(RIDERS)]
    riders += [event for rider in RIDERS for event in drive(rider, 2, pings, 200, north=True)]
    orders = [(order, "DeliveryPlaced", placed_data(order, START_MS + n, n)) for n, order in enumerate(ORDERS)]
    orders += [
        (order, f"Delivery{step}", step_data(order, START_MS + 60_000 * (n + 1), 100 + n, rider_id=RIDERS[at % 3]))
        for n, step in enumerate(STEPS)
        for at, order in enumerate(ORDERS)
    ]
    return EtaWorld(riders, orders)


def serve_some(world: EtaWorld, city: int | None, count: int = 12, **options: Any) -> None:
    for n in range(count):
        world.serve(ORDERS[n % 4], 1 + n % 3, 1 + n, city, AS_OF_MS + 1_000 * n, **options)


def totals(checked: list[Any]) -> dict[EtaVerdict, int]:
    return {one.verdict: sum(other.verdict == one.verdict for other in checked) for one in checked}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_invariants_8_and_17_whatever_was_served_is_what_the_log_gives(data: st.DataObject) -> None:
    world = small_world()
    heads, at = world.city.heads(), [[0] * 64 for _ in world.city.heads()]
    cities: list[int | None] = [None]
    for _ in range(data.draw(st.integers(1, 3))):
        at = [
            [data.draw(st.integers(seq, head)) if head > seq else head for seq, head in zip(*pair, strict=True)]
            for pair in zip(at, heads, strict=True)
        ]
        cities.append(world.snapshot(at, AS_OF_MS + data.draw(st.sampled_from([0, 300_000]))))
    for _ in range(data.draw(st.integers(1, 25))):
        order, version = data.draw(st.sampled_from(ORDERS)), data.draw(st.integers(1, 3))
        rider = data.draw(st.integers(0, 17))
        # A process of the API may be behind another one: neither versions nor snapshots only go on.
        world.serve(order, version, rider, data.draw(st.sampled_from(cities)), AS_OF_MS + data.draw(st.integers(0, 9)))
    audit = audit_of(world)
    by_city = sorted(world.answered, key=lambda one: one.eta.city_snapshot or 0)
    size = data.draw(st.integers(1, 25))
    checked = [one for n in range(0, len(by_city), size) for one in audit.check(by_city[n : n + size])]
    assert totals(checked) == {EtaVerdict.EQUAL: len(world.answered)}


def test_one_more_fold_an_event_and_never_a_refold_an_answer() -> None:
    world = small_world(pings=60)
    city = world.snapshot()
    for version in range(2, 62):
        for _ in range(5):
            world.serve("o0", 2, version, city, AS_OF_MS)
    audit = audit_of(world)
    for first in range(0, 300, 50):
        assert totals(audit.check(world.answered[first : first + 50])) == {EtaVerdict.EQUAL: 50}
    assert audit.events == 2 + 61


def a_clock_inside_a_feature(order_id: str, order: Any, rider: Any, city: Any, model: Any, at_ms: int) -> Any:
    """The features read a clock of their own, a millisecond later; the answer names that of the request."""
    return eta_answer(order_id, order, rider, city, model, at_ms + 1) | {"at_ms": at_ms}


def one_unit_in_a_constant(order_id: str, order: Any, rider: Any, city: Any, model: Any, at_ms: int) -> Any:
    changed = Baseline(model.constants._replace(hand_over_s=model.constants.hand_over_s + 1.0))
    found = eta_answer(order_id, order, rider, city, changed, at_ms)
    return found | {"model": {"name": model.name, "digest": model.digest}}


def a_thousandth_in_the_answer(order_id: str, order: Any, rider: Any, city: Any, model: Any, at_ms: int) -> Any:
    found = eta_answer(order_id, order, rider, city, model, at_ms)
    return found | {"p90_seconds": found["p90_seconds"] + 0.001}


@pytest.mark.parametrize("mutation", [a_clock_inside_a_feature, one_unit_in_a_constant, a_thousandth_in_the_answer])
def test_a_mutated_service_is_caught(mutation: Callable[..., dict[str, Any]]) -> None:
    world = small_world()
    serve_some(world, world.snapshot(), answer=mutation)
    checked = audit_of(world).check(world.answered)
    assert totals(checked) == {EtaVerdict.DIFFERENT: 12}
    said = describe_eta(checked[0])
    assert "served " in said
    assert "recomputed " in said


def a_shard_ahead(world: EtaWorld) -> int:
    """The city has one event more of a shard than its vector says."""
    number = world.snapshot()
    record, content = world.cities[number]
    seqs = list(content.traffic.seqs)
    seqs[shard_of("r1")] -= 1
    behind = content.traffic.__class__(1, tuple(seqs))
    vectors = {**record.vectors, "traffic": behind}
    world.cities[number] = record._replace(vectors=vectors), content
    return number


def a_float_sum_over_shards(world: EtaWorld) -> int:
    """The sums of the shards were added as floats: the bytes are others, and the digest is that of these bytes."""
    number = world.snapshot()
    content = world.cities[number][1]
    floats: Any = [(cell, octant, float(ms), float(mm)) for cell, octant, ms, mm in content.headings]
    wrong = msgspec.structs.replace(content, headings=floats)
    record: Recorded = world.city.record(wrong)
    world.cities[number] = record._replace(number=number), wrong
    return number


@pytest.mark.parametrize("mutation", [a_shard_ahead, a_float_sum_over_shards])
def test_answers_of_a_wrong_city_are_caught(mutation: Callable[[EtaWorld], int]) -> None:
    world = small_world()
    serve_some(world, mutation(world))
    checked = audit_of(world).check(world.answered)
    assert totals(checked) == {EtaVerdict.DIFFERENT: 12}
    assert "city snapshot 1 is different: the log gives the digest" in describe_eta(checked[0])


def test_the_description_names_the_feature_that_differs_and_all_places() -> None:
    world = small_world()
    served = world.serve("o0", 2, 5, world.snapshot(), AS_OF_MS)
    body = msgspec.json.decode(served.eta.body)
    body["features"]["restaurant_to_customer_m"] += 1
    wrong = served._replace(eta=served.eta._replace(body=msgspec.json.encode(body)))
    findings = EtaFindings()
    for checked in audit_of(world).check([wrong]):
        findings.add(checked)
    [said] = findings.examples
    assert said.startswith("order o0: restaurant_to_customer_m: served 1")
    assert "version 2 at position" in said
    assert "rider r0 version 5 at position" in said
    assert "city snapshot 1, at 20" in said


def _of_another_log(one: LoggedEta) -> LoggedEta:
    return one._replace(log_id=UUID(int=7))


def _of_lost_events(one: LoggedEta) -> LoggedEta:
    return one._replace(eta=one.eta._replace(order=one.eta.order._replace(version=9, position=900)))


def _of_lost_events_of_the_rider(one: LoggedEta) -> LoggedEta:
    assert one.eta.rider is not None
    return one._replace(eta=one.eta._replace(rider=one.eta.rider._replace(version=99, position=900)))


def _of_a_number_given_again(one: LoggedEta) -> LoggedEta:
    return one._replace(eta=one.eta._replace(city_digest="of before the restore"))


def _of_other_code(one: LoggedEta) -> LoggedEta:
    return one._replace(code_digest="other", eta=one.eta._replace(body=b"{}"))


def _of_another_model(one: LoggedEta) -> LoggedEta:
    return one._replace(eta=one.eta._replace(model_digest="other", body=b"{}"))


def _of_another_fold(one: LoggedEta) -> LoggedEta:
    return one._replace(eta=one.eta._replace(order=one.eta.order._replace(generation=2), body=b"{}"))


def _of_another_machine(one: LoggedEta) -> LoggedEta:
    return one._replace(fingerprint={"libm": "other"}, eta=one.eta._replace(body=b"{}"))


def _of_a_snapshot_without_record(one: LoggedEta) -> LoggedEta:
    return one._replace(eta=one.eta._replace(city_snapshot=77))


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (_of_another_log, EtaVerdict.LOG_RESTORED),
        (_of_lost_events, EtaVerdict.LOG_RESTORED),
        (_of_lost_events_of_the_rider, EtaVerdict.LOG_RESTORED),
        (_of_a_number_given_again, EtaVerdict.LOG_RESTORED),
        (_of_other_code, EtaVerdict.OTHER_CODE),
        (_of_another_model, EtaVerdict.OTHER_CODE),
        (_of_another_fold, EtaVerdict.OTHER_CODE),
        (_of_another_machine, EtaVerdict.OTHER_CODE),
        (_of_a_snapshot_without_record, EtaVerdict.UNDECIDED),
    ],
)
def test_an_answer_that_cannot_be_checked_here_is_no_difference(
    change: Callable[[LoggedEta], LoggedEta], verdict: EtaVerdict
) -> None:
    world = small_world()
    served = world.serve("o0", 2, 5, world.snapshot(), AS_OF_MS)
    audit = audit_of(world, lambda name, generation: generation == 1)
    assert [one.verdict for one in audit.check([change(served), served])].count(EtaVerdict.EQUAL) == 1
    assert [one.verdict for one in audit_of(world, lambda name, of: of == 1).check([change(served)])] == [verdict]


@pytest.mark.parametrize("which", ["orders", "riders"])
def test_an_answer_of_detached_events_is_no_difference(which: str) -> None:
    world = small_world()
    served = world.serve("o0", 2, 5, None, AS_OF_MS)
    getattr(world, which).detach(2)
    assert [one.verdict for one in audit_of(world).check([served])] == [EtaVerdict.DETACHED]


def test_an_answer_of_a_city_of_detached_events_is_no_difference() -> None:
    world = small_world()
    city = world.snapshot()
    served = world.serve("o0", 1, 0, city, AS_OF_MS)
    # The events of order o0 come first: what is left of the log does not give the city.
    world.riders.detach(4)
    assert [one.verdict for one in audit_of(world).check([served])] == [EtaVerdict.DETACHED]


def test_an_answer_with_another_rider_than_the_orders_is_different() -> None:
    world = small_world()
    served = world.serve("o0", 2, 5, None, AS_OF_MS)
    other = world.serve("o1", 2, 5, None, AS_OF_MS).eta
    wrong = served._replace(eta=served.eta._replace(rider_id=other.rider_id, rider=other.rider))
    [checked] = audit_of(world).check([wrong])
    assert (checked.verdict, checked.why) == (EtaVerdict.DIFFERENT, "served with the rider r1, and the order had r0")


def test_an_error_of_the_computation_is_a_difference_and_stops_no_other_answer() -> None:
    world = small_world()
    served = world.serve("o0", 2, 5, None, AS_OF_MS)
    impossible = served._replace(eta=served.eta._replace(at_ms=1 << 70))
    checked = audit_of(world).check([impossible, served])
    assert sorted(one.verdict for one in checked) == [EtaVerdict.DIFFERENT, EtaVerdict.EQUAL]


def test_answers_beyond_the_budget_are_left_out_and_checked_in_a_later_round() -> None:
    world = small_world(pings=1_200)
    for version in (600, 1_100):
        world.serve("o0", 2, version, None, AS_OF_MS)
    audit = audit_of(world)
    assert audit.check(world.answered, budget=WalkBudget(10)) == []
    left, rounds = list(world.answered), 0
    while left:
        checked = audit.check(left, budget=WalkBudget(500))
        assert {one.verdict for one in checked} <= {EtaVerdict.EQUAL}
        left = [one for one in left if one not in [each.logged for each in checked]]
        rounds += 1
    assert rounds >= 2
    assert audit.events == 2 + 1_100


def test_after_the_log_was_rewritten_nothing_folded_before_counts() -> None:
    world = small_world()
    world.serve("o0", 2, 9, None, AS_OF_MS)
    audit = audit_of(world)
    assert totals(audit.check(world.answered)) == {EtaVerdict.EQUAL: 1}
    other = small_world()
    other.riders.events[:] = [
        event._replace(payload=event.payload.replace(b'"accuracy_meters": 5.0', b'"accuracy_meters": 7.0'))
        for event in world.riders.events
    ]
    world.riders.events[:] = other.riders.events
    world.answered.clear()
    world.serve("o0", 2, 9, None, AS_OF_MS + 5)
    audit.etas.forget()
    assert totals(audit.check(world.answered)) == {EtaVerdict.EQUAL: 1}


def test_the_digest_of_the_code_covers_the_city_and_the_model_behind_their_protocols() -> None:
    """A changed look-up in the city would be called a difference, and not other code."""
    assert (
        len({eta_code_digest(), answer_digest(NAME, eta_answer), answer_digest(NAME, eta_answer, Baseline.predict)})
        == 3
    )
