"""Reads as of an instant, over HTTP on a complete serve."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from projections.catalogue import of_stream
from tests.support.postgres.poison import record_nameless
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

START_MS = time.time_ns() // 1_000_000 - 600_000

OF_RIDERS = of_stream("Rider")
SHOWN = [name for name, projection in OF_RIDERS.items() if projection.view is not None or projection.tables]
"""Projections that `replay` shows; the states of the others are what other answers are made of."""


def ping(rider: str, second: int, north: float) -> dict[str, Any]:
    return {
        "rider_id": rider,
        "latitude": 52.5 + north,
        "longitude": 13.4,
        "event_timestamp_ms": START_MS + second * 1_000,
        "accuracy_meters": 5,
    }


def served(ridelog: Ridelog, rider: str, **query: Any) -> httpx.Response:
    return ridelog.http.get(f"/riders/{rider}/speed", params=query)


def after_ms(ridelog: Ridelog, pings: Any) -> tuple[int, int]:
    """Post a batch. Returns its position, and an instant after it and before everything recorded later."""
    position = ridelog.post(pings)["position"]
    now_ms = time.time_ns() // 1_000_000
    eventually(lambda: time.time_ns() // 1_000_000 > now_ms, what="the next millisecond has begun")
    return position, now_ms


def test_each_axis_answers_with_the_pings_that_count_on_it(ridelog: Ridelog, rider: str) -> None:
    first, then_ms = after_ms(ridelog, [ping(rider, n, n / 1e4) for n in range(5)])
    live = ridelog.speed_at(rider, first)
    # One ping that happened earlier but is recorded only now, and one that is newer than all.
    last = ridelog.post([ping(rider, -1, 0.0), ping(rider, 30, 0.01)])["position"]
    now = ridelog.speed_at(rider, last)
    assert (live["pings_in_window"], now["pings_in_window"]) == (5, 7)

    by_position = served(ridelog, rider, position=first).json()
    assert {k: by_position[k] for k in by_position if k not in {"age_ms", "status"}} == {
        k: live[k] for k in live if k not in {"age_ms", "status"}
    }
    known = served(ridelog, rider, at=then_ms)
    assert known.json() == served(ridelog, rider, at=then_ms, axis="known").json()
    assert known.json()["pings_in_window"] == 5
    assert known.json()["age_ms"] == then_ms - (START_MS + 4_000)
    assert known.json()["position"] == first <= int(known.headers["Ridelog-Position"])
    happened = served(ridelog, rider, at=START_MS + 4_000, axis="event").json()
    assert (happened["pings_in_window"], happened["age_ms"], happened["window_ms"]) == (6, 0, 5_000)
    # The same request for the log as it was before the late ping arrived.
    before = served(ridelog, rider, at=START_MS + 4_000, axis="event", position=first).json()
    assert before["pings_in_window"] == 5


def test_an_instant_is_inclusive_to_the_millisecond(ridelog: Ridelog, rider: str) -> None:
    ridelog.post([ping(rider, n, 0.0) for n in range(3)])
    for t_ms, pings in ((START_MS - 1, None), (START_MS, 1), (START_MS + 999, 1), (START_MS + 1_000, 2)):
        answer = served(ridelog, rider, at=t_ms, axis="event")
        assert (answer.json().get("pings_in_window") if answer.status_code == 200 else None) == pings


def test_times_may_be_rfc_3339(ridelog: Ridelog, rider: str) -> None:
    position, then_ms = after_ms(ridelog, ping(rider, 0, 0.0))
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(then_ms // 1000)) + f".{then_ms % 1000:03d}Z"
    assert served(ridelog, rider, at=text).json() == served(ridelog, rider, at=then_ms).json()
    assert served(ridelog, rider, at=text).json()["position"] == position


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"axis": "known"}, "invalid_request"),
        ({"at": 1, "axis": "recorded"}, "invalid_axis"),
        ({"at": 1, "position": 1}, "invalid_request"),
        ({"at": "yesterday"}, "invalid_time"),
        ({"at": "2026-01-01T00:00:00"}, "invalid_time"),
        ({"at": 253_000_000_000_000}, "instant_in_future"),
        ({"position": 1 << 60}, "unknown_position"),
        ({"position": -1}, "invalid_request"),
        ({"position": "x"}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("path", ["/riders/nobody/speed", "/analytics/fleet", "/analytics/riders/nobody"])
def test_what_cannot_be_answered_is_rejected_by_name(
    ridelog: Ridelog, path: str, query: dict[str, Any], code: str
) -> None:
    answer = ridelog.http.get(path, params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_rider_is_unknown_before_the_first_ping(ridelog: Ridelog, rider: str) -> None:
    _, then_ms = after_ms(ridelog, ping("somebody-else", 0, 0.0))
    ridelog.post(ping(rider, 0, 0.0))
    ways: list[dict[str, Any]] = [{"at": then_ms}, {"position": 1}, {"position": 0}]
    for query in (*ways, {"at": START_MS - 1, "axis": "event"}):
        answer = served(ridelog, rider, **query)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_rider")
        hours = ridelog.http.get(f"/analytics/riders/{rider}", params=query)
        assert (hours.status_code, hours.json()) == (404, answer.json())


def test_regression_the_past_of_a_key_with_a_ping_without_identity_equals_what_was_served(
    ridelog: Ridelog, rider: str
) -> None:
    """The request once got a 500, and a replay of all riders a traceback, also for the other riders."""
    ridelog.post([ping(rider, n, n / 1e4) for n in range(4)])
    bad = record_nameless(ridelog.info.postgres_url, ping(rider, 4, 0.1), START_MS + 4_000)

    def marks() -> dict[str, dict[str, Any]]:
        found = json.loads(ridelog.ask("parked", "list", "--json").stdout)
        return {one["projection"]: one["mark"] for one in found if one["key"] == rider}

    try:
        eventually(lambda: marks().keys() == OF_RIDERS.keys(), within_s=30, what="every projection has parked it")
        assert {mark["position"] for mark in marks().values()} == {bad}
        last, then_ms = after_ms(ridelog, ping(rider, 5, 5 / 1e4))
        live = ridelog.speed(rider)
        assert live is not None
        for query in ({"at": then_ms}, {"position": last}, {"at": then_ms, "axis": "event"}):
            answer = served(ridelog, rider, **query)
            assert answer.status_code == 200, answer.text
            assert answer.json() | {"age_ms": 0, "status": ""} == live | {"age_ms": 0, "status": ""}
        for name in SHOWN:
            every = json.loads(ridelog.ask("replay", name, "--position", str(last), "--json").stdout)
            assert rider in every["parked"]
            one = json.loads(ridelog.ask("replay", name, "--key", rider, "--position", str(last), "--json").stdout)
            assert (one["parked"]["position"], one["parked"]["kind"]) == (bad, marks()[name]["kind"])
    finally:
        # Later tests in this ridelog need every stage to be healthy.
        for name in OF_RIDERS:
            ridelog.ask("parked", "discard", name, rider, "--why", "the test is over")
    assert marks() == {}


def test_analytics_as_of_a_position_equal_the_rows_at_that_time(ridelog: Ridelog, rider: str) -> None:
    ridelog.post([ping(rider, n, n / 1e4) for n in range(5)])

    def rows(**query: Any) -> dict[str, Any]:
        answer = ridelog.http.get(f"/analytics/riders/{rider}", params=query)
        assert answer.status_code in {200, 404}, answer.text
        found: dict[str, Any] = answer.json()
        return found

    live = eventually(
        lambda: rows().get("items") and sum(i["pings"] for i in rows()["items"]) == 5 and rows(),
        what="analytics has folded five pings",
    )
    fleet = eventually(lambda: _settled(ridelog), what="the fleet's rows are at the head of the log")
    assert isinstance(live, dict)
    assert fleet is not None
    position = ridelog.http.get(f"/riders/{rider}/speed", params={"at": START_MS + 90_000, "axis": "event"}).headers
    ridelog.post([ping(rider, n, n / 1e4) for n in range(5, 9)])
    past = rows(position=int(position["Ridelog-Position"]))
    assert past["items"] == live["items"]
    assert past["generation"] is None
    span = {"since": START_MS - 3_600_000, "until": START_MS + 3_600_000, "limit": 1_000}
    then = ridelog.http.get("/analytics/fleet", params={**span, "position": int(position["Ridelog-Position"])}).json()
    assert (then["items"], then["fences"]) == (fleet["items"], fleet["fences"])
    riders = ridelog.http.get("/analytics/riders", params={**span, "position": int(position["Ridelog-Position"])})
    (mine,) = [item for item in riders.json()["items"] if item["rider_id"] == rider]
    assert mine["pings"] == 5


def _settled(ridelog: Ridelog) -> dict[str, Any] | None:
    """The fleet's rows, once they contain everything recorded; None before."""
    span = {"since": START_MS - 3_600_000, "until": START_MS + 3_600_000, "limit": 1_000}
    now: dict[str, Any] = ridelog.http.get("/analytics/fleet", params=span).json()
    head = ridelog.http.get("/riders/nobody/speed", params={"at": 1, "axis": "event"}).headers["Ridelog-Position"]
    then = ridelog.http.get("/analytics/fleet", params={**span, "position": int(head)}).json()
    return now if now["fences"] == then["fences"] else None


