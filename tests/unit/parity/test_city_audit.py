"""The audit of city snapshots: right for every schedule of vectors, and every wrong snapshot is caught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identifiers import SHARDS, shard_of
from projections.calibration import CALIBRATION
from projections.orders import ORDERS
from projections.parity.audit_limits import FoldBudget, StateCache
from projections.parity.city_audit import CityVerdict, describe_city
from projections.replay.city import CITY_PROJECTIONS
from projections.traffic import TRAFFIC
from read_models.city.content import CityContent, TableVector
from tests.support.worlds.city import histories, ping
from tests.support.worlds.order_lives import OrderHistory
from tests.support.worlds.recorded_city import AS_OF_MS, City, Recorded, finished, orders_of, rides_of


@settings(max_examples=40, deadline=None)
@given(history=histories, data=st.data())
def test_invariant_8_every_schedule_of_vectors_gives_the_recorded_digests(
    history: tuple[OrderHistory, OrderHistory], data: st.DataObject
) -> None:
    city = City(*history)
    audit = city.audit(data.draw(st.sampled_from([0, 300, 1 << 20])))
    at = [[0] * SHARDS for _ in city.heads()]
    for _ in range(data.draw(st.integers(1, 4))):
        at = [
            [data.draw(st.integers(seq, head)) if head > seq else head for seq, head in zip(*pair, strict=True)]
            for pair in zip(at, city.heads(), strict=True)
        ]
        as_of_ms = AS_OF_MS + data.draw(st.sampled_from([-3_600_000, 0, 300_000, 3_000_000, 86_400_000]))
        content = city.content(city.tables(at), as_of_ms)
        events = data.draw(st.integers(1, 50))
        checked = finished(audit, city.record(content), events)
        assert (checked.verdict, checked.content) == (CityVerdict.EQUAL, content)
    assert city.restarts == []
    assert audit.place == sum(map(sum, at))


def test_one_more_fold_an_event_and_never_a_refold() -> None:
    city = City(rides_of(6), orders_of(7))
    audit = city.audit()
    heads = city.heads()
    for tenth in range(1, 11):
        at = [[seq * tenth // 10 for seq in seqs] for seqs in heads]
        assert finished(audit, city.record(city.content(city.tables(at)))).verdict == CityVerdict.EQUAL
    assert audit.events == sum(len(city.log_of(projection).events) for projection in CITY_PROJECTIONS)


def test_a_step_ends_with_its_budget() -> None:
    city = City(rides_of(6), orders_of(7))
    audit, record = city.audit(), city.record()
    assert audit.check(record, FoldBudget(10)) is None
    assert audit.events == 10
    assert audit.check(record, FoldBudget(is_over=lambda: True)) is None
    assert audit.events == 10
    assert finished(audit, record).verdict == CityVerdict.EQUAL


def one_shard_ahead(city: City) -> CityContent:
    behind = city.heads()
    behind[0][shard_of("r1")] -= 1
    traffic, *others = city.tables()
    vector = TableVector(1, tuple(behind[0]))
    return city.content([traffic._replace(vector=vector), *others])


def one_unit_in_an_amount(city: City) -> CityContent:
    content = city.content()
    cell, octant, ms, mm, riders = content.recent[0]
    return msgspec.structs.replace(content, recent=[(cell, octant, ms, mm + 1, riders), *content.recent[1:]])


def one_unit_in_an_hour_that_is_not_shown(city: City) -> CityContent:
    traffic, *others = city.tables()
    slot = next(slot for slot in traffic.permanent if 12 <= slot < 180)
    field, (ms, mm) = next(iter(traffic.permanent[slot].items()))
    permanent = {**traffic.permanent, slot: {**traffic.permanent[slot], field: (ms, mm + 1)}}
    return city.content([traffic._replace(permanent=permanent), *others], AS_OF_MS + 48 * 3_600_000)


def a_float_sum(city: City) -> CityContent:
    content = city.content()
    cell, count, duration, lateness, promised = content.finished[0]
    wrong: Any = (cell, count, float(duration), lateness, promised)
    return msgspec.structs.replace(content, finished=[wrong, *content.finished[1:]])


def a_dropped_delta(city: City) -> CityContent:
    """The completion of an order did not reach the table of its shard."""
    less = city.heads()
    less[1][shard_of("o1")] -= 1
    traffic, orders, calibration = city.tables()
    less_orders = city.tables(less)[1]._replace(vector=orders.vector)
    return city.content([traffic, less_orders, calibration])


def one_score_in_another_bin(city: City) -> CityContent:
    """One shard counted the outcome of one answer in the bin next to its own."""
    *others, calibration = city.tables()
    slot, sums = next(iter(calibration.permanent.items()))
    field, counts = next(iter(sums.items()))
    bin_ = next(number for number, count in enumerate(counts) if count)
    wrong = list(counts)
    wrong[bin_], wrong[bin_ + 1] = wrong[bin_] - 1, wrong[bin_ + 1] + 1
    permanent = {**calibration.permanent, slot: {**sums, field: tuple(wrong)}}
    return city.content([*others, calibration._replace(permanent=permanent)])


def one_thousandth_in_a_threshold(city: City) -> CityContent:
    content = city.content(as_of_ms=AS_OF_MS + 3_600_000)
    (leg, name, p50, p90), *rest = content.thresholds
    return msgspec.structs.replace(content, thresholds=[(leg, name, p50 + 1, p90), *rest])


@pytest.mark.parametrize(
    "wrong",
    [
        one_shard_ahead,
        one_unit_in_an_amount,
        one_unit_in_an_hour_that_is_not_shown,
        a_float_sum,
        a_dropped_delta,
        one_score_in_another_bin,
        one_thousandth_in_a_threshold,
    ],
)
def test_a_wrong_snapshot_is_caught_and_the_next_right_one_is_equal(wrong: Callable[[City], CityContent]) -> None:
    city = City(rides_of(6), orders_of(7))
    audit = city.audit()
    checked = finished(audit, city.record(wrong(city)))
    assert checked.verdict == CityVerdict.DIFFERENT
    assert (
        "city snapshot 1 (calibration generation 1, orders generation 1, traffic generation 1): different"
        in describe_city(checked)
    )
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    assert city.restarts == []


def test_a_snapshot_of_another_clock_reading_is_caught() -> None:
    city = City(rides_of(6), orders_of(7))
    record = city.record()._replace(as_of_ms=AS_OF_MS + 1)
    assert finished(city.audit(), record).verdict == CityVerdict.DIFFERENT


@pytest.mark.parametrize(
    "vectors",
    [{}, {TRAFFIC.name: TableVector(1, (0,) * SHARDS)}, dict.fromkeys((TRAFFIC.name, ORDERS.name), TableVector(1, ()))],
)
def test_a_record_without_whole_vectors_is_different(vectors: Mapping[str, TableVector]) -> None:
    city = City(rides_of(1), orders_of(1))
    assert finished(city.audit(), city.record()._replace(vectors=vectors)).verdict == CityVerdict.DIFFERENT


def test_a_vector_that_goes_back_restarts_the_audit() -> None:
    city = City(rides_of(6), orders_of(7))
    audit = city.audit()
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    behind = [[seq // 2 for seq in seqs] for seqs in city.heads()]
    back = city.tables(behind)
    back[0] = back[0]._replace(vector=TableVector(2, back[0].vector.seqs))
    assert finished(audit, city.record(city.content(back))).verdict == CityVerdict.EQUAL
    assert city.restarts == ["the vector of snapshot 2 goes back, in traffic and orders and calibration"]
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    assert len(city.restarts) == 1


def restore(city: City, riders: OrderHistory, orders: OrderHistory) -> None:
    """Give the logs other events under the same log id."""
    for log, other in zip(city.logs, City(riders, orders).logs, strict=True):
        log.events[:] = other.events
        log._times[:] = other._times
        log._seqs[:] = other._seqs


@pytest.mark.parametrize("later", [[], [ping(f"r{n}", 340, 9_000, number=99) for n in range(3)]])
def test_a_restored_log_restarts_the_audit_even_if_it_is_as_long_now(later: OrderHistory) -> None:
    city = City(rides_of(3), orders_of(4))
    audit = city.audit()
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    restore(city, rides_of(3, metres=250) + later, orders_of(4))
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    [reason] = city.restarts
    assert reason.startswith("the log has ")
    assert "than before" in reason


def test_a_snapshot_of_events_that_the_log_has_lost_is_no_difference() -> None:
    city = City(rides_of(3), orders_of(4))
    record = city.record()
    beyond = TableVector(1, tuple(seq + 1 for seq in record.vectors[ORDERS.name].seqs))
    checked = finished(city.audit(), record._replace(vectors={**record.vectors, ORDERS.name: beyond}))
    assert checked.verdict == CityVerdict.LOG_RESTORED
    assert finished(city.audit(), record._replace(log_id=UUID(int=7))).verdict == CityVerdict.LOG_RESTORED


@pytest.mark.parametrize("max_state_bytes", [0, 1 << 20])
def test_a_discard_counts_from_the_first_snapshot_that_has_it(max_state_bytes: int) -> None:
    city = City(rides_of(3), orders_of(6))
    damaged = next(
        event for event in city.logs[1].events if (event.key, event.event_type) == ("o1", "DeliveryAssigned")
    )
    city.logs[1].events[damaged.position - 1] = damaged._replace(payload=b"{}")
    parked = city.record()
    city.logs[1].discards.add(damaged.position)
    folded_on = city.record()
    assert parked.digest != folded_on.digest
    audit = city.audit(max_state_bytes)
    assert finished(audit, parked).verdict == CityVerdict.EQUAL
    assert finished(audit, folded_on).verdict == CityVerdict.EQUAL
    # A later audit starts with what was known before any discard, and takes them over too.
    assert finished(city.audit(max_state_bytes), folded_on).verdict == CityVerdict.EQUAL


def test_states_in_memory_are_bounded_and_the_oldest_are_dropped() -> None:
    cache = StateCache(10)
    cache.update({"a": b"1234", "b": b"1234"})
    assert cache.get("a") == b"1234"
    cache.update({"c": b"1234"})
    assert [cache.get(key) for key in "abc"] == [b"1234", None, b"1234"]
    cache.update({"a": b"1234567"})
    assert [cache.get(key) for key in "ac"] == [b"1234567", None]
    cache.update({"d": b"12345678901"})
    assert [cache.get(key) for key in "ad"] == [None, None]


class ParkedCity:
    """A city whose live folding failed at an event of order ``o1`` for a cause of its own: the log is whole."""

    def __init__(self) -> None:
        self.city = City(rides_of(3), orders_of(6))
        log = self.city.logs[1]
        self.at = next(e for e in log.events if (e.key, e.event_type) == ("o1", "DeliveryAssigned"))
        self._whole = log.events[self.at.position - 1]

    def record(self, parked: bool) -> Recorded:
        """A snapshot while the key is parked, or after its retry, with what was parked on record."""
        events = self.city.logs[1].events
        events[self.at.position - 1] = self._whole._replace(payload=b"{}") if parked else self._whole
        found = self.city.record()
        events[self.at.position - 1] = self._whole
        at = frozenset({self.at.position}) if parked else NONE
        # The calibration reads nothing of an assignment or a pick-up, so it is not parked at a damaged one.
        return found._replace(parked={TRAFFIC.name: NONE, ORDERS.name: at, CALIBRATION.name: NONE})


NONE: frozenset[int] = frozenset()


@pytest.mark.parametrize("max_state_bytes", [0, 1 << 20])
@pytest.mark.parametrize("events_a_step", [3, 1 << 60])
def test_regression_a_key_parked_by_live_folding_alone_is_no_difference(
    max_state_bytes: int, events_a_step: int
) -> None:
    """The audit did not know which keys were parked: the snapshots of before a retry were called different."""
    world = ParkedCity()
    parked, retried = world.record(parked=True), world.record(parked=False)
    assert parked.digest != retried.digest
    audit = world.city.audit(max_state_bytes)
    for record in (parked, parked, retried, retried):
        assert finished(audit, record, events_a_step).verdict == CityVerdict.EQUAL
    assert finished(world.city.audit(max_state_bytes), retried, events_a_step).verdict == CityVerdict.EQUAL
    assert world.city.restarts == []


def test_a_dump_with_a_key_that_live_folding_parked_is_a_right_start() -> None:
    world = ParkedCity()
    audit = world.city.audit()
    assert finished(audit, world.record(parked=True)).verdict == CityVerdict.EQUAL
    audit.store_dumps()
    following = world.city.audit()
    for parked in (True, False):
        assert finished(following, world.record(parked)).verdict == CityVerdict.EQUAL


def test_a_key_parked_at_an_event_that_was_folded_before_is_undecided() -> None:
    world = ParkedCity()
    audit = world.city.audit()
    assert finished(audit, world.record(parked=False)).verdict == CityVerdict.EQUAL
    checked = finished(audit, world.record(parked=True))
    assert checked.verdict == CityVerdict.UNDECIDED
    assert checked.why.endswith(f"the first at position {world.at.position}")
    assert finished(audit, world.record(parked=False)).verdict == CityVerdict.EQUAL


def test_a_key_retried_in_parts_is_folded_on_to_where_it_is_parked_now() -> None:
    world = ParkedCity()
    audit, log = world.city.audit(), world.city.logs[1]
    assert finished(audit, world.record(parked=True)).verdict == CityVerdict.EQUAL
    later = next(e for e in log.events if (e.key, e.event_type) == ("o1", "DeliveryPickedUp"))
    world.at, world._whole = later, log.events[later.position - 1]
    for parked in (True, False):
        assert finished(audit, world.record(parked)).verdict == CityVerdict.EQUAL


def test_a_discard_counts_from_the_snapshot_that_does_not_name_its_key_as_parked() -> None:
    city = City(rides_of(3), orders_of(6))
    damaged = next(e for e in city.logs[1].events if (e.key, e.event_type) == ("o1", "DeliveryAssigned"))
    city.logs[1].events[damaged.position - 1] = damaged._replace(payload=b"{}")
    on_record = {TRAFFIC.name: NONE, ORDERS.name: frozenset({damaged.position}), CALIBRATION.name: NONE}
    parked = city.record()._replace(parked=on_record)
    city.logs[1].discards.add(damaged.position)
    folded_on = city.record()._replace(parked=dict.fromkeys(on_record, NONE))
    audit = city.audit()
    for record in (parked, parked, folded_on):
        assert finished(audit, record).verdict == CityVerdict.EQUAL
    # A wrong sum is a difference, and never undecided because of a discard.
    wrong = city.record(one_unit_in_an_amount(city))._replace(parked=folded_on.parked)
    assert finished(city.audit(), wrong).verdict == CityVerdict.DIFFERENT
