"""A consumer with only the topic rider-locations knows where every rider is."""

from __future__ import annotations

from typing import Any

from tests.e2e.test_speed import now_ms, track
from tests.support.waiting import eventually
from tests.support.worlds.locations import read_locations
from tests.support.worlds.ridelog import Ridelog


def test_the_topic_alone_has_the_latest_place_of_a_rider(ridelog: Ridelog, rider: str) -> None:
    start_ms = now_ms() - 60_000
    first = track(rider, start_ms)
    ridelog.post(first)
    late = {**first[0], "event_timestamp_ms": start_ms - 50_000, "latitude": 1.0}
    position = ridelog.post(late)["position"]  # recorded last, happened first

    def shown() -> dict[str, Any] | None:
        found = read_locations(ridelog.info.kafka_bootstrap, "rider-locations").get(rider)
        return dict(found) if found is not None and found["position"] >= position else None

    found = eventually(shown, within_s=30, every_s=0.5, what="the topic shows the rider's last event")
    assert found is not None
    newest = max(first, key=lambda ping: ping["event_timestamp_ms"])
    assert (found["latitude"], found["longitude"]) == (newest["latitude"], newest["longitude"])
    assert found["event_timestamp_ms"] == newest["event_timestamp_ms"]
    assert (found["position"], found["version"]) == (position, len(first) + 2)
