"""An audit that starts at a dump finds what one finds that starts at the first event, and no damaged dump is used."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identifiers import SHARDS
from projections.orders import ORDERS
from projections.parity.audit_dumps import DamagedDump, merged_content, shard_content
from projections.parity.city_audit import CityVerdict
from projections.traffic import TRAFFIC
from tests.support.worlds.city import histories
from tests.support.worlds.order_lives import OrderHistory
from tests.support.worlds.recorded_city import AS_OF_MS, City, finished, orders_of, rides_of


def dumped(city: City, tenths: int = 5) -> City:
    """The city with a dump at this part of both logs."""
    at = [[seq * tenths // 10 for seq in seqs] for seqs in city.heads()]
    audit = city.audit()
    assert finished(audit, city.record(city.content(city.tables(at)))).verdict == CityVerdict.EQUAL
    audit.store_dumps()
    return city


def events_of(city: City) -> int:
    return sum(sum(seqs) for seqs in city.heads())


@settings(max_examples=30, deadline=None)
@given(history=histories, data=st.data())
def test_invariant_8_an_audit_from_a_dump_gives_the_recorded_digests(
    history: tuple[OrderHistory, OrderHistory], data: st.DataObject
) -> None:
    city = City(*history)
    states = st.sampled_from([0, 300, 1 << 20])
    audit, at = city.audit(data.draw(states)), [[0] * SHARDS for _ in city.heads()]
    for _ in range(data.draw(st.integers(1, 4))):
        at = [
            [data.draw(st.integers(seq, head)) if head > seq else head for seq, head in zip(*pair, strict=True)]
            for pair in zip(at, city.heads(), strict=True)
        ]
        content = city.content(
            city.tables(at), AS_OF_MS + data.draw(st.sampled_from([0, 300_000, 3_000_000, 86_400_000]))
        )
        checked = finished(audit, city.record(content), data.draw(st.integers(1, 50)))
        assert (checked.verdict, checked.content) == (CityVerdict.EQUAL, content)
        if data.draw(st.booleans()):
            audit.store_dumps()
        if data.draw(st.booleans()):
            audit = city.audit(data.draw(states))
    assert (city.restarts, city.ignored) == ([], [])


def test_an_audit_from_a_dump_folds_only_what_came_after_it() -> None:
    city = dumped(City(rides_of(6), orders_of(7)))
    audit = city.audit()
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    done = sum(seq * 5 // 10 for seqs in city.heads() for seq in seqs)
    assert done
    assert audit.events == events_of(city) - done
    assert audit.place == events_of(city)


def test_a_wrong_snapshot_is_caught_by_an_audit_from_a_dump_too() -> None:
    city = dumped(City(rides_of(6), orders_of(7)))
    traffic, *others = city.tables()
    behind = tuple(max(0, seq - 1) for seq in traffic.vector.seqs)
    wrong = city.content([traffic._replace(vector=traffic.vector.__class__(1, behind)), *others])
    assert finished(city.audit(), city.record(wrong)).verdict == CityVerdict.DIFFERENT


def test_an_earlier_snapshot_than_the_newest_dump_starts_at_the_dump_before_it() -> None:
    city = dumped(dumped(City(rides_of(6), orders_of(7)), 3), 9)
    at = [[seq * 6 // 10 for seq in seqs] for seqs in city.heads()]
    audit = city.audit()
    assert finished(audit, city.record(city.content(city.tables(at)))).verdict == CityVerdict.EQUAL
    assert audit.events == sum(seq * 6 // 10 - seq * 3 // 10 for seqs in city.heads() for seq in seqs)
    assert city.ignored == []


def test_of_each_projection_the_two_newest_dumps_are_kept() -> None:
    city = City(rides_of(2), orders_of(2))
    for tenths in (2, 5, 8):
        dumped(city, tenths)
    assert [record.number for record in city.dumps.records(TRAFFIC.name)] == [3, 2]


def test_a_damaged_dump_is_ignored_with_one_line_and_the_one_before_it_is_used() -> None:
    city = dumped(dumped(City(rides_of(6), orders_of(7)), 3), 6)
    city.dumps.damaged.add(2)
    audit = city.audit()
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    assert city.ignored == [
        "dump 2 of the audit of traffic is not used: the bytes are others",
        "dump 2 of the audit of orders is not used: the bytes are others",
        "dump 2 of the audit of calibration is not used: the bytes are others",
    ]
    assert audit.events == sum(seq - seq * 3 // 10 for seqs in city.heads() for seq in seqs)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"log_id": UUID(int=7)}, "it is of the log 00000000-0000-0000-0000-000000000007"),
        ({"fold_digest": "other"}, "other code folded it"),
        ({"seqs": (0,) * 63}, "parts of it are missing"),
    ],
)
def test_a_foreign_dump_is_ignored_with_one_line(change: dict[str, Any], why: str) -> None:
    city = dumped(City(rides_of(3), orders_of(4)))
    [(record, parts)] = city.dumps.kept[ORDERS.name]
    city.dumps.kept[ORDERS.name] = [(record._replace(**change), parts)]
    assert finished(city.audit(), city.record()).verdict == CityVerdict.EQUAL
    assert city.ignored == [f"dump 1 of the audit of orders is not used: {why}"]


def test_a_dump_of_another_history_under_the_same_log_id_is_ignored() -> None:
    city = dumped(City(rides_of(3), orders_of(4)))
    other = City(rides_of(3, metres=250), orders_of(4))
    for log, that in zip(city.logs, other.logs, strict=True):
        log.events[:] = that.events
    assert finished(city.audit(), city.record()).verdict == CityVerdict.EQUAL
    assert city.ignored == ["dump 1 of the audit of traffic is not used: the log has other events at its place"]


def test_what_a_wrong_dump_says_against_a_snapshot_is_confirmed_from_the_first_event() -> None:
    city = dumped(City(rides_of(6), orders_of(7)))
    [(record, parts)] = city.dumps.kept[TRAFFIC.name]
    merged = merged_content(parts[-1].content)
    slot = next(iter(merged.permanent))
    field, (ms, mm) = next(iter(merged.permanent[slot].items()))
    merged.permanent[slot][field] = ms, mm + 1
    wrong = parts[-1]._replace(content=msgspec.msgpack.encode(merged))
    city.dumps.kept[TRAFFIC.name] = [(record, [*parts[:-1], wrong])]
    assert finished(city.audit(), city.record()).verdict == CityVerdict.DIFFERENT
    audit = city.audit(confirms=True)
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    assert city.restarts == ["snapshot 3 differs from a dump: it is checked again from the first event"]


@pytest.mark.parametrize("max_state_bytes", [0, 1 << 20])
def test_a_parked_key_stays_parked_across_a_dump_and_is_folded_on_after_its_discard(max_state_bytes: int) -> None:
    city = City(rides_of(3), orders_of(6))
    damaged = next(e for e in city.logs[1].events if (e.key, e.event_type) == ("o1", "DeliveryAssigned"))
    city.logs[1].events[damaged.position - 1] = damaged._replace(payload=b"{}")
    audit = city.audit(max_state_bytes)
    assert finished(audit, city.record()).verdict == CityVerdict.EQUAL
    audit.store_dumps()
    parked = city.record()
    city.logs[1].discards.add(damaged.position)
    folded_on = city.record()
    following = city.audit(max_state_bytes)
    assert finished(following, parked).verdict == CityVerdict.EQUAL
    assert finished(following, folded_on).verdict == CityVerdict.EQUAL
    following.store_dumps()
    assert finished(city.audit(max_state_bytes), folded_on).verdict == CityVerdict.EQUAL


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01"])
def test_bytes_that_are_no_content_are_damaged(data: bytes) -> None:
    with pytest.raises(DamagedDump):
        shard_content(data)
    with pytest.raises(DamagedDump):
        merged_content(data)
