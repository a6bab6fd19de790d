"""Histories as a log and as the raw list of the reference, and the naive fold that every replay must equal."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from domain.events.contracts import UndecodableError
from domain.features.keyed_event import KeyedEvent
from projections.core.ports import LoggedEvent
from projections.core.projection import Projection
from projections.replay.archive import Archive
from projections.replay.as_of import AsOf, Horizon
from projections.replay.key_replay import KeyReplay
from read_models.rows import RowChange, merged
from read_models.speed.view import VIEW
from read_models.view import ViewLimits
from tests.support.ports_in_memory.archive import MemoryArchive
from tests.support.worlds import replay_reference as reference
from tests.support.worlds.rider_events import RIDERS, START_MS, rider_histories
from tests.support.worlds.speed_events import ping_data

END_MS = START_MS + 100_000_000
"""Later than every event of a history: the clock of the reader."""

LIMITS = ViewLimits(target_freshness_ms=30_000, feature_ttl_ms=1_800_000)


class Story(NamedTuple):
    """The same log twice. ``raw[i]`` is the event at position i + 1."""

    log: MemoryArchive
    raw: list[dict[str, Any]]


def decode(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError as error:
        raise UndecodableError(str(error)) from error
    assert isinstance(found, dict)
    return found


def drive(seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """A realistic drive of a few riders: pings mostly in order, some late, some in one millisecond, some with a
    clock that is ahead."""
    chance = random.Random(seed)
    riders = RIDERS[: chance.randint(1, 3)]
    late = chance.choice([0.0, 0.1, 0.5])
    found: list[tuple[str, str, dict[str, Any]]] = []
    for number in range(chance.randint(1, 90)):
        rider = chance.choice(riders)
        behind = chance.randrange(60_000) if chance.random() < late else 0
        t_ms = START_MS + number // chance.choice([1, 1, 2]) * 1_000 - behind
        kind = "ShiftStarted" if chance.random() < 0.05 else "GpsPing"
        ahead_ms = chance.choice([None, 0, 2_000, 2_001, 90_000, 240_000, 300_000])
        received_ms = 0 if ahead_ms is None or kind != "GpsPing" else t_ms - ahead_ms
        accuracy = chance.choice([None, 5.0, 80.0])
        data = ping_data(rider, t_ms, number, received_timestamp_ms=received_ms, accuracy_meters=accuracy)
        found.append((rider, kind, data))
    return found


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Events that are late, simultaneous, out of order, recorded in one millisecond, or by a clock that steps back."""
    log, raw = MemoryArchive(lambda: END_MS), []
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    clock_ms = START_MS
    for key, event_type, data in draw(st.one_of(rider_histories, st.builds(drive, st.integers(0, 1 << 32)))):
        clock_ms += chance.choice([0, 0, 1, 700, 1_000, 90_000, -5_000])
        event = log.append(key, event_type, data, recorded_ms=clock_ms)
        raw.append({**data, "event_type": event_type, "recorded_ms": log.recorded_ms(event.position)})
    return Story(log, raw)


def asks(raw: Sequence[Mapping[str, Any]], chance: random.Random, count: int) -> list[tuple[str, AsOf]]:
    """Keys and instants to replay: at, just before and just after the times of events, of these and other riders."""
    found = []
    for _ in range(count):
        one, other = chance.choice(raw), chance.choice(raw)
        step, position = chance.choice([-1, 0, 0, 1]), chance.randint(0, len(raw))
        as_of = chance.choice(
            [
                AsOf.known(one["recorded_ms"] + step),
                AsOf.happened(one["event_timestamp_ms"] + step),
                AsOf.happened(reference.effective_ms(one) + step),
                AsOf.happened(one["event_timestamp_ms"] + step, position),
                AsOf.at_position(position),
            ]
        )
        found.append((chance.choice([one, one, other])["rider_id"], as_of))
    return found


def as_asked(as_of: AsOf) -> reference.AskedInstant:
    return reference.AskedInstant(as_of.axis, as_of.at_ms, as_of.position)


class Naive(NamedTuple):
    """``parked``: the position at which the key is parked; later events are not folded."""

    state: bytes | None
    rows: list[RowChange]
    parked: int | None


def naive(
    projection: Projection[Any],
    events: Iterable[LoggedEvent],
    discarded: Iterable[int] = (),
    read: Callable[[bytes], Mapping[str, Any]] = decode,
) -> Naive:
    """Only the fold, event by event, with the state encoded and decoded each time."""
    data: bytes | None = None
    rows: list[RowChange] = []
    passed_over = set(discarded)
    for e in events:
        if e.position in passed_over:
            continue
        try:
            event = KeyedEvent(e.key, e.version, e.position, e.event_type, read(e.payload))
        except UndecodableError:
            return Naive(data, merged(rows), e.position)
        state = projection.fold(projection.initial if data is None else projection.decode(data), event)
        data = projection.encode(state)
        rows += projection.changes(e.key, state)
    return Naive(data, merged(rows), None)


def within(story: Story, as_of: AsOf, key: str) -> list[LoggedEvent]:
    """The key's events that count, by the reference."""
    return [story.log.events[one.position - 1] for one in reference.counting(story.raw, key, as_asked(as_of))]


def answered(projection: Projection[Any], replay: KeyReplay[Any], key: str, horizon: Horizon) -> Naive | None:
    found = replay.at(key, horizon)
    if found is None:
        return None
    state = None if found.state is None else projection.encode(found.state)
    return Naive(state, found.rows, None if found.parked is None else found.parked.position)


def assert_speed(
    raw: list[dict[str, Any]], archive: Archive, replay: KeyReplay[Any], key: str, as_of: AsOf
) -> reference.Window | None:
    """Check the speed of ``key`` as of an instant against the reference: its window and its row."""
    horizon = archive.horizon(as_of)
    events = reference.counting(raw, key, as_asked(as_of))
    found = replay.at(key, horizon)
    if not events:
        assert found is None
        return None
    assert found is not None
    assert found.state is not None
    assert found.parked is None
    expected, state = reference.window(events), found.state
    assert [tuple(ping) for ping in state.window] == expected.kept
    assert tuple(state[:4]) == tuple(expected[:4])
    now_ms = reference.at_ms(raw, as_asked(as_of))
    assert horizon.at_ms == now_ms
    for allow in (False, True):
        row = VIEW.row(key, VIEW.features(state), horizon.at_ms, LIMITS, allow)
        row.pop("speed_mps")
        assert row == reference.speed_row(
            key, expected, now_ms, target_ms=LIMITS[0], ttl_ms=LIMITS[1], allow_expired=allow
        )
    return expected
