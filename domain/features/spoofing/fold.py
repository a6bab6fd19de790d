"""The fold of a rider's spoofing: detectors that run over the track in order, and the case that their findings make.

Pings are used in the order of the log. A ping that is not later than the last one used, by effective time, is late: it
is counted, and only the detector of the clock sees it. So late pings, however many and wherever, change no signal of
the track. Of a second one fix is used.
"""

from __future__ import annotations

from math import cos, hypot

from domain.features.case_file import OPEN_MS
from domain.features.event_time import MAX_CLOCK_SKEW_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing import assignment, clock, jumps
from domain.features.spoofing.clock import RIGHT_MS, SPAN_MS, SPAN_PINGS
from domain.features.spoofing.fixes import (
    FAR_MM,
    FASTEST_MM_PER_MS,
    HALF_TURN_E7,
    MIN_STEP_MS,
    MM_PER_E7,
    RADIANS_PER_E7,
    WINDOW_STEP_MS,
    distance_mm,
    fix_of,
    is_possible,
    is_same_fix,
    with_fix,
)
from domain.features.spoofing.jumps import TRUNK_FIXES
from domain.features.spoofing.notes import noted
from domain.features.spoofing.repetition import LONGEST_STEP_MS, MOVING_MM_PER_MS, sampled_hash, with_sample
from domain.features.spoofing.signals import MOCK_FLAG, Finding
from domain.features.spoofing.state import Note, Review, SpoofingState
from domain.features.spoofing.stretches import STRETCH_FIXES, checked
from domain.features.tuples import new_tuple

MOCK_FIXES = 3
"""So many fixes on end that the client calls mock. One may be a developer's test."""

MAX_MOCKS = 255


def fold(state: SpoofingState, event: KeyedEvent) -> SpoofingState:
    """The state after one more event of the rider's stream; pure."""
    # A ping of an honest phone costs the comparisons below and a new state. They are written out here: a call costs as
    # much as two of them.
    _, version, position, event_type, data = event
    if event_type != "GpsPing":
        return _without_ping(state, event)
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
    sent_ms, received_ms = data["event_timestamp_ms"], data["received_timestamp_ms"]
    # ``effective_time_ms``
    t_ms = received_ms if received_ms and sent_ms - received_ms > MAX_CLOCK_SKEW_MS else sent_ms
    notes: list[Note] = []
    span_ms, span_pings, least_ms, _, _, _, _, _, _ = spans
    # All pings but a few in half a minute: a span that is long enough or right, in which none came with less lateness.
    is_settled = (
        received_ms - span_ms < SPAN_MS
        and received_ms - sent_ms >= least_ms
        and (span_pings == SPAN_PINGS or (span_pings > 0 and least_ms <= RIGHT_MS))
    )
    if received_ms and not is_settled:
        spans, found, over_ms = clock.step(spans, sent_ms, received_ms)
        if found is not None or over_ms is not None:
            notes.append(Note(found, "clock", over_ms))
    last_ms, last_north, last_east, _, _, _ = last
    ms = t_ms - last_ms
    if ms >= MIN_STEP_MS:
        fix = fix_of(t_ms, data)
        _, north, east, _, _, _ = fix
        # Most steps are possible without the bounds of errors.
        if trunk:
            turn = east - last_east
            # The usual case of ``distance_mm``, without its call.
            way_mm = MM_PER_E7 * hypot(north - last_north, turn * cos(north * RADIANS_PER_E7))
            if way_mm <= FAR_MM and -HALF_TURN_E7 <= turn <= HALF_TURN_E7:
                mm = int(way_mm)
            else:
                mm = distance_mm(last_north, last_east, north, east)
            is_odd = branch is not None or (
                mm > FASTEST_MM_PER_MS * ms and not is_possible(last, fix, mm, last_ms - since_ms)
            )
        else:
            mm, is_odd = 0, False
        is_mock = data.get("is_mock") is True
        if t_ms - kept_ms >= WINDOW_STEP_MS or is_mock or (is_odd and jumps.is_young(branch)):
            window, kept_ms, unchecked = with_fix(window, position, data), t_ms, unchecked + 1
        jump = None
        if is_odd:
            jump = jumps.step(branch, last, fix, mm, trunk)
            if jump.branch is not None and jump.branch.first is fix:
                unchecked += STRETCH_FIXES  # what led to the jump is checked now, so that it can be blamed
        elif trunk < TRUNK_FIXES:
            trunk += 1
        if unchecked >= STRETCH_FIXES:
            found_of_stretch, habit = checked(window, habit)
            notes += found_of_stretch
            unchecked = 0
        if jump is not None:
            branch, trunk = jump.branch, jump.trunk
            if jump.finding is not None or jump.returned is not None:
                notes.append(Note(jump.finding, "jump", None if jump.returned is None else last_ms))
        if mm >= ms * MOVING_MM_PER_MS and ms <= LONGEST_STEP_MS:
            h = sampled_hash(north, east, ms)
            if h is not None:
                memory, hits, found, over_ms = with_sample(memory, hits, fix, h, data["event_id"])
                if found is not None or over_ms is not None:
                    notes.append(Note(found, "repetition", over_ms))
        if is_mock:
            mocks = min(mocks + 1, MAX_MOCKS)
            if mocks == MOCK_FIXES:
                notes.append(Note(Finding(MOCK_FLAG, last_ms, t_ms, (("fixes", mocks),))))
        elif mocks:
            mocks = 0
        if last_north != north or not is_same_fix(last, fix):
            since_ms = t_ms
        last = fix
    elif ms <= 0:
        late += 1
        if received_ms and clock.is_suspect(spans, received_ms - sent_ms):
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


def _without_ping(state: SpoofingState, event: KeyedEvent) -> SpoofingState:
    """The state after an event that is no ping."""
    _, version, position, event_type, data = event
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
