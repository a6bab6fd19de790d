"""States of the folds of spoofing and completion that this version stored are read by every later one (invariant 12).

The literals of ``stored_leg_states`` are compressed. They were written by the commit that added this test, by fold
version 1 of both; version 2 of completion has the same states, and other rows. A change of their bytes needs a new fold
version, and a rebuild.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from domain.features.completion.leg import EndOfLeg
from domain.features.completion.progress import ARRIVED, NEAR, Phase
from domain.features.keyed_event import KeyedEvent
from domain.features.spoofing.fixes import Fix
from domain.features.spoofing.jumps import Branch
from domain.features.spoofing.repetition import Hit
from projections.completion import COMPLETION
from projections.core.projection import Projection
from projections.spoofing import SPOOFING
from read_models.completion import state as completion_state
from read_models.fraud import state as spoofing_state
from tests.support.worlds import leg_events as legs
from tests.support.worlds import phone
from tests.unit.core.stored_leg_states import COMPLETION_BYTES, SPOOFING_BYTES, SPOOFING_BYTES_WITH_HITS

Records = Sequence[tuple[str, dict[str, Any]]]


def forged_ride() -> Records:
    """A rider who forges: on the way to a leg's target, with a late ping, mock fixes, and a jump that has not ended."""
    events = [phone.leg_started(0.0, 3_000.0)]
    events += [phone.ping(5.0 * n, 30.0 * n, speed=6.0) for n in range(1, 40)]
    events += [phone.ping(12.0, 72.5, late_s=400.0)]
    events += [phone.ping(200.0 + 5 * n, 1_200.0 + 30 * n, speed=6.0, is_mock=True) for n in range(4)]
    events += [phone.ping(220.0 + 5 * n, 9_000.0 + 30 * n, speed=6.0) for n in range(3)]
    return [(event_type, data) for _, event_type, data in events]


def two_legs() -> Records:
    """A rider with two legs: one is reached and ended by the button, one is open; and a ping that came too late."""
    events = [
        legs.started(0.0, "o-1", "to_restaurant"),
        legs.started(2.0, "o-2", "to_customer", target_latitude=legs.LATITUDE + 0.004),
    ]
    events += legs.ride(5.0, 105.0, 800.0, 10.0)
    events += legs.rest(105.0, 185.0, 6.0)
    events += [legs.ended(170.0, "o-1", "to_restaurant")]
    events += legs.ride(185.0, 215.0, 6.0, 150.0)
    events += [legs.ping(40.0, 533.0, number=1)]
    return events


class StoredFold(NamedTuple):
    """A fold, a history, and the bytes of the state after it by this version of the fold."""

    projection: Projection[Any]
    history: Records
    stored: bytes
    version: int


STORED = (
    StoredFold(SPOOFING, forged_ride(), SPOOFING_BYTES, 1),
    StoredFold(COMPLETION, two_legs(), COMPLETION_BYTES, 2),
)
every_fold = pytest.mark.parametrize("of", STORED, ids=lambda of: of.projection.name)


def folded(projection: Projection[Any], history: Records, state: Any = None, folded_before: int = 0) -> Any:
    state = projection.initial if state is None else state
    for version, (event_type, data) in enumerate(history, start=folded_before + 1):
        state = projection.fold(state, KeyedEvent("anna", version, 98 + 3 * version, event_type, data))
    return state


@every_fold
def test_a_stored_state_of_legs_is_decoded_and_encoded_to_the_same_bytes(of: StoredFold) -> None:
    assert of.projection.fold_version == of.version, "add the bytes of the new version: it cannot use others"
    assert of.projection.encode(of.projection.decode(of.stored)) == of.stored


@every_fold
def test_the_same_events_fold_to_the_stored_bytes_of_legs(of: StoredFold) -> None:
    assert of.projection.encode(folded(of.projection, of.history)) == of.stored


@every_fold
@pytest.mark.parametrize("count", [1, 20, 40])
def test_a_fold_goes_on_from_a_stored_state_as_if_it_had_never_been_stored(of: StoredFold, count: int) -> None:
    before, rest = of.history[:count], of.history[count:]
    data = of.projection.encode(folded(of.projection, before))
    state = folded(of.projection, rest, of.projection.decode(data), count)
    assert of.projection.encode(state) == of.stored


def test_the_stored_state_of_a_forged_ride_has_the_jump_and_its_evidence() -> None:
    state = spoofing_state.decode(SPOOFING_BYTES)

    at_s = 1_790_000_000_000 + 215_000
    anchor = Fix(at_s, 533_616_012, -62_600_000, 15_000, 6_000, at_s + 200)
    jumped = Fix(at_s + 5_000, 534_309_389, -62_600_000, 15_000, 6_000, at_s + 5_200)
    assert (state.version, state.position, state.late, state.trunk, state.mocks) == (48, 242, 1, 5, 0)
    assert state.branch == Branch(anchor, jumped, 3)
    assert [len(part) for part in (state.window, state.memory, state.legs, state.anomalies)] == [2_080, 104, 63, 163]
    assert {signal["name"] for signal in json.loads(state.case)["signals"]} >= {"mock_flag"}


def test_the_hits_of_a_repeated_track_are_stored_too() -> None:
    hits = (Hit(1_790_000_100_000, 533_500_000, -62_600_000, 7, bytes(range(16))),)

    state = spoofing_state.decode(SPOOFING_BYTES_WITH_HITS)

    assert state == spoofing_state.decode(SPOOFING_BYTES)._replace(branch=None, hits=hits)
    assert spoofing_state.encode(state) == SPOOFING_BYTES_WITH_HITS


def test_the_stored_state_of_two_legs_has_how_far_the_rider_was() -> None:
    state = completion_state.decode(COMPLETION_BYTES)

    reached, under_way = state.legs
    assert (state.version, state.position, state.too_late, state.inaccurate, state.not_kept) == (46, 236, 1, 0, 0)
    assert (reached.order_id, reached.leg, reached.end, reached.ended_ms) == (
        "o-1",
        "to_restaurant",
        EndOfLeg.COMPLETED,
        legs.START_MS + 170_000,
    )
    assert (reached.now.phase, reached.now.arrival.ms, reached.now.arrival.mm) == (
        ARRIVED,
        legs.START_MS + 105_000,
        6_005,
    )
    assert (reached.view.distance_mm, reached.view.stop_fixes) == (6_005, 13)
    assert (under_way.order_id, under_way.end) == ("o-2", EndOfLeg.OPEN)
    assert (under_way.now.phase, under_way.now.marks) == (Phase.EN_ROUTE, NEAR)
