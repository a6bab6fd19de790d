"""The fold of completion: for each leg, when its rider approached, arrived and was done, by pings and button.

The state has a packed track of some minutes, and of each leg its progress now and at the beginning of each kept minute.
A ping in order of time advances the present progress. A late one is put into the track, and the progress is made again
from the beginning of the oldest minute: so the order of arrival changes nothing (invariant 6).

What an event changed is in ``results`` and ``finals``, which are not stored. A leg is final when no ping can change it
any more: then its stop counts for its place, and a button that the pings contradict becomes a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.features.case_file import CaseFile
from domain.features.completion import rules
from domain.features.completion.button import ButtonView
from domain.features.completion.case import case_of_button
from domain.features.completion.leg import (
    COMPLETED,
    END_OF,
    EndOfLeg,
    TrackedLeg,
    is_arrived,
    is_final,
    is_touched,
    last_counted_ms,
    needs_track,
    replayed,
    stepped,
    viewed,
    with_minutes,
)
from domain.features.completion.progress import LEFT, LegPlace
from domain.features.completion.result import LegResult, is_long_stay, place_id, result_of
from domain.features.completion.track import (
    BLOCK_MS,
    DEGREES_E7,
    FIX_BYTES,
    SLOT_MS,
    TrackedFix,
    first_open_ms,
    fix_values,
    last_fix,
    last_ms,
    packed,
    trimmed,
    unpacked_ms,
    with_inserted,
)
from domain.features.event_time import MAX_CLOCK_SKEW_MS, effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import LEGS, MAX_OPEN_LEGS
from domain.features.tuples import new_tuple


class FinalLeg(NamedTuple):
    """A leg that no ping can change any more. ``stop`` is None unless the rider rested when the button was pressed."""

    place: str
    leg: str
    stop: ButtonView | None
    case: CaseFile | None


class CompletionState(NamedTuple):
    """``version`` and ``position`` are those of the last event folded.

    ``too_late`` and ``inaccurate`` count the pings that were not used for that reason; ``not_kept`` the legs that could
    not be kept, and the ends of legs that are not. ``legs``: the open ones, and ended ones that a late ping may still
    change, in the order in which they were started.
    """

    version: int
    position: int
    too_late: int = 0
    inaccurate: int = 0
    not_kept: int = 0
    track: bytes = b""
    legs: tuple[TrackedLeg, ...] = ()
    results: tuple[LegResult, ...] = ()
    finals: tuple[FinalLeg, ...] = ()


EMPTY = CompletionState(0, 0)


def fold(state: CompletionState, event: KeyedEvent) -> CompletionState:
    """The state after one more event of the rider's stream; pure."""
    key, version, position, event_type, data = event
    if event_type != "GpsPing":
        return _without_fix(state._replace(version=version, position=position, results=(), finals=()), event)
    _, _, too_late, inaccurate, not_kept, track, legs, _, _ = state
    results: tuple[LegResult, ...] = ()
    finals: tuple[FinalLeg, ...] = ()
    accuracy, t_ms, received_ms = data["accuracy_meters"], data["event_timestamp_ms"], data["received_timestamp_ms"]
    if received_ms and t_ms - received_ms > MAX_CLOCK_SKEW_MS:
        t_ms = received_ms  # ``effective_time_ms``, without its call
    newest_ms = unpacked_ms(track, len(track) - FIX_BYTES)[0] if track else 0
    slots = t_ms // SLOT_MS - newest_ms // SLOT_MS
    if accuracy is not None and not accuracy <= rules.USABLE_ACCURACY_M:
        inaccurate += 1
    elif track and slots <= 0:
        if slots < 0 or t_ms <= newest_ms:
            if t_ms >= first_open_ms(newest_ms):
                moved = state._replace(version=version, position=position, results=(), finals=())
                return _with_late(moved, TrackedFix(*fix_values(data, t_ms, position)), newest_ms)
            too_late += 1
        # Else: of five seconds the first fix is used.
    else:
        values = fix_values(data, t_ms, position)
        is_usual = track and t_ms - newest_ms <= rules.QUIET_MS and t_ms // BLOCK_MS == newest_ms // BLOCK_MS
        if is_usual:
            _, north, east, _, _, _, _, _, _ = values
            for leg in legs:
                if is_touched(leg, t_ms, north, east):
                    is_usual = False
                    break
        if is_usual:
            # A fix in a later slot than all others, far from the targets of all legs.
            track += packed(*values)
        else:
            track, legs, results, finals = _moved(key, track, legs, new_tuple(TrackedFix, values))
    fields = (version, position, too_late, inaccurate, not_kept, track, legs, results, finals)
    return new_tuple(CompletionState, fields)


_Moved = tuple[bytes, tuple[TrackedLeg, ...], tuple[LegResult, ...], tuple[FinalLeg, ...]]
"""What a fix changes: the track, the legs, results, and final legs."""


def _moved(key: str, track: bytes, legs: tuple[TrackedLeg, ...], fix: TrackedFix) -> _Moved:
    """The track and the legs of the rider ``key`` after a fix in a later slot than all others."""
    before = last_fix(track) if track else None
    track += packed(*fix)
    minutes = 0 if before is None else fix[0] // BLOCK_MS - before[0] // BLOCK_MS
    after: list[TrackedLeg] = []
    results: list[LegResult] = []
    has_ended = False
    for leg in legs:
        old = with_minutes(leg, minutes) if minutes else leg
        new = _in_order(old, before, fix, track)
        after.append(new)
        if new is not old and _differs(old, new):
            results.append(result_of(new))
        if new.end:
            has_ended = True
    legs = tuple(after)
    if not minutes:
        return track, legs, tuple(results), ()
    # The newest minute began: final legs leave, and fixes that no leg needs.
    open_ms = first_open_ms(fix[0])
    if not has_ended:
        return trimmed(track, open_ms), legs, tuple(results), ()
    finals = tuple([_final(leg, key, track, fix.position) for leg in legs if is_final(leg, open_ms)])
    kept = tuple([leg for leg in legs if not is_final(leg, open_ms)])
    held = [leg.ended_ms - rules.AGAINST_WINDOW_MS for leg in kept if needs_track(leg, open_ms)]
    return trimmed(track, min([open_ms, *held])), kept, tuple(results), finals


