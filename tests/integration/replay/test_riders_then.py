"""Where the riders were, and a rider's track, as of an instant: by effective time (invariant 6), on a real log."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from domain.events.contracts import UndecodableError
from domain.features.event_time import MAX_AHEAD_MS
from infrastructure.postgres.discards import Discard, record_discard
from infrastructure.postgres.snapshots import forget_from
from infrastructure.replay.past_reads import PastKeys
from infrastructure.replay.remembered import Remembered
from infrastructure.replay.rider_places import RiderPlaces, RiderThen
from infrastructure.replay.rider_tracks import RiderTracks
from projections.locations import LOCATIONS
from projections.replay.as_of import AsOf, Unresolvable
from projections.speed import SPEED
from tests.support.postgres.recorded_log import CODEC, write
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

MINUTE_MS = 60_000
HOURS = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('analytics', 1, 1, '', true, 'following');
INSERT INTO rider_hours SELECT 1, r, h, 0, 60, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0
FROM unnest(CAST(:riders AS text[])) r, unnest(CAST(:hours AS timestamptz[])) h
"""


def ping(rider: str, number: int, sent_ms: int, received_ms: int | None = None) -> dict[str, Any]:
    """A ping that is recorded when it is received."""
    received = sent_ms if received_ms is None else received_ms
    extra = {"received_timestamp_ms": received, "source_service": "test", "is_mock": None}
    record = ping_data(rider, sent_ms, number, **extra, event_type="GpsPing", recorded_ms=received)
    return {**record, "latitude": 52 + number / 1e6}


def recorded(engine: Engine, pings: Sequence[dict[str, Any]]) -> None:
    """Write the pings, and the hours that say who rode."""
    write(engine, sorted(pings, key=lambda one: int(one["recorded_ms"])))
    riders = sorted({one["rider_id"] for one in pings})
    hours = sorted(
        {
            datetime.fromtimestamp(one["event_timestamp_ms"] / 1000, UTC).replace(minute=0, second=0, microsecond=0)
            for one in pings
        }
    )
    with engine.begin() as connection:
        for statement in HOURS.split(";\n"):
            connection.execute(text(statement), {"riders": riders, "hours": hours} if ":riders" in statement else {})


def places(engine: Engine, as_of: AsOf) -> dict[str, RiderThen]:
    return {one.rider_id: one for one in RiderPlaces(engine, CODEC.decode).at(as_of).riders}


def numbers(points: Sequence[dict[str, Any]]) -> list[int]:
    return [round((one["latitude"] - 52) * 1e6) for one in points]


def number_of(place: RiderThen) -> int:
    return round((place.latitude - 52) * 1e6)


def test_places_are_those_of_the_instant_and_not_of_five_minutes_later(engine: Engine) -> None:
    """Given a rider that goes on for 20 minutes, when an instant between is read, then the ping of then is shown."""
    recorded(engine, [ping("anna", number, START_MS + number * 1_000) for number in range(1_200)])
    found = places(engine, AsOf.happened(START_MS + 600_400))
    assert (number_of(found["anna"]), found["anna"].event_timestamp_ms) == (600, START_MS + 600_000)


@pytest.mark.parametrize("ahead_ms", [2_001, 240_000, MAX_AHEAD_MS])
def test_a_ping_of_a_clock_that_is_ahead_counts_as_of_its_reception(engine: Engine, ahead_ms: int) -> None:
    """Given two riders, one with a clock ahead, when an instant is read, then both have their ping received then."""
    received = [START_MS + number * 1_000 for number in range(600)]
    fast = [ping("fast", number, at + ahead_ms, at) for number, at in enumerate(received)]
    right = [ping("right", 10_000 + number, at) for number, at in enumerate(received)]
    recorded(engine, fast + right)
    found = places(engine, AsOf.happened(START_MS + 300_500))
    assert {rider: number_of(place) for rider, place in found.items()} == {"fast": 300, "right": 10_300}
    assert {place.event_timestamp_ms for place in found.values()} == {START_MS + 300_000}


