"""Invariant 8 for a value that crosses keys: a snapshot is the merge of all events up to its vector, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.features.partials import PartialSlot
from domain.features.traffic.city import recent_traffic
from domain.features.traffic.partials import ALL_TIME_SLOT, FIRST_HOUR_SLOT
from domain.features.traffic.steps import BUCKET_MS, cell_at, hour_of_week, parent_of
from domain.identifiers import SHARDS
from projections.core.partials import MergedPartials
from projections.rebuild.catch_up import CatchUp
from projections.replay.city import CITY_PROJECTIONS, PERMANENT_SLOTS
from projections.traffic import TRAFFIC
from read_models.city.content import (
    FORMAT,
    ORDERS_PERMANENT,
    TRAFFIC_PERMANENT,
    CityContent,
    CityHours,
    CityParts,
    CityTables,
    TableVector,
    UnreadableCityContent,
    decode,
    digest_of,
    encode,
    hours_of,
    merge,
    tables_of,
)
from read_models.city.hours import HoursOfWeek, fastest_hour
from tests.support.ports_in_memory.projection_ports import MemoryPartialReader, MemorySink
from tests.support.worlds.city import (
    BUSY_HOURS,
    NO_SCORES,
    CityArchive,
    drive,
    histories,
    ping,
    replayed,
    vector_of,
)
from tests.support.worlds.order_lives import OrderHistory
from tests.support.worlds.rider_events import START_MS

AS_OF_MS = START_MS + 3_700_000
History = tuple[OrderHistory, OrderHistory]


def logs_of(history: History) -> list[CityArchive]:
    """The log of each projection's stream."""
    return [CityArchive(of.stream, history[of.stream == "Delivery"]) for of in CITY_PROJECTIONS]


def seqs_of(copy: MergedPartials) -> tuple[int, ...]:
    return tuple(copy.fences[shard].seq if shard in copy.fences else 0 for shard in range(SHARDS))


@settings(max_examples=40)
@given(history=histories, data=st.data())
def test_invariant_8_the_live_merge_at_a_vector_is_the_fold_of_the_log_up_to_it(
    history: History, data: st.DataObject
) -> None:
    logs = logs_of(history)
    sinks = [MemorySink() for _ in CITY_PROJECTIONS]
    copies = [MergedPartials(PERMANENT_SLOTS[projection.name]) for projection in CITY_PROJECTIONS]
    kept = CityHours()
    for _ in range(data.draw(st.integers(1, 3))):
        for projection, log, sink, copy in zip(CITY_PROJECTIONS, logs, sinks, copies, strict=True):
            head = log.head(projection.stream)
            targets = {shard: data.draw(st.integers(0, seq)) for shard, seq in enumerate(head.seqs) if seq}
            CatchUp(projection, log, sink, json.loads, range(SHARDS)).run(dict.fromkeys(range(SHARDS), 0) | targets)
            copy.update(MemoryPartialReader(sink), range(SHARDS))
        kept.week.update(copies[0].permanent, copies[0].changed)
        kept.scores.update(copies[2].permanent, copies[2].buckets, copies[2].changed)
        for copy in copies:
            copy.changed.clear()
        as_of_ms = AS_OF_MS + data.draw(st.sampled_from([-3_600_000, 0, BUCKET_MS, 6_000_000, 86_400_000]))
        vectors = [seqs_of(copy) for copy in copies]
        parts = CityParts(
            *(
                CityTables(TableVector(1, vector), copy.rings.values(), copy.permanent, copy.buckets)
                for vector, copy in zip(vectors, copies, strict=True)
            )
        )
        live = encode(merge("log", as_of_ms, parts, kept))
        again = replayed(as_of_ms, *map(vector_of, logs, CITY_PROJECTIONS, vectors))
        assert live == encode(again)
        assert decode(live) == again


@settings(max_examples=40)
@given(history=histories, data=st.data())
def test_a_snapshot_with_one_shard_ahead_has_another_digest(history: History, data: st.DataObject) -> None:
    logs = logs_of(history)
    heads = [list(log.head(of.stream).seqs) for log, of in zip(logs, CITY_PROJECTIONS, strict=True)]
    which = data.draw(st.sampled_from([0, 1, 2]))
    assume(any(heads[which]))
    projection = CITY_PROJECTIONS[which]
    shard = data.draw(st.sampled_from([shard for shard, seq in enumerate(heads[which]) if seq]))
    behind = list(heads[which])
    behind[shard] -= 1
    ahead = vector_of(logs[which], projection, heads[which])
    right = vector_of(logs[which], projection, behind)
    # An event that adds nothing, such as the first ping of a rider, cannot be seen in any sum.
    assume((ahead.rings, ahead.permanent) != (right.rings, right.permanent))
    ahead = ahead._replace(vector=right.vector)
    tables = [vector_of(*each) for each in zip(logs, CITY_PROJECTIONS, heads, strict=True)]

    def snapshots(one: CityTables) -> str:
        return digest_of(encode(replayed(AS_OF_MS, *(one if n == which else each for n, each in enumerate(tables)))))

    if which != 1 or ahead.permanent != right.permanent:
        assert snapshots(ahead) != snapshots(right)


def one_ride(metres: int, at_s: int = 0, riders: int = 1) -> CityTables:
    log = CityArchive("Rider", [event for n in range(riders) for event in drive(f"r{n}", at_s, 30, metres, north=True)])
    return vector_of(log, TRAFFIC, log.head("Rider").seqs)


NO_ORDERS = tables_of(TableVector(1, (0,) * SHARDS), [], ORDERS_PERMANENT)


def content_at(traffic: CityTables, as_of_s: int) -> CityContent:
    return replayed(START_MS + as_of_s * 1_000, traffic, NO_ORDERS)