def _with_late(state: CompletionState, fix: TrackedFix, newest_ms: int) -> CompletionState:
    """The state after a fix that is before others."""
    inserted = with_inserted(state.track, fix)
    if inserted is state.track:
        return state
    open_ms, legs = first_open_ms(newest_ms), state.legs
    after = tuple([_late(leg, inserted, open_ms) for leg in legs])
    return state._replace(track=inserted, legs=after, results=_results(legs, after))


def _in_order(leg: TrackedLeg, before: TrackedFix | None, fix: TrackedFix, track: bytes) -> TrackedLeg:
    was = leg.now
    now = stepped(leg, was, before, fix)
    if now is not was:
        leg = leg._replace(now=now)
    if leg.end == COMPLETED and (
        fix.t_ms <= leg.ended_ms or (fix.t_ms <= last_counted_ms(leg) and not is_arrived(leg, was))
    ):
        leg = viewed(leg, track)
    return leg


def _late(leg: TrackedLeg, track: bytes, open_ms: int) -> TrackedLeg:
    """The leg after a fix has been put into the track before its end."""
    found = replayed(leg, track, open_ms)
    return viewed(found, track) if needs_track(found, open_ms) else found


def _final(leg: TrackedLeg, key: str, track: bytes, position: int) -> FinalLeg:
    place, view = place_id(leg.place.latitude_e7, leg.place.longitude_e7), leg.view
    has_stop = view.stop_fixes and view.north_mm**2 + view.east_mm**2 <= rules.FARTHEST_STOP_MM**2
    case = case_of_button(key, leg, track, position) if view.against_mm else None
    return FinalLeg(place, leg.leg, view if has_stop else None, case)


def _without_fix(state: CompletionState, event: KeyedEvent) -> CompletionState:
    """The state after an event that is no ping."""
    if event.event_type == "LegStarted":
        return _started(state, event.data)
    return _ended(state, event.key, event.data) if event.event_type == "LegEnded" else state


def _started(state: CompletionState, data: Mapping[str, Any]) -> CompletionState:
    order_id, leg = data["order_id"], data["leg"]
    if leg not in LEGS:
        return state._replace(not_kept=state.not_kept + 1)
    # A leg that starts again replaces its first start.
    others = [one for one in state.legs if one.order_id != order_id or one.leg != leg]
    if sum(one.end == EndOfLeg.OPEN for one in others) >= MAX_OPEN_LEGS:
        return state._replace(not_kept=state.not_kept + 1)
    place = LegPlace(
        round(data["target_latitude"] * DEGREES_E7),
        round(data["target_longitude"] * DEGREES_E7),
        effective_time_ms(data),
    )
    started = TrackedLeg(order_id, leg, place)
    if state.track:
        started = replayed(started, state.track, first_open_ms(last_ms(state.track)))
    return state._replace(legs=(*others, started), results=(result_of(started),))


def _ended(state: CompletionState, key: str, data: Mapping[str, Any]) -> CompletionState:
    order_id, leg = data["order_id"], data["leg"]
    found = [one for one in state.legs if (one.order_id, one.leg, one.end) == (order_id, leg, EndOfLeg.OPEN)]
    if not found:
        return state._replace(not_kept=state.not_kept + 1)
    ended = found[0]._replace(
        end=END_OF.get(data.get("outcome", "completed"), EndOfLeg.OTHER),
        ended_ms=effective_time_ms(data),
        ended_event=bytes.fromhex(data["event_id"].replace("-", "")),
    )
    track = state.track
    if track:
        ended = replayed(ended, track, first_open_ms(last_ms(track)))
    if ended.end == COMPLETED:
        ended = viewed(ended, track)
    legs = tuple([ended if one is found[0] else one for one in state.legs])
    after = state._replace(legs=legs, results=(result_of(ended),))
    kept = [one for one in legs if one.end != EndOfLeg.OPEN]
    if len(kept) <= rules.MAX_ENDED_LEGS:
        return after
    oldest = kept[0]
    return after._replace(
        legs=tuple([one for one in legs if one is not oldest]),
        finals=(_final(oldest, key, track, state.position),),
    )


def _results(old: tuple[TrackedLeg, ...], new: tuple[TrackedLeg, ...]) -> tuple[LegResult, ...]:
    """The results that differ. Most pings of a leg change none."""
    return tuple([result_of(b) for a, b in zip(old, new, strict=True) if a is not b and _differs(a, b)])


def _differs(old: TrackedLeg, new: TrackedLeg) -> bool:
    """Whether a ping that led from ``old`` to ``new`` may have changed the result."""
    was, now = old.now, new.now
    if new.end == COMPLETED or was[:4] != now[:4]:
        return True
    # While a rider rests, the length of the stay changes the result once. After that, each late fix of the rest does.
    return now.arrival.ms > 0 and (
        is_long_stay(was) != is_long_stay(now) or (now.phase == LEFT and was.latest != now.latest)
    )
