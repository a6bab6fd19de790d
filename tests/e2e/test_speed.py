"""The complete path of a ping: from POST /pings to the speed that a model reads."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from tests.support.worlds.ridelog import Ridelog


def track(rider: str, end_ms: int, count: int = 10, step_m: float = 20.0) -> list[dict[str, Any]]:
    """A rider going north, ``step_m`` metres every 5 s, the last fix at ``end_ms``."""
    degree_m = math.pi * 6_371_008.8 / 180
    return [
        {
            "rider_id": rider,
            "latitude": 52.5 + n * step_m / degree_m,
            "longitude": 13.4,
            "event_timestamp_ms": end_ms - (count - 1 - n) * 5_000,
            "accuracy_meters": 4,
        }
        for n in range(count)
    ]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_the_complete_answer(ridelog: Ridelog, rider: str) -> None:
    end_ms = now_ms() - 500
    pings = track(rider, end_ms)
    position = ridelog.post(pings)["position"]
    speed = ridelog.speed_at(rider, position)
    assert set(speed) == {
        "rider_id",
        "speed_mps",
        "path_speed_mps",
        "pings_in_window",
        "window_ms",
        "latitude",
        "longitude",
        "event_timestamp_ms",
        "version",
        "position",
        "age_ms",
        "status",
        "generation",
    }
    assert speed["path_speed_mps"] == pytest.approx(4.0, abs=1e-3)
    assert speed["speed_mps"] == pytest.approx(4.0, abs=0.3)
    assert (speed["pings_in_window"], speed["window_ms"]) == (10, 45_000)
    assert (speed["latitude"], speed["longitude"]) == (pings[-1]["latitude"], 13.4)
    assert speed["event_timestamp_ms"] == end_ms
    assert (speed["version"], speed["position"]) == (11, position)
    assert (speed["status"], speed["generation"]) == ("fresh", 1)
    assert 500 <= speed["age_ms"] < 30_000


def test_an_unknown_rider_is_404(ridelog: Ridelog) -> None:
    answer = ridelog.http.get("/riders/nobody/speed")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_rider")


def test_stale_and_expired_are_determined_by_age(ridelog: Ridelog, rider: str) -> None:
    position = ridelog.post(track(rider, now_ms() - 60_000))["position"]
    assert ridelog.speed_at(rider, position)["status"] == "stale"
    old = rider + "-old"
    position = ridelog.post(track(old, now_ms() - 8_000_000))["position"]
    expired = ridelog.speed_at(old, position)
    assert (expired["status"], expired["speed_mps"], expired["path_speed_mps"]) == ("expired", None, None)
    shown = ridelog.speed_at(old, position, allow_expired="true")
    assert shown["status"] == "expired"
    assert shown["path_speed_mps"] == pytest.approx(4.0, abs=1e-3)


def test_a_request_for_the_past_is_not_answered_with_the_present(ridelog: Ridelog, rider: str) -> None:
    ridelog.speed_at(rider, ridelog.post(track(rider, now_ms()))["position"])
    for query in ({"at": "2026-01-01T00:00:00Z"}, {"position": "0"}):
        answer = ridelog.http.get(f"/riders/{rider}/speed", params=query)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_rider"), query


def test_one_ping_has_no_speed_and_no_span(ridelog: Ridelog, rider: str) -> None:
    speed = ridelog.speed_at(rider, ridelog.post(track(rider, now_ms(), 1))["position"])
    assert (speed["pings_in_window"], speed["window_ms"], speed["path_speed_mps"]) == (1, 0, None)


def test_health_and_metrics(ridelog: Ridelog, rider: str) -> None:
    ridelog.speed_at(rider, ridelog.post(track(rider, now_ms()))["position"])
    assert ridelog.http.get("/health/live").json() == {"status": "live"}
    ready = ridelog.http.get("/health/ready").json()
    assert set(ready["stages"].values()) == {"ok"}
    text = ridelog.http.get("/metrics").text
    for name in (
        'ridelog_pings_total{outcome="accepted"}',
        "ridelog_log_position",
        "ridelog_commit_seconds_bucket",
        "ridelog_ingest_queue_pings",
        'ridelog_projection_events_total{projection="speed",what="applied"}',
        'ridelog_stage_connected{stage="tailer"} 1.0',
        'ridelog_http_request_seconds_bucket{le="0.001",method="GET",route="/riders/{rider_id}/speed"',
    ):
        assert name in text, name
    assert rider not in text


def test_the_interface_describes_itself(ridelog: Ridelog) -> None:
    schema = ridelog.http.get("/schema").json()
    assert schema["openapi"].startswith("3.")
    assert "/pings" in schema["paths"]
    assert "requestBody" in schema["paths"]["/pings"]["post"]
