"""Invariant 8 for served answers: every answer is recomputed from the events, and every error is found."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import SpeedState
from projections.digest.digest import fold_digest
from projections.locations import LOCATIONS
from projections.parity.audit import describe_difference, describe_wrong_snapshot
from projections.parity.checker import ParityChecker
from projections.parity.key_walk import WalkBudget
from projections.parity.served_reads import ReadVerdict, WrongSnapshot
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.parity_ports import (
    DamageableSnapshots,
    KeyArchive,
    MemoryServedReads,
)
from tests.support.worlds.rider_events import START_MS, rider_histories
from tests.support.worlds.same_digest import under_the_name_of
from tests.support.worlds.served_history import Live, check, filled, ride, verdicts
from tests.support.worlds.speed_events import ping_data


@given(history=rider_histories, data=st.data())
def test_invariant_8_every_served_answer_of_any_history_is_the_fold(
    history: list[tuple[str, str, dict[str, Any]]], data: st.DataObject
) -> None:
    archive = filled(history)
    archive.discards = data.draw(st.sets(st.integers(1, len(history)), max_size=3))
    live = Live(archive)
    chosen = data.draw(
        st.lists(st.sampled_from(live.reads), unique_by=lambda one: one.id) if live.reads else st.just([])
    )
    first = check(archive, live, chosen, batch=data.draw(st.integers(1, 10)))
    assert verdicts(first) <= {"equal"}
    assert len(first) == len(chosen)
    # Again, from the verified snapshots of the first check.
    again = check(archive, live, batch=data.draw(st.integers(1, 10)))
    assert [one.verdict for one in again] == ["equal"] * len(live.reads)


def one_more(state: SpeedState, event: KeyedEvent) -> SpeedState:
    """A fold that is off by one unit of the last stored place, for one event in seven."""
    new = SPEED.fold(state, event)
    if event.version % 7:
        return new
    last = new.window[-1]
    return new._replace(window=(*new.window[:-1], last._replace(t_ms=last.t_ms + 1)))


def test_a_fold_off_by_one_unit_under_the_same_digest_is_found() -> None:
    archive = ride(30)
    mutated = replace(SPEED, fold=under_the_name_of(SPEED.fold, one_more))
    assert fold_digest(mutated) == fold_digest(SPEED)
    repaired: list[WrongSnapshot] = []
    live = Live(archive, mutated)
    found = {one.logged.read.version: one for one in check(archive, live, found=repaired.append)}
    assert {found[version].verdict for version in range(1, 7)} == {"equal"}
    # A millisecond of one ping among ten does not change the rounded speed; that of the newest one does.
    assert {found[version].verdict for version in (7, 14, 21, 28)} == {"different"}
    # Its snapshots are as wrong as its answers: a check that started from one would have found both sides equal.
    assert [one.version for one in repaired] == [10, 15, 20, 25, 30]
    assert verdicts(check(archive, live)) == {"equal", "different"}


def test_a_clock_that_is_read_inside_a_fold_is_found() -> None:
    clock = count(1)

    def late(state: SpeedState, event: KeyedEvent) -> SpeedState:
        return SPEED.fold(state, event)._replace(too_late=next(clock))

    def dated(state: SpeedState, event: KeyedEvent) -> SpeedState:
        new = SPEED.fold(state, event)
        return new._replace(window=tuple(p._replace(latitude=p.latitude + next(clock) / 1e9) for p in new.window))

    archive = ride(12)
    assert verdicts(
        check(
            archive, Live(archive, replace(SPEED, fold=under_the_name_of(SPEED.fold, dated))), found=lambda wrong: None
        )
    ) == {"different"}
    # In a part of the state that no answer shows, it is found through the snapshots.
    repaired: list[WrongSnapshot] = []
    shown = check(
        archive, Live(archive, replace(SPEED, fold=under_the_name_of(SPEED.fold, late))), found=repaired.append
    )
    assert (verdicts(shown), [one.version for one in repaired]) == ({"equal"}, [5, 10])


def test_a_wrong_live_snapshot_is_found_and_repaired_and_affects_no_check() -> None:
    archive = ride(20)
    live = Live(archive)
    kept = live.snapshots.kept["anna", 10]
    live.snapshots.kept["anna", 10] = kept._replace(state=kept.state[:-1] + bytes([kept.state[-1] ^ 1]))
    repaired: list[WrongSnapshot] = []
    assert verdicts(check(archive, live, found=repaired.append)) == {"equal"}
    assert [(one.version, one.position, one.generation) for one in repaired] == [(10, 10, 1)]
    assert "version 10" in describe_wrong_snapshot(repaired[0])
    assert live.snapshots.kept["anna", 10] == kept._replace(verified=True)
    assert verdicts(check(archive, live)) == {"equal"}


def test_a_damaged_answer_is_reported_field_by_field() -> None:
    archive = ride(12)
    live = Live(archive)
    read = live.reads[9].read
    body = json.loads(read.body) | {"latitude": 1.5, "pings_in_window": 77}
    damaged = live.reads[9]._replace(read=read._replace(body=json.dumps(body).encode()))
    found = check(archive, live, [live.reads[8], damaged, live.reads[10]])
    assert [one.verdict for one in found] == ["equal", "different", "equal"]
    words = describe_difference(found[1])
    assert "pings_in_window: served 77, recomputed 10" in words
    assert "latitude: other than recomputed" in words
    assert "version 10, position 10, generation 1, read at 2026-" in words
    assert "longitude" not in words


@pytest.mark.parametrize("damage", ["a field", "the layout", "the whole"])
def test_no_description_of_a_difference_has_a_location(damage: str) -> None:
    """It is written into a log, with the rider's id and the time."""
    archive = ride(12)
    live = Live(archive)
    read = live.reads[9].read
    body = {
        "a field": json.dumps(json.loads(read.body) | {"latitude": 1.5, "longitude": 2.5}).encode(),
        "the layout": read.body.replace(b",", b", "),
        "the whole": read.body[:-1],
    }[damage]
    [found] = check(archive, live, [live.reads[9]._replace(read=read._replace(body=body))])
    assert found.verdict == "different"
    words = describe_difference(found)
    places = {str(json.loads(read.body)[name]) for name in ("latitude", "longitude")} | {"1.5", "2.5"}
    assert [place for place in places if place in words] == []


