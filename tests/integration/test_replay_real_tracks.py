"""Real phones: what was known at an instant is not what had happened by then, and replay tells the two apart."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.checkpoints import PostgresCheckpoints
from infrastructure.event_store.engine import writer_engine
from projections.replay.as_of import AsOf
from projections.replay.key import KeyReplay
from projections.speed import SPEED
from read_models.speed import VIEW
from tests.support.proofs import whole
from tests.support.recorded_log import CODEC, write
from tests.support.replay_reference import KEPT, Window, speed_row
from tests.support.replays import LIMITS
from tests.support.tracks import Fix, event_id, folder, rows

DEVICES = ("ucb-sdb-android-1", "ucb-sdb-ios-1", *(("ucb-sdb-android-2",) if whole() else ()))
FIXES = 100_000 if whole() else 2_000
"""Of each device. Each millisecond of reception is a transaction of its own: all of them take minutes."""

QUESTIONS = 1_500 if whole() else 300
"""Each on both axes."""

LONGEST_GAP_MS = 60_000
"""Instants are taken from within a track: in the months between two trips both axes say the same."""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = writer_engine(postgres_url)
    yield engine
    engine.dispose()


def received() -> list[dict[str, Any]]:
    """Every distinct fix in the order in which its phone wrote it down, recorded then."""
    seen: set[tuple[str, int, str]] = set()
    found: list[dict[str, Any]] = []
    for row in rows(folder() / "mobilitynet_trips.csv.gz"):
        fix = Fix(row["device_id"], int(row["event_timestamp_ms"]), float(row["latitude"]), float(row["longitude"]))
        identity = (fix.device, fix.t_ms, event_id(fix))
        if identity in seen:
            continue
        seen.add(identity)
        found.append(
            {
                "rider_id": fix.device,
                "platform": row["platform"],
                "event_type": "GpsPing",
                "event_timestamp_ms": fix.t_ms,
                "event_id": identity[2],
                "latitude": fix.latitude,
                "longitude": fix.longitude,
                "accuracy_meters": None,
                "speed_mps": None,
                "recorded_ms": int(row["received_timestamp_ms"]),
                "received_timestamp_ms": int(row["received_timestamp_ms"]),
            }
        )
    found.sort(key=lambda one: int(one["recorded_ms"]))
    sample = [one for device in DEVICES for one in [one for one in found if one["rider_id"] == device][:FIXES]]
    return sorted(sample, key=lambda one: int(one["recorded_ms"]))


class Track:
    """One device's fixes in the order of the log, with their positions."""

    def __init__(self, fixes: list[tuple[int, dict[str, Any]]]) -> None:
        self.fixes = fixes
        self._recorded = [raw["recorded_ms"] for _, raw in fixes]
        self._happened = sorted(raw["event_timestamp_ms"] for _, raw in fixes)

    def instant(self, chance: random.Random) -> int:
        while True:
            at = chance.randrange(1, len(self._happened))
            before, after = self._happened[at - 1], self._happened[at]
            if after - before <= LONGEST_GAP_MS:
                return chance.randint(before, after)

    def window(self, as_of: AsOf) -> Window | None:
        """Of the ten latest pings that count; counts of pings are not looked at here."""
        assert as_of.at_ms is not None
        if as_of.axis == "known":
            counting = list(enumerate(self.fixes[: bisect_right(self._recorded, as_of.at_ms)], start=1))
        else:
            counting = [
                (version, fix)
                for version, fix in enumerate(self.fixes, start=1)
                if fix[1]["event_timestamp_ms"] <= as_of.at_ms
            ]
        if not counting:
            return None
        kept = sorted(
            (raw["event_timestamp_ms"], raw["event_id"].replace("-", ""), raw["latitude"], raw["longitude"], None, None)
            for _, (_, raw) in counting
        )[-KEPT:]
        version, (position, _) = counting[-1]
        return Window(version, position, 0, 0, list(kept))


@pytest.mark.proof
def test_known_and_event_axis_of_real_tracks_are_what_the_reference_says(
    engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    raw = received()
    write(engine, raw)
    archive = PostgresArchive(engine)
    replay = KeyReplay(SPEED, archive, PostgresCheckpoints(engine, SPEED), CODEC.decode)
    platforms = {one["rider_id"]: one["platform"] for one in raw}
    placed = list(enumerate(raw, start=1))
    tracks = {device: Track([fix for fix in placed if fix[1]["rider_id"] == device]) for device in platforms}
    for device in tracks:
        replay.at(device, archive.horizon(AsOf.at_position(len(raw))))
    chance = random.Random(20261124)
    asked: Counter[str] = Counter()
    differing: Counter[str] = Counter()
    for _ in range(QUESTIONS):
        device = chance.choice(list(tracks))
        at_ms = tracks[device].instant(chance)
        kept = []
        for as_of in (AsOf.known(at_ms), AsOf.happened(at_ms)):
            expected = tracks[device].window(as_of)
            found = replay.at(device, archive.horizon(as_of))
            assert (found is None) == (expected is None)
            kept.append(None if expected is None else expected.kept)
            if found is None or expected is None:
                continue
            assert found.state is not None
            assert [tuple(ping) for ping in found.state.window] == expected.kept
            row = VIEW.row(device, VIEW.features(found.state), at_ms, LIMITS, True)
            row.pop("speed_mps")
            assert row == speed_row(device, expected, at_ms, target_ms=LIMITS[0], ttl_ms=LIMITS[1], allow_expired=True)
        asked[platforms[device]] += 1
        differing[platforms[device]] += kept[0] != kept[1]
    shares = {name: f"{differing[name]:,} of {asked[name]:,} ({differing[name] / asked[name]:.1%})" for name in asked}
    record_property("windows that differ between known and event axis", shares)
    assert differing.total() > 0