def test_the_clock_reading_decides_which_buckets_are_recent() -> None:
    traffic = one_ride(200)
    assert sum(row[2] for row in content_at(traffic, 700).recent) == 29 * 20_000
    assert content_at(traffic, 600 + 1_800).recent == []
    assert content_at(traffic, -400).recent == []
    # What is not recent is still known.
    assert content_at(traffic, 86_400).headings == content_at(traffic, 700).headings != []


def test_regression_one_rider_in_three_buckets_does_not_pass_for_three() -> None:
    """The riders of a cell were summed over the buckets of 30 minutes: one person's way was shown as traffic."""
    steady = [ping("alone", second, 2.0 * second, number=second) for second in range(0, 1_200, 20)]
    log = CityArchive("Rider", steady)
    found = content_at(vector_of(log, TRAFFIC, log.head("Rider").seqs), 1_200).recent
    assert {riders for *_, riders in found} == {1}
    together = one_ride(20, riders=3)
    assert max(row[4] for row in content_at(together, 700).recent) == 3


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.tuples(*[st.integers(1, 9)] * 3)), max_size=6))
def test_times_and_distances_are_summed_over_buckets_and_of_riders_the_most_counts(
    buckets: list[dict[str, tuple[int, int, int]]],
) -> None:
    found = recent_traffic(buckets)
    assert found.keys() == {field for bucket in buckets for field in bucket}
    for field, sums in found.items():
        ms, mm, riders = zip(*(bucket[field] for bucket in buckets if field in bucket), strict=True)
        assert sums == (sum(ms), sum(mm), max(riders))


@pytest.mark.parametrize(("as_of_s", "shown"), [(700, {0, 1, 2}), (4_300, {1, 2}), (7_900, {2, 3}), (86_400 * 3, {2})])
def test_the_hours_in_a_snapshot_are_this_one_the_next_and_the_fastest(as_of_s: int, shown: set[int]) -> None:
    log = CityArchive("Rider", BUSY_HOURS)
    found = content_at(vector_of(log, TRAFFIC, log.head("Rider").seqs), as_of_s)
    first, start = hour_of_week(START_MS // BUCKET_MS), parent_of(cell_at(52.52, 13.4))
    assert {hour - first for place, hour, _, _ in found.parent_hours if place == start} == shown
    assert {hour - first for _, hour, _, _ in found.fastest} == {2}
    assert {hour - first for hour, _, _ in found.fleet_hours} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("hours", "fastest"),
    [
        ({}, None),
        ({3: (1, 9_999_999)}, None),
        ({3: (2_000, 10_000_000), 5: (1_999, 10_000_000)}, 5),
        ({9: (2_000, 10_000_000), 5: (2_000, 10_000_000)}, 5),
        ({1: (1, 9_000_000), 2: (9_000, 20_000_000), 3: (9_000, 20_000_001)}, 3),
    ],
)
def test_the_fastest_hour_has_ten_kilometres(hours: dict[int, tuple[int, int]], fastest: int | None) -> None:
    assert fastest_hour(hours) == fastest


sums = st.dictionaries(
    st.sampled_from(["881f1d4815fffff", "881f1d4817fffff", "881f1d48a3fffff"]),
    st.tuples(st.integers(1, 5_000_000), st.integers(1, 30_000_000)),
)
weeks = st.dictionaries(st.integers(FIRST_HOUR_SLOT, ALL_TIME_SLOT), sums, max_size=6)


@given(st.lists(weeks, min_size=1, max_size=4))
def test_hours_kept_change_by_change_are_those_of_the_whole(
    steps: Sequence[dict[int, dict[str, tuple[int, int]]]],
) -> None:
    kept = HoursOfWeek()
    before: dict[int, dict[str, tuple[int, int]]] = {}
    for now in steps:
        changed = {slot: before.get(slot, {}).keys() | now.get(slot, {}).keys() for slot in before.keys() | now.keys()}
        kept.update(now, changed)
        before = now
    whole = HoursOfWeek()
    whole.update(steps[-1], steps[-1])
    assert kept.digest() == whole.digest()
    assert (kept.fastest, kept.fleet) == (whole.fastest, whole.fleet)
    assert {cell: of for cell, of in kept.cells.items() if of} == whole.cells
    assert {cell: of for cell, of in kept.parents.items() if of} == whole.parents


def test_a_sum_of_any_hour_changes_the_digest() -> None:
    table = {FIRST_HOUR_SLOT: PartialSlot(0, {"881f1d4815fffff": (1_000, 2_000)})}
    other = {FIRST_HOUR_SLOT: PartialSlot(0, {"881f1d4815fffff": (1_001, 2_000)})}
    digests = set()
    for each in (table, other, {}):
        traffic = tables_of(NO_ORDERS.vector, [each], TRAFFIC_PERMANENT)
        digests.add(hours_of(CityParts(traffic, NO_ORDERS, NO_SCORES)).week.digest())
    assert len(digests) == 3


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\xc1" + data, lambda _: b""])
def test_damaged_bytes_are_rejected(damage: object) -> None:
    assert callable(damage)
    data = encode(content_at(one_ride(200), 700))
    with pytest.raises(UnreadableCityContent):
        decode(damage(data))


def test_another_format_is_rejected() -> None:
    content = content_at(one_ride(200), 700)
    other = CityContent(*[FORMAT + 1, *[getattr(content, name) for name in CityContent.__struct_fields__[1:]]])
    for one in (other, msgspec.structs.replace(content, format=1)):
        with pytest.raises(UnreadableCityContent, match="other code merged it, in format"):
            decode(encode(one))
