"""The fold of spoofing as a whole: late pings, growing alerts, stored bytes and bounds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.case_file import MAX_EVIDENCE_IDS, MAX_WINDOW_FIXES, OPEN_MS, case_of
from domain.features.spoofing.fold import fold
from domain.features.spoofing.signals import FAMILY, POINTS, families, score
from domain.features.spoofing.state import EMPTY, SpoofingState
from read_models.fraud.rows import changes
from read_models.fraud.state import UnreadableSpoofingState, decode, encode
from read_models.fraud.tables import CASE_COLUMNS, REVIEW_COLUMNS
from tests.support.worlds.phone import Event, keyed, leg_ended, leg_started, ping, reviewed, ride, states_of

FORGED = [
    *ride(0, 60),
    leg_started(55, 300, 5_000),
    *ride(60, 300, north_m=300, east_m=5_000),
    leg_ended(300),
    *ride(300, 400, north_m=1_500),
]
"""A jump to the target of a leg, which ends with it: an alert that grows."""


def test_an_alert_keeps_its_id_and_grows() -> None:
    files = [state.alert for state in states_of(FORGED) if state.alert is not None]
    assert len(files) >= 2
    assert len({(file.alert_id, file.raised_at_ms, file.raised_position) for file in files}) == 1
    assert [file.position for file in files] == sorted(file.position for file in files)
    assert [len(file.signals) for file in files] == sorted(len(file.signals) for file in files)


def test_a_signal_after_half_an_hour_begins_another_alert() -> None:
    moved = {"event_timestamp_ms": 2 * OPEN_MS, "received_timestamp_ms": 2 * OPEN_MS}
    later = [
        (
            key,
            kind,
            data | {name: data[name] + ms for name, ms in moved.items()} | {"event_id": "f" + data["event_id"][1:]},
        )
        for key, kind, data in FORGED
    ]
    alerts = [state.alert.alert_id for state in states_of([*FORGED, *later]) if state.alert is not None]
    assert len(set(alerts)) == 2


def test_a_case_that_is_over_is_not_stored_any_longer() -> None:
    states = states_of([*FORGED, ping(400 + OPEN_MS / 1_000 + 100, 2_000)])
    assert states[-2].case
    assert not states[-1].case


def test_the_row_of_an_alert_has_its_file() -> None:
    state = next(state for state in states_of(FORGED) if state.alert is not None)
    (row,) = changes("anna", state)
    assert state.alert is not None
    assert (row.table, row.key, row.add) == ("fraud_alerts", (state.alert.alert_id,), ())
    named = dict(zip(CASE_COLUMNS, row.latest or (), strict=True))
    assert case_of(named["file"]) == state.alert
    assert named["signals"] == "jump_to_target,teleport"
    assert named["raised_at"].timestamp() * 1_000 == state.alert.raised_at_ms


def test_a_review_is_a_row_whoever_raised_the_alert() -> None:
    state = states_of([reviewed(10, "an alert of completion", "confirmed")])[-1]
    (row,) = changes("anna", state)
    named = dict(zip(REVIEW_COLUMNS, row.latest or (), strict=True))
    assert (row.table, named["alert_id"], named["verdict"]) == (
        "fraud_reviews",
        "an alert of completion",
        "confirmed",
    )
    assert (named["reviewer"], named["rider_id"], named["position"]) == ("mara", "anna", 10)


def test_an_event_that_changes_no_row_leaves_no_change_behind() -> None:
    states = states_of([*FORGED, reviewed(401, "a"), ping(405, 2_000), leg_started(406, 0)])
    assert [bool(changes("anna", state)) for state in states[-3:]] == [True, False, False]


# Late pings


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(1, len(FORGED)), st.floats(1, 30), st.integers(-9_000, 9_000)), max_size=12)
)
def test_late_pings_change_no_signal_of_the_track(places: list[tuple[int, float, int]]) -> None:
    """They come without a reception, so that the detector of the clock does not see them either."""
    events: list[Event] = []
    added = dict.fromkeys(place for place, _, _ in places)
    by_place = {place: (back_s, north) for place, back_s, north in places}
    newest_ms = 0
    for number, event in enumerate(FORGED, start=1):
        events.append(event)
        if event[1] == "GpsPing":
            newest_ms = max(newest_ms, event[2]["event_timestamp_ms"])
        if number in added:
            back_s, north = by_place[number]
            late_ms = newest_ms - round(back_s * 1_000)
            _, _, data = ping(0, north)
            data |= {"event_timestamp_ms": late_ms, "received_timestamp_ms": 0}
            events.append(("anna", "GpsPing", data | {"event_id": f"{number:032x}"}))
    whole, plain = states_of(events), states_of(FORGED)
    assert whole[-1].late == len(added)
    assert _numbered(whole[-1]) == _numbered(plain[-1])


def _numbered(state: SpoofingState) -> tuple[Any, ...]:
    """What the state says, without positions: late pings move those."""
    case = case_of(state.case) if state.case else None
    signals = () if case is None else (case.alert_id, case.score, case.raised_at_ms, case.signals)
    return state.last, state.trunk, state.habit, state.branch, state.hits, state.memory, state.case_ms, signals


# The stored bytes


@pytest.mark.parametrize("every_s", [0.1, 1, 5, 60])
def test_a_state_survives_its_bytes_and_is_bounded(every_s: float) -> None:
    chance = random.Random(5)
    events = [
        ping(
            n * every_s,
            n * every_s * 5 + chance.choice([0, 0, 0, 9_000]),
            accuracy=chance.choice([None, 3.0, 60.0]),
            speed=chance.choice([None, 0.0, 5.0]),
            late_s=chance.choice([0.1, 200.0]),
            is_mock=chance.choice([None, True, True, False]),
        )
        for n in range(600)
    ]
    for state in states_of(events):
        data = encode(state)
        assert decode(data) == state._replace(alert=None, review=None)
        assert len(data) < 32_768
        if state.case:
            case = case_of(state.case)
            assert len(case.window) <= MAX_WINDOW_FIXES
            assert max(len(signal.evidence) for signal in case.signals) <= MAX_EVIDENCE_IDS
            assert len(case.signals) <= 3 * len(FAMILY)


@given(cut=st.integers(1, 60))
def test_bytes_of_another_length_or_format_are_rejected(cut: int) -> None:
    data = encode(states_of(FORGED)[-1])
    for damaged in (data[:-cut], data + b"\0" * cut, b"\xff" + data[1:], b""):
        with pytest.raises(UnreadableSpoofingState):
            decode(damaged)


def test_a_fold_that_goes_on_from_the_bytes_is_the_same_fold() -> None:
    state, stored = EMPTY, encode(EMPTY)
    for event in keyed(FORGED):
        state = fold(state, event)
        again = fold(decode(stored), event)
        stored = encode(again)
        assert again == state


def test_two_signals_of_one_family_count_once() -> None:
    assert families(["constant_readings", "regular_steps"]) == {"regularity"}
    assert score(["constant_readings", "regular_steps"]) == POINTS["regularity"]
    assert score(FAMILY) == 100
