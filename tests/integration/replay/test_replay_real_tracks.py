"""Real phones: what was known at an instant differs from what had happened by then, and replay distinguishes them."""

from __future__ import annotations

import random
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from heapq import nlargest
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from domain.events.contracts import Codec
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.speed.view import VIEW
from tests.integration.imports.test_backfill import backfilled
from tests.support.reports.proofs import whole
from tests.support.worlds.replay_reference import KEPT, Window, effective_ms, speed_row
from tests.support.worlds.replays import LIMITS
from tests.support.worlds.tracks import Fix, event_id, folder, rows


def the_file() -> Path:
    return folder() / "mobilitynet_trips.csv.gz"


QUESTIONS = 1_500 if whole() else 300
"""Each on both axes."""

LONGEST_GAP_MS = 60_000
"""Instants are taken from within a track: in the months between two trips both axes say the same."""


def float32(cell: str) -> float | None:
    """The value as the contract stores it; None if the phone sent none."""
    return struct.unpack("<f", struct.pack("<f", float(cell)))[0] if cell else None


def received() -> list[dict[str, Any]]:
    """Every distinct fix as in the CSV, in the order in which its phone stored it, recorded at that time."""
    first: dict[tuple[str, int, str], dict[str, Any]] = {}
    for row in sorted(rows(the_file()), key=lambda row: int(row["received_timestamp_ms"])):
        fix = Fix(row["device_id"], int(row["event_timestamp_ms"]), float(row["latitude"]), float(row["longitude"]))
        speed = float32(row["speed_mps"])
        identity = event_id(fix)
        raw = {
            "rider_id": fix.device,
            "platform": row["platform"],
            "event_timestamp_ms": fix.t_ms,
            "event_id": identity,
            "latitude": fix.latitude,
            "longitude": fix.longitude,
            "accuracy_meters": float32(row["accuracy_meters"]),
            "speed_mps": None if speed is None or speed < 0 else speed,
            "recorded_ms": int(row["received_timestamp_ms"]),
            "received_timestamp_ms": int(row["received_timestamp_ms"]),
        }
        first.setdefault((fix.device, fix.t_ms, identity), raw)
    return list(first.values())


def imported(engine: Engine, postgres_url: str, folder: Path) -> list[tuple[int, int, dict[str, Any]]]:
    """The tracks through the command, as a company brings its history in: (position, version, fix as in the CSV)."""
    names = ("--rider-column", "device_id", the_file())
    summary = backfilled(postgres_url, folder, *names, column="received_timestamp_ms")
    raw = received()
    assert summary["accepted"] == len(raw)
    with engine.connect() as connection:
        places = connection.execute(
            text("SELECT position, version, event_id FROM events WHERE event_type = 'GpsPing' ORDER BY position")
        ).all()
    assert [str(place.event_id) for place in places] == [one["event_id"] for one in raw]
    return [(place.position, place.version, one) for place, one in zip(places, raw, strict=True)]


class Track:
    """One device's fixes in the order of the log, with their positions and versions."""

    def __init__(self, fixes: list[tuple[int, int, dict[str, Any]]]) -> None:
        self.fixes = fixes
        self._recorded = [raw["recorded_ms"] for _, _, raw in fixes]
        self._happened = sorted(raw["event_timestamp_ms"] for _, _, raw in fixes)

    def instant(self, chance: random.Random) -> int:
        while True:
            at = chance.randrange(1, len(self._happened))
            before, after = self._happened[at - 1], self._happened[at]
            if after - before <= LONGEST_GAP_MS:
                return chance.randint(before, after)

    def window(self, as_of: AsOf) -> Window | None:
        """Speed over the ten latest pings that count; counts of pings are not compared here."""
        assert as_of.at_ms is not None
        if as_of.axis == "known":
            counting = self.fixes[: bisect_right(self._recorded, as_of.at_ms)]
        else:
            counting = [fix for fix in self.fixes if effective_ms(fix[2]) <= as_of.at_ms]
        if not counting:
            return None
        names = ("latitude", "longitude", "accuracy_meters", "speed_mps")
        pings = [(effective_ms(raw), raw["event_timestamp_ms"], raw["event_id"], raw) for _, _, raw in counting]
        kept = [
            (at, event_id.replace("-", ""), *(raw[name] for name in names), sent - at)
            for at, sent, event_id, raw in reversed(nlargest(KEPT, pings, key=lambda ping: ping[:3]))
        ]
        position, version, _ = counting[-1]
        return Window(version, position, 0, 0, kept)


@pytest.mark.proof
def test_known_and_event_axis_of_real_tracks_are_what_the_reference_says(
    engine: Engine, postgres_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    log = imported(engine, postgres_url, tmp_path)
    archive = PostgresArchive(engine)
    decode = Codec(schema_ids(Settings(postgres_url=postgres_url), engine)).decode
    replay = KeyReplay(ReplaySource(SPEED, archive, decode), PostgresStateSnapshots(engine, SPEED))
    platforms = {raw["rider_id"]: raw["platform"] for _, _, raw in log}
    tracks = {device: Track([fix for fix in log if fix[2]["rider_id"] == device]) for device in platforms}
    for device in tracks:
        replay.at(device, archive.horizon(AsOf.at_position(log[-1][0])))
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
