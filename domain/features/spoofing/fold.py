"""The fold of a rider's spoofing: detectors that run over the track in order, and the case that their findings make.

Pings are used in the order of the log. A ping that is not later than the last one used, by effective time, is late: it
is counted, and only the detector of the clock sees it. So late pings, however many and wherever, change no signal of
the track. Of a second one fix is used.
"""

from __future__ import annotations

from domain.features.case_file import OPEN_MS
from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing import assignment, clock, jumps, repetition
from domain.features.spoofing.fixes import (
    FASTEST_MM_PER_MS,
    MIN_STEP_MS,
    WINDOW_STEP_MS,
    distance_mm,
    fix_of,
    is_possible,
    is_same_fix,
    new_tuple,
    with_fix,
)
from domain.features.spoofing.notes import noted
from domain.features.spoofing.signals import MOCK_FLAG, Finding
from domain.features.spoofing.state import Note, Review, SpoofingState
from domain.features.spoofing.stretches import STRETCH_FIXES, checked

MOCK_FIXES = 3
"""So many fixes on end that the client calls mock. One may be a developer's test."""

MAX_MOCKS = 255


def fold(state: SpoofingState, event: KeyedEvent) -> SpoofingState:
    """The state after one more event of the rider's stream; pure."""
    _, version, position, event_type, data = event
    if event_type == "GpsPing":
        return _with_ping(state, event)
    if state.alert is not None or state.review is not None:
        state = state._replace(alert=None, review=None)
    if event_type == "LegStarted":
        legs = assignment.with_leg_started(assignment.legs_of(state.legs), data)
        return state._replace(version=version, position=position, legs=assignment.packed(legs))
    if event_type == "LegEnded":
        ended = assignment.with_leg_ended(assignment.legs_of(state.legs), data)
        state = state._replace(version=version, position=position, legs=assignment.packed(ended))
        return noted(state, event, (), effective_time_ms(data)) if state.anomalies else state
    if event_type == "AlertReviewed":
        return state._replace(version=version, position=position, review=_review(event))
    return state._replace(version=version, position=position)


def _review(event: KeyedEvent) -> Review:
    data = event.data
    return Review(
        data["event_id"],
        data["alert_id"],
        event.key,
        data["verdict"],
        data["by"],
        data["why"],
        data["event_timestamp_ms"],
        event.position,
    )


def _with_ping(state: SpoofingState, event: KeyedEvent) -> SpoofingState:
    # A ping of an honest phone costs the comparisons below and a new state. Nothing else is called for it.
    _, version, position, _, data = event
    (
        _,
        _,
        late,
        last,
        since_ms,
        trunk,
        kept_ms,
        unchecked,
        mocks,
        habit,
        spans,
        branch,
        hits,
        window,
        memory,
        legs,
        anomalies,
        case,
        case_ms,
        _,
        _,
    ) = state
    t_ms = effective_time_ms(data)
    received_ms = data["received_timestamp_ms"]
    notes: list[Note] = []
    if received_ms and not clock.is_settled(spans, received_ms - data["event_timestamp_ms"], received_ms):
        spans, found, over_ms = clock.step(spans, data["event_timestamp_ms"], received_ms)
        if found is not None or over_ms is not None:
            notes.append(Note(found, "clock", over_ms))
    ms = t_ms - last[0]
    if ms >= MIN_STEP_MS:
        fix = fix_of(t_ms, data)
        mm = distance_mm(last[1], last[2], fix[1], fix[2]) if trunk else 0
        # Most steps are possible without the bounds of errors.
        is_odd = trunk and (
            branch is not None or (mm > FASTEST_MM_PER_MS * ms and not is_possible(last, fix, mm, last[0] - since_ms))
        )
        is_mock = data.get("is_mock") is True
        if is_mock or t_ms - kept_ms >= WINDOW_STEP_MS or (is_odd and jumps.is_young(branch)):
            window, kept_ms, unchecked = with_fix(window, position, data), t_ms, unchecked + 1
        if is_odd:
            jump = jumps.step(branch, last, fix, mm, trunk)
            if jump.branch is not None and jump.branch.first is fix:
                unchecked += STRETCH_FIXES  # what led to the jump is checked now, so that it can be blamed
        else:
            jump = None
            if trunk < jumps.TRUNK_FIXES:
                trunk += 1
        if unchecked >= STRETCH_FIXES:
            found_of_stretch, habit = checked(window, unchecked, habit)
            notes += found_of_stretch
            unchecked = 0
        if jump is not None:
            branch, trunk = jump.branch, jump.trunk
            if jump.finding is not None or jump.returned is not None:
                notes.append(Note(jump.finding, "jump", None if jump.returned is None else last.t_ms))
        if mm >= ms * repetition.MOVING_MM_PER_MS and ms <= repetition.LONGEST_STEP_MS:
            h = repetition.cell_hash(fix[1], fix[2])
            if repetition.is_sampled(h, ms):
                memory, hits, found, over_ms = repetition.with_sample(memory, hits, fix, h, data["event_id"])
                if found is not None or over_ms is not None:
                    notes.append(Note(found, "repetition", over_ms))
        if is_mock:
            mocks = min(mocks + 1, MAX_MOCKS)
            if mocks == MOCK_FIXES:
                notes.append(Note(Finding(MOCK_FLAG, last.t_ms, t_ms, (("fixes", mocks),))))
        elif mocks:
            mocks = 0
        if last[1] != fix[1] or not is_same_fix(last, fix):
            since_ms = t_ms
        last = fix
    elif ms <= 0:
        late += 1
        if received_ms and clock.is_suspect(spans, received_ms - data["event_timestamp_ms"]):
            window = with_fix(window, position, data)
    if case and t_ms > case_ms + OPEN_MS:
        case, case_ms = b"", 0  # over: a signal from now on begins another case
    state = new_tuple(
        SpoofingState,
        (
            version,
            position,
            late,
            last,
            since_ms,
            trunk,
            kept_ms,
            unchecked,
            mocks,
            habit,
            spans,
            branch,
            hits,
            window,
            memory,
            legs,
            anomalies,
            case,
            case_ms,
            None,
            None,
        ),
    )
    return noted(state, event, notes, t_ms) if notes else state
