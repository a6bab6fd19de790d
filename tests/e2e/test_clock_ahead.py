"""A phone whose clock is four minutes ahead: its rider is visible on every axis over HTTP (issue 13, 16)."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

AHEAD_MS = 240_000
SPACING_MS = 100


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def is_past(t_ms: int) -> bool:
    return now_ms() >= t_ms


def ping(rider: str, number: int, t_ms: int) -> dict[str, Any]:
    """A rider going north at 10 m/s."""
    return {
        "rider_id": rider,
        "latitude": 52.5 + number * SPACING_MS / 1000 * 10 / 111_195,
        "longitude": 13.4,
        "event_timestamp_ms": t_ms,
        "accuracy_meters": 3,
    }


def ride(ridelog: Ridelog, rider: str, first: int, ahead_ms: int) -> list[tuple[int, int]]:
    """Send ten pings in real time. Returns each one's position and an instant before the next ping."""
    sent = []
    for number in range(first, first + 10):
        due_ms = now_ms() + SPACING_MS
        eventually(partial(is_past, due_ms), every_s=0.005, what="the next ping is due")
        sent.append((ridelog.post(ping(rider, number, now_ms() + ahead_ms))["position"], now_ms()))
    return sent


def test_a_clock_four_minutes_ahead_does_not_blind_its_rider(ridelog: Ridelog, rider: str) -> None:
    ahead = ride(ridelog, rider, 0, AHEAD_MS)
    seen = ridelog.speed_at(rider, ahead[-1][0])
    assert (seen["status"], seen["pings_in_window"]) == ("fresh", 10)
    assert 0 <= seen["age_ms"] < 30_000
    assert seen["path_speed_mps"] is not None
    assert seen["speed_mps"] is not None
    assert seen["latitude"] == ping(rider, 9, 0)["latitude"]

    # The phone gets the time from the network, and the next pings are the latest ones.
    right = ride(ridelog, rider, 10, 0)
    seen = ridelog.speed_at(rider, right[-1][0])
    assert (seen["status"], seen["pings_in_window"]) == ("fresh", 10)
    assert seen["latitude"] == ping(rider, 19, 0)["latitude"]
    assert seen["speed_mps"] is not None
    assert seen["age_ms"] >= 0

    # By event time, each ping counts from its reception, even those with a time four minutes later.
    sent = [*ahead, *right]
    for count in (1, 5, 10, 15, 20):
        position, then_ms = sent[count - 1]
        happened = ridelog.http.get(f"/riders/{rider}/speed", params={"at": then_ms, "axis": "event"}).json()
        assert happened["position"] == position
        assert happened["latitude"] == ping(rider, count - 1, 0)["latitude"]
        assert 0 <= happened["age_ms"] <= 5_000


def test_pings_of_one_request_by_a_clock_ahead_have_a_speed(ridelog: Ridelog, rider: str) -> None:
    start_ms = now_ms() + AHEAD_MS - 10_000
    pings = [ping(rider, 10 * number, start_ms + number * 1_000) for number in range(10)]
    seen = ridelog.speed_at(rider, ridelog.post(pings)["position"])
    assert (seen["status"], seen["latitude"]) == ("fresh", pings[-1]["latitude"])
    assert seen["speed_mps"] == pytest.approx(10.0, abs=0.3)
    assert seen["age_ms"] >= 0
    # Sent again, the pings are duplicates: a ping's identity contains the time as sent.
    assert ridelog.post(pings)["duplicates"] == 10