@pytest.mark.parametrize("as_of", [AsOf.known(START_MS + 300_500), AsOf.happened(START_MS + 300_500)])
def test_a_clock_that_was_corrected_does_not_hold_a_rider_back(engine: Engine, as_of: AsOf) -> None:
    """Given a clock that was 4 minutes ahead for a minute, when it is right again, then its right pings are later."""
    fast = [
        ping("anna", number, START_MS + number * 1_000 + 240_000, START_MS + number * 1_000) for number in range(60)
    ]
    right = [ping("anna", number, START_MS + number * 1_000) for number in range(60, 600)]
    recorded(engine, fast + right)
    assert number_of(places(engine, as_of)["anna"]) == 300


def test_a_ping_within_the_skew_that_is_allowed_keeps_its_time(engine: Engine) -> None:
    recorded(engine, [ping("anna", 1, START_MS), ping("anna", 2, START_MS + 2_000, START_MS)])
    assert number_of(places(engine, AsOf.happened(START_MS + 1_999))["anna"]) == 1
    assert number_of(places(engine, AsOf.happened(START_MS + 2_000))["anna"]) == 2


@pytest.mark.parametrize("seed", [5, 6])
def test_places_are_those_of_each_riders_fold_on_every_axis_however_clocks_go(engine: Engine, seed: int) -> None:
    """Given 40 riders whose clocks are right, ahead or behind by chance, then each place is the one of its fold.

    Some pings come up to 20 minutes late. Some instants are so early that hardly a ping precedes them.
    """
    chance = random.Random(seed)
    pings = []
    for rider in range(40):
        ahead_ms = chance.choice([0, 0, 1_500, 2_500, 60_000, 299_000, -40_000])
        name = f"{'r' * (1 + 20 * (rider % 5))}{rider}ü"
        for number in range(60):
            received_ms = START_MS + chance.randrange(600_000)
            sent_ms = received_ms + (ahead_ms if chance.random() < 0.7 else 0)
            received_ms += chance.randrange(1_200_000) if chance.random() < 0.1 else 0
            accuracy, speed = chance.choice([None, 5.0]), chance.choice([None, 3.0])
            one = ping(name, rider * 100 + number, sent_ms, received_ms)
            pings.append(one | {"accuracy_meters": accuracy, "speed_mps": speed})
    recorded(engine, pings)
    folded = PastKeys(engine, LOCATIONS, CODEC.decode, None)
    for earliest_ms, positions in (
        (0, (1, 60)),
        (100_000, (500, 2_400)),
        (100_000, (500, 2_400)),
        (500_000, (2_300, 2_400)),
    ):
        at_ms = START_MS + earliest_ms + chance.randrange(earliest_ms * 4 // 5 + 20_000)
        for as_of in (AsOf.happened(at_ms), AsOf.known(at_ms), AsOf.at_position(chance.randrange(*positions))):
            expected = {}
            for rider_id in {one["rider_id"] for one in pings}:
                state = folded.at(rider_id, as_of).found
                if state is not None and state.state is not None and (fix := state.state.latest) is not None:
                    expected[rider_id] = (fix.t_ms, fix.latitude, fix.longitude)
            found = places(engine, as_of)
            assert {
                rider_id: (place.event_timestamp_ms, place.latitude, place.longitude)
                for rider_id, place in found.items()
            } == expected


@pytest.mark.parametrize("axis", ["event", "known", "position"])
def test_no_ping_of_a_rider_is_sorted_soon_after_the_log_begins(engine: Engine, axis: str) -> None:
    """Regression: where few pings precede an instant, Postgres read all of each rider's and sorted them.

    Given 30 riders with 20 minutes of pings, when their places a minute after the first are read, then the plan of
    their latest pings reads the index backwards and sorts nothing.
    """
    recorded(
        engine,
        [ping(f"r{rider}", rider * 100 + nth, START_MS + nth * 20_000) for rider in range(30) for nth in range(60)],
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE events"))
    plans: list[str] = []

    def explain(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "ORDER BY event_time DESC" in statement:
            explaining = connection.connection.cursor()
            explaining.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(row[0] for row in explaining.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    at_ms = START_MS + 60_000
    found = places(
        engine, {"event": AsOf.happened(at_ms), "known": AsOf.known(at_ms), "position": AsOf.at_position(120)}[axis]
    )
    assert {number_of(place) % 100 for place in found.values()} == {3}
    assert plans
    assert all("Index Scan Backward" in plan and "Sort" not in plan for plan in plans), plans


@pytest.mark.parametrize("kept_bytes", [0, 5, 40, 60, 90])
def test_a_cut_payload_takes_no_other_rider_off_the_map(engine: Engine, kept_bytes: int) -> None:
    """Given a ping of five minutes later whose payload is cut, when an instant is read, then all riders are shown."""
    recorded(engine, [ping(name, at, START_MS + at) for at in (0, 60_000) for name in ("anna", "ben")])
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE events SET payload = substr(payload, 1, :kept) WHERE aggregate_key = 'ben' AND version = 2"),
            {"kept": kept_bytes},
        )
    found = places(engine, AsOf.happened(START_MS + 30_000))
    assert {rider_id: number_of(place) for rider_id, place in found.items()} == {"anna": 0, "ben": 0}


def test_a_track_of_an_instant_has_its_pings_however_many_came_later(engine: Engine) -> None:
    """Given 1,000 later pings, when a track of 50 events as of then is read, then it has the 50 before the instant."""
    recorded(engine, [ping("anna", number, START_MS + number * 1_000) for number in range(1_300)])
    track = RiderTracks(engine, CODEC.decode, 100_000).at("anna", AsOf.happened(START_MS + 299_000), 50)
    assert numbers(track.points) == list(range(250, 300))


def test_a_track_has_the_pings_of_a_clock_that_is_ahead(engine: Engine) -> None:
    at = [START_MS + number * 1_000 for number in range(600)]
    recorded(engine, [ping("fast", number, ms + 240_000, ms) for number, ms in enumerate(at)])
    track = RiderTracks(engine, CODEC.decode, 100_000).at("fast", AsOf.happened(START_MS + 299_000), 50)
    assert numbers(track.points) == list(range(250, 300))


def test_a_ping_that_cannot_be_decoded_is_left_out_of_the_track(engine: Engine) -> None:
    """Invariant 16: given three pings, when the second cannot be decoded, then the track is answered without it."""
    recorded(engine, [ping("anna", number, START_MS + number * 1_000) for number in range(3)])

    def decode(payload: bytes) -> Mapping[str, Any]:
        record = CODEC.decode(payload)
        if record.get("event_timestamp_ms") == START_MS + 1_000:
            raise UndecodableError("bytes of no contract")
        return record

    tracks = RiderTracks(engine, decode, max_events=10_000)
    assert numbers(tracks.at("anna", AsOf.at_position(3), 10).points) == [0, 2]
    # By event time the track ends with what is folded: the rider is parked at the second.
    assert numbers(tracks.at("anna", AsOf.happened(START_MS + 9_000), 10).points) == [0]


def test_what_is_remembered_of_instants_before_changes_no_track(engine: Engine) -> None:
    """Given late, simultaneous and out-of-order pings, when many instants are read, then each is as if read first."""
    chance = random.Random(11)
    pings = []
    for number in range(400):
        received_ms = START_MS + number * 1_000
        sent_ms = received_ms + chance.choice([0, 0, 0, -90_000, -600_000, 2_001, 240_000])
        pings.append(ping("anna", number, sent_ms, received_ms))
        if chance.random() < 0.1:
            pings.append(ping("anna", 1_000 + number, sent_ms, received_ms + 500))
    recorded(engine, pings)
    decode = Remembered(CODEC.decode, max_entries=200, max_age_s=60)
    tracks, alone = RiderTracks(engine, decode, 100_000), PastKeys(engine, SPEED, CODEC.decode, 100_000)
    for _ in range(12):
        at_ms = START_MS + chance.randrange(420_000)
        for as_of in (AsOf.happened(at_ms), AsOf.known(at_ms), AsOf.at_position(chance.randrange(1, 400))):
            wanted = chance.choice([1, 30, 120])
            found = tracks.at("anna", as_of, wanted)
            assert found == RiderTracks(engine, CODEC.decode, 100_000).at("anna", as_of, wanted)
            assert len(found.points) <= wanted
            state, expected = tracks.state("anna", as_of), alone.at("anna", as_of)
            assert state.horizon == expected.horizon
            assert (state.found and state.found.state) == (expected.found and expected.found.state)


def a_minute_each(engine: Engine, count: int) -> None:
    recorded(engine, [ping("anna", number, START_MS + number * MINUTE_MS) for number in range(count)])


AXES = {
    "event": AsOf.happened(START_MS + 59 * MINUTE_MS),
    "event, part of the log": AsOf.happened(START_MS + 59 * MINUTE_MS, 60),
    "known": AsOf.known(START_MS + 59 * MINUTE_MS),
    "position": AsOf.at_position(60),
}


@pytest.mark.parametrize("as_of", AXES.values(), ids=AXES)
def test_an_event_that_is_discarded_leaves_a_track_that_was_remembered(engine: Engine, as_of: AsOf) -> None:
    """Given a track that was read, when one of its pings is discarded, then states are folded without it."""
    a_minute_each(engine, 70)
    tracks = RiderTracks(engine, CODEC.decode, 100_000)
    before = tracks.at("anna", as_of, 30)
    assert tracks.at("anna", as_of, 30) == before
    record_discard(engine, Discard(SPEED.name, 55, "anna", "test", "test"))
    forget_from(engine, SPEED, "anna", 55)
    after = tracks.at("anna", as_of, 30)
    assert after == RiderTracks(engine, CODEC.decode, 100_000).at("anna", as_of, 30)
    assert [one["path_speed_mps"] for one in after.points] != [one["path_speed_mps"] for one in before.points]
    state = tracks.state("anna", as_of).found
    assert state is not None
    assert state.state is not None
    assert (START_MS + 54 * MINUTE_MS) not in {one.t_ms for one in state.state.window}


@pytest.mark.parametrize("as_of", AXES.values(), ids=AXES)
def test_an_event_of_another_log_is_not_answered_from_memory(engine: Engine, as_of: AsOf) -> None:
    """Invariant 14: given a track that was read, when its last ping is another one, then that one is answered."""
    a_minute_each(engine, 60)
    tracks = RiderTracks(engine, CODEC.decode, 100_000)
    assert numbers(tracks.at("anna", as_of, 3).points) == [57, 58, 59]
    other = CODEC.encode("GpsPing", ping("anna", 5_000, START_MS + 59 * MINUTE_MS))
    with engine.begin() as connection:
        connection.execute(text("UPDATE events SET payload = :other WHERE position = 60"), {"other": other})
    assert numbers(tracks.at("anna", as_of, 3).points) == [57, 58, 5_000]
    state = tracks.state("anna", as_of).found
    assert state is not None
    assert state.state is not None
    assert round((state.state.window[-1].latitude - 52) * 1e6) == 5_000


def test_an_instant_that_was_read_before_reads_no_event_of_its_track(engine: Engine) -> None:
    """Given a rider with a state snapshot, when its track is read again, then no event is read on any axis."""
    a_minute_each(engine, 620)
    tracks = RiderTracks(engine, CODEC.decode, 100_000)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *found: statements.append(found[2]))
    at_ms = START_MS + 579 * MINUTE_MS
    for as_of in (AsOf.happened(at_ms), AsOf.happened(at_ms, 615), AsOf.known(at_ms), AsOf.at_position(580)):
        first = tracks.at("anna", as_of, 300)
        assert len(first.points) == 300
        tracks.at("anna", as_of, 300)
        statements.clear()
        assert tracks.at("anna", as_of, 300) == first
        assert tracks.state("anna", as_of).found is not None
        assert [one for one in statements if "payload FROM events" in one and "version <= " in one] == []
        assert len(statements) <= 12, statements


@pytest.mark.parametrize("position", [0, 61, 2**63, 10**30])
def test_a_position_that_the_log_has_not_is_refused_as_by_the_archive(engine: Engine, position: int) -> None:
    a_minute_each(engine, 60)
    tracks = RiderTracks(engine, CODEC.decode, 100_000)
    for as_of in (AsOf.at_position(position), AsOf.happened(START_MS, position)):
        if position == 0:
            assert tracks.state("anna", as_of).found is None
            continue
        with pytest.raises(Unresolvable, match="the log has the positions"):
            tracks.state("anna", as_of)