def test_an_instant_is_truncated_so_that_the_next_millisecond_does_not_count(ridelog: Ridelog, rider: str) -> None:
    base_s = START_MS // 1_000 - 60
    pings = [ping(rider, 0, n / 1e4) | {"event_timestamp_ms": (base_s + n) * 1_000} for n in range(3)]
    position = ridelog.post(pings)["position"]
    ridelog.speed_at(rider, position)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(base_s + 1))
    counted = served(ridelog, rider, at=f"{at}.9996Z", axis="event").json()
    assert (counted["pings_in_window"], counted["age_ms"]) == (2, 999)


def test_integers_of_the_query_are_read_by_one_rule(ridelog: Ridelog, rider: str) -> None:
    position = ridelog.post([ping(rider, 0, 0.0)])["position"]
    ridelog.speed_at(rider, position)
    assert served(ridelog, rider, position=f"{position}.0").status_code == 200
    for wrong in ("1e1", "1.5", "-1", "\u0661", "one", "9007199254740993.5"):
        rejected = served(ridelog, rider, position=wrong)
        assert (rejected.status_code, rejected.json()["code"]) == (400, "invalid_request")
        assert ridelog.http.get("/analytics/riders", params={"limit": wrong}).status_code == 400
    assert ridelog.http.get("/analytics/riders", params={"limit": "10.0"}).status_code == 200


@pytest.mark.parametrize("day", ["2026-1-5", "\u0662\u0660\u0662\u0666-01-05", "20260105"])
def test_a_day_is_written_in_full_in_ascii(ridelog: Ridelog, rider: str, day: str) -> None:
    rejected = ridelog.http.get(f"/analytics/riders/{rider}", params={"day": day})
    assert (rejected.status_code, rejected.json()["code"]) == (400, "invalid_time")