def test_the_same_values_in_other_bytes_are_different() -> None:
    archive = ride(3)
    live = Live(archive)
    read = live.reads[2].read
    spaced = live.reads[2]._replace(read=read._replace(body=read.body.replace(b",", b", ")))
    [found] = check(archive, live, [spaced])
    assert found.verdict == "different"
    assert "other bytes" in describe_difference(found)


def test_answers_of_other_code_are_not_checked() -> None:
    archive = ride(3)
    live = Live(archive)
    folded = [read._replace(fold_digest="another") for read in live.reads]
    shown = [read._replace(view_digest="another") for read in live.reads]
    assert verdicts(check(archive, live, folded)) == verdicts(check(archive, live, shown)) == {"other code"}


def test_a_restored_log_is_distinguished_from_a_difference() -> None:
    archive = ride(12)
    live = Live(archive)
    short = filled([(e.key, e.event_type, json.loads(e.payload)) for e in archive.events[:8]])
    found = check(short, live, found=lambda wrong: None)
    assert [one.verdict for one in found] == ["equal"] * 8 + ["log restored"] * 4
    # It has grown again since, with other events: the event of that version is at another position.
    short.append("ben", "GpsPing", ping_data("ben", START_MS, 100))
    for number in range(4):
        short.append("anna", "GpsPing", ping_data("anna", START_MS + 60_000, 200 + number))
    live.snapshots = DamageableSnapshots()
    assert [one.verdict for one in check(short, live)] == ["equal"] * 8 + ["log restored"] * 4


def test_a_state_that_cannot_be_shown_and_a_key_that_cannot_be_folded_are_differences_with_a_reason() -> None:
    def failing(state: SpeedState, event: KeyedEvent) -> SpeedState:
        if event.version == 3:
            raise ArithmeticError("no")
        return SPEED.fold(state, event)

    archive = ride(4)
    live = Live(archive)
    broken: ParityChecker[SpeedState] = ParityChecker(
        ReplaySource(replace(SPEED, fold=under_the_name_of(SPEED.fold, failing)), archive, json.loads),
        DamageableSnapshots(),
        lambda wrong: None,
    )
    found = list(broken.check(live.reads))
    assert [one.verdict for one in found] == ["equal", "equal", "different", "different"]
    assert "the fold fails at version 3: ArithmeticError: no" in describe_difference(found[3])

    def unable(state: SpeedState) -> Any:
        raise ValueError("cannot be shown")

    assert SPEED.view is not None
    blind = replace(SPEED, view=replace(SPEED.view, features=under_the_name_of(SPEED.view.features, unable)))
    found = list(
        ParityChecker(ReplaySource(blind, archive, json.loads), DamageableSnapshots(), lambda wrong: None).check(
            live.reads
        )
    )
    assert "ValueError: cannot be shown" in describe_difference(found[0])


def test_a_spent_budget_stops_a_long_key_at_a_snapshot_and_folds_no_event_twice() -> None:
    archive = filled(
        [("anna", "GpsPing", ping_data("anna", START_MS + n * 1_000, n)) for n in range(200)]
        + [("zoe", "GpsPing", ping_data("zoe", START_MS, n)) for n in range(3)]
    )
    live = Live(archive)
    stored = MemoryServedReads([live.reads[198], live.reads[-1]])
    rounds: list[list[str]] = []
    while unchecked := stored.unchecked(10):
        done = check(archive, live, unchecked, WalkBudget(50, per_key=30))
        stored.record({ReadVerdict.EQUAL: [one.logged.id for one in done if one.verdict == ReadVerdict.EQUAL]})
        rounds.append([one.logged.read.key for one in done])
    # The long key does not starve the short one after it, and is completed itself.
    assert rounds == [["zoe"], [], [], [], [], [], ["anna"]]
    assert len(archive.read) == len(set(archive.read)) == 202


def test_a_projection_without_a_view_has_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no view"):
        ParityChecker(
            ReplaySource(replace(LOCATIONS, view=None), KeyArchive(), json.loads),
            DamageableSnapshots(),
            lambda wrong: None,
        )
