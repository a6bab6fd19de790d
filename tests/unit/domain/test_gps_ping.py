"""The rules for pings, one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import GpsWeekRollover, PingRejected
from domain.event_times import FUTURE_TOLERANCE_MS, OLDEST_MS
from domain.gps_ping import GpsPing, parse_ping, ping_of, record_of
from domain.recorded_events import event_of
from domain.riders.rider import Rider

NOW_MS = 1_790_000_000_000
GOOD: dict[str, Any] = {
    "rider_id": "anna",
    "latitude": 52.5,
    "longitude": 13.4,
    "event_timestamp_ms": NOW_MS,
    "accuracy_meters": 5.5,
    "speed_mps": 4,
    "event_id": "0B7E9D1C-3F6A-4F0E-8F65-2B1F9A8D7C6E",
}


def parsed(**changes: Any) -> GpsPing:
    return parse_ping({**GOOD, **changes}, NOW_MS)


def refused(item: object) -> str:
    with pytest.raises(PingRejected) as caught:
        parse_ping(item, NOW_MS)
    assert str(caught.value)
    return caught.value.code


def test_a_good_ping() -> None:
    ping = parsed(unknown_field=[1, 2])
    assert ping[:4] == ("anna", 52.5, 13.4, NOW_MS)
    assert (ping.accuracy_meters, ping.speed_mps, ping.source_service) == (5.5, 4.0, "unknown")
    assert ping.event_id == "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"


@pytest.mark.parametrize("item", [None, 5, "ping", [], True, 1.5])
def test_a_value_that_is_not_an_object_has_the_wrong_type(item: object) -> None:
    assert refused(item) == "invalid_type"


@pytest.mark.parametrize("field", ["rider_id", "latitude", "longitude", "event_timestamp_ms"])
@pytest.mark.parametrize("value", [None, True, [], {}])
def test_required_fields_of_the_wrong_type(field: str, value: object) -> None:
    assert refused({**GOOD, field: value}) == "invalid_type"
    assert refused({name: value for name, value in GOOD.items() if name != field}) == "invalid_type"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rider_id": 7}, "invalid_type"),
        ({"rider_id": ""}, "invalid_rider_id"),
        ({"rider_id": "x" * 129}, "invalid_rider_id"),
        ({"rider_id": "a/b"}, "invalid_rider_id"),
        ({"rider_id": "a\u0000b"}, "invalid_rider_id"),
        ({"latitude": "52.5"}, "invalid_type"),
        ({"latitude": 90.000001}, "invalid_coordinates"),
        ({"longitude": -180.1}, "invalid_coordinates"),
        ({"latitude": math.nan}, "invalid_coordinates"),
        ({"longitude": math.inf}, "invalid_coordinates"),
        ({"latitude": 10**400}, "invalid_coordinates"),
        ({"latitude": 0, "longitude": -0.0}, "null_island"),
        ({"event_timestamp_ms": OLDEST_MS - 1}, "timestamp_too_old"),
        ({"event_timestamp_ms": -2_177_452_800_000}, "timestamp_too_old"),
        ({"event_timestamp_ms": NOW_MS + FUTURE_TOLERANCE_MS + 1}, "timestamp_in_future"),
        ({"event_timestamp_ms": 10**30}, "timestamp_in_future"),
        ({"event_timestamp_ms": 1_600_000_000_000.5}, "invalid_type"),
        ({"event_timestamp_ms": 2.0**53}, "invalid_type"),
        ({"event_timestamp_ms": 1e300}, "invalid_type"),
        ({"event_timestamp_ms": math.inf}, "invalid_type"),
        ({"event_timestamp_ms": math.nan}, "invalid_type"),
        ({"event_timestamp_ms": True}, "invalid_type"),
        ({"event_timestamp_ms": "yesterday"}, "invalid_type"),
        ({"event_timestamp_ms": "2026-01-01T00:00:00"}, "invalid_type"),
        ({"accuracy_meters": -1}, "invalid_accuracy"),
        ({"accuracy_meters": math.nan}, "invalid_accuracy"),
        ({"accuracy_meters": 1e39}, "invalid_accuracy"),
        ({"accuracy_meters": "5"}, "invalid_type"),
        ({"speed_mps": "fast"}, "invalid_type"),
        ({"event_id": "not-a-uuid"}, "invalid_type"),
        ({"event_id": 5}, "invalid_type"),
        # UUID() reads these, and would make one identity of two.
        ({"event_id": " b7e9d1c3f6a4f0e8f652b1f9a8d7c6 ----"}, "invalid_type"),
        ({"event_id": "urn:0b7e9d1c3f6a4f0e8f652b1f9a8d7c6e"}, "invalid_type"),
        ({"event_id": "\u0660b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e"}, "invalid_type"),
        ({"event_id": "0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e\n"}, "invalid_type"),
        ({"source_service": 5}, "invalid_type"),
    ],
)
def test_rejections(changes: dict[str, Any], code: str) -> None:
    assert refused({**GOOD, **changes}) == code


@pytest.mark.parametrize(
    "rider_id", ["SELECT", "o'brien; drop table events", "名前", "🛵", "a b", "x" * 128, "...", "%2F"]
)
def test_strange_rider_ids_that_are_fine(rider_id: str) -> None:
    assert parsed(rider_id=rider_id).rider_id == rider_id


def test_the_bounds_themselves_are_fine() -> None:
    parsed(latitude=-90, longitude=180)
    parsed(latitude=0.0, longitude=1e-9)
    parsed(event_timestamp_ms=OLDEST_MS)
    parsed(event_timestamp_ms=NOW_MS + FUTURE_TOLERANCE_MS)
    parsed(accuracy_meters=0)


@pytest.mark.parametrize("speed", [-1, -0.5, math.nan, math.inf, -math.inf, 1e39, None])
def test_an_unknown_device_speed_becomes_null(speed: float | None) -> None:
    assert parsed(speed_mps=speed).speed_mps is None


def test_times_may_be_rfc_3339_with_a_zone() -> None:
    assert parsed(event_timestamp_ms="2026-01-31T13:00:00.125+01:00").event_timestamp_ms == 1_769_860_800_125


@pytest.mark.parametrize("value", [float(NOW_MS), NOW_MS * 1.0])
def test_a_json_number_that_is_an_integer_in_value_is_a_time(value: float) -> None:
    ping = parsed(event_timestamp_ms=value)
    assert ping.event_timestamp_ms == NOW_MS
    assert type(ping.event_timestamp_ms) is int


def test_one_fix_in_milliseconds_and_in_microseconds_is_one_ping() -> None:
    once = parsed(event_timestamp_ms="2026-01-31T12:00:04.999Z", event_id=None)
    again = parsed(event_timestamp_ms="2026-01-31T12:00:04.999600Z", event_id=None)
    assert once.identity == again.identity


@pytest.mark.parametrize("weeks", [1024])
@pytest.mark.parametrize("off_ms", [0, 3_600_000, -3_600_000])
def test_a_gps_week_rollover_is_rejected_by_name(weeks: int, off_ms: int) -> None:
    time_ms = NOW_MS - weeks * 7 * 86_400_000 + off_ms
    assert refused({**GOOD, "event_timestamp_ms": time_ms}) == "gps_week_rollover"
    beyond = time_ms + (1 if off_ms >= 0 else -1) * 3_600_001
    assert parsed(event_timestamp_ms=beyond).event_timestamp_ms == beyond


def test_two_rollovers_back_are_one_too_and_before_2000_the_time_is_too_old() -> None:
    era_ms = 1024 * 7 * 86_400_000
    with pytest.raises(GpsWeekRollover):
        parse_ping({**GOOD, "event_timestamp_ms": NOW_MS}, NOW_MS + 2 * era_ms)
    assert refused({**GOOD, "event_timestamp_ms": NOW_MS - 2 * era_ms}) == "timestamp_too_old"


@pytest.mark.parametrize("said", [True, False, None])
def test_a_phone_may_say_whether_an_app_made_the_fix(said: bool | None) -> None:
    ping = parsed(is_mock=said)
    assert ping.is_mock is said
    assert ping_of(record_of(ping)) == ping


def test_a_phone_that_does_not_say_it_sends_null() -> None:
    assert parsed().is_mock is None


@pytest.mark.parametrize("value", [0, 1, "true", "", [], {}, 0.0])
def test_a_mock_flag_of_another_type_is_rejected_by_name(value: object) -> None:
    assert refused({**GOOD, "is_mock": value}) == "invalid_type"


def test_the_mock_flag_is_content_of_a_ping() -> None:
    assert parsed(is_mock=True).same_content(parsed(is_mock=True))
    assert not parsed(is_mock=True).same_content(parsed(is_mock=False))
    assert not parsed(is_mock=False).same_content(parsed())
    assert parsed(is_mock=True).identity == parsed().identity


def test_without_an_event_id_the_same_fix_is_the_same_ping() -> None:
    once, again = parsed(event_id=None), parsed(event_id=None, accuracy_meters=9)
    assert once.event_id == again.event_id
    assert once.event_id != parsed(event_id=None, latitude=52.6).event_id
    assert not once.same_content(again)


@given(
    item=st.dictionaries(
        st.sampled_from([*GOOD, "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()),
        max_size=8,
    )
)
def test_any_value_is_a_ping_or_a_named_rejection(item: dict[str, Any]) -> None:
    try:
        ping = parse_ping({**GOOD, **item}, NOW_MS)
    except PingRejected as error:
        rejection = error
    else:
        assert math.isfinite(ping.latitude)
        assert math.isfinite(ping.longitude)
        assert OLDEST_MS <= ping.event_timestamp_ms <= NOW_MS + FUTURE_TOLERANCE_MS
        return
    assert rejection.code != PingRejected.code
    assert str(rejection)


def test_a_rider_that_only_an_older_version_accepted_is_still_read() -> None:
    for rider_id in (".", "..", "\u3164"):
        rider = Rider.with_unreadable(None, rider_id, 3)
        assert (rider.rider_id, rider.version, rider.pending_events) == (rider_id, 3, [])
        again = event_of("ShiftStarted", rider.id, 4, {"rider_id": rider_id, "event_timestamp_ms": NOW_MS}).mutate(
            rider
        )
        assert again is not None
        assert again.on_shift
