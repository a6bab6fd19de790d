"""Commands on deliveries are bounded before anything is decided."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.values import MAX_SECONDS, Coordinates, time_zones
from domain.errors import (
    DomainError,
    GpsWeekRollover,
    InvalidCoordinates,
    InvalidCurrency,
    InvalidOrderId,
    InvalidRiderId,
    InvalidTimeZone,
    InvalidType,
    OutOfRange,
    TimestampInFuture,
    TimestampTooOld,
)
from domain.event_times import FUTURE_TOLERANCE_MS, GPS_ROLLOVER_MS, OLDEST_MS
from tests.unit.domain.given import NOW_MS
from tests.unit.domain.given_delivery import VERBS, a_step, an_order


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (an_order(""), InvalidOrderId),
        (an_order("a/b"), InvalidOrderId),
        (an_order("\u2800"), InvalidOrderId),
        (an_order("x" * 129), InvalidOrderId),
        (a_step("assign", "a/b"), InvalidOrderId),
        (a_step("assign", rider_id=""), InvalidRiderId),
        (a_step("assign", rider_id="a/b"), InvalidRiderId),
        *((an_order(restaurant=Coordinates(degrees, 0.0)), InvalidCoordinates) for degrees in (90.1, math.nan)),
        *((an_order(customer=Coordinates(0.0, degrees)), InvalidCoordinates) for degrees in (-180.1, math.inf)),
        *((an_order(time_zone=name), InvalidTimeZone) for name in ("", "CEST", "europe/berlin", "../etc/passwd")),
        *((an_order(currency=code), InvalidCurrency) for code in ("", "eur", "EURO", "ABC", "\u20ac")),
        *((an_order(preparation_seconds=value), OutOfRange) for value in (-1, MAX_SECONDS + 1, 1 << 70)),
        *((an_order(promised_seconds=value), OutOfRange) for value in (-1, MAX_SECONDS + 1, 1 << 70)),
        *((an_order(items=value), OutOfRange) for value in (-1, 1_000_001)),
        *((an_order(city=text), InvalidType) for text in ("x" * 129, "a\nb", "\ud800")),
        *((an_order(source_service=text), InvalidType) for text in ("x" * 129, "a\nb")),
        *((a_step("cancel", reason=text), InvalidType) for text in ("x" * 513, "a\0b")),
        *((a_step("pickup", command_id=text), InvalidType) for text in ("", "x" * 129, "a\nb")),
        (a_step("pickup", at_ms=OLDEST_MS - 1), TimestampTooOld),
        (a_step("pickup", after_ms=0, at_ms=NOW_MS - GPS_ROLLOVER_MS), GpsWeekRollover),
        (a_step("pickup", after_ms=0, at_ms=NOW_MS + FUTURE_TOLERANCE_MS + 1), TimestampInFuture),
        (an_order(at_ms=NOW_MS + FUTURE_TOLERANCE_MS + 1), TimestampInFuture),
    ],
)
def test_a_value_that_no_order_has_is_refused(command: DeliveryCommand, error: type[DomainError]) -> None:
    with pytest.raises(error):
        command.check()


@pytest.mark.parametrize(
    "command",
    [
        an_order("é ü"),
        an_order(restaurant=Coordinates(90, 180), customer=Coordinates(-90.0, -180.0)),
        an_order(restaurant=Coordinates(0.0, 0.0)),
        an_order(
            time_zone="UTC", currency="JPY", city="", items=0, preparation_seconds=0, promised_seconds=MAX_SECONDS
        ),
        a_step("cancel", reason="x" * 512, command_id="x" * 128),
        a_step("pickup", after_ms=0, at_ms=NOW_MS + FUTURE_TOLERANCE_MS),
        a_step("pickup", after_ms=0, at_ms=OLDEST_MS),
    ],
)
def test_a_value_at_the_bound_is_accepted(command: DeliveryCommand) -> None:
    command.check()


def test_an_error_of_a_time_names_the_field_of_the_request() -> None:
    with pytest.raises(TimestampTooOld, match="placed_at is"):
        an_order(at_ms=1).check()
    with pytest.raises(TimestampTooOld, match=r"^at is"):
        a_step("assign", at_ms=1).check()


def test_every_accepted_time_zone_is_one_that_a_local_time_can_be_computed_in() -> None:
    assert len(time_zones()) > 400
    for name in time_zones():
        ZoneInfo(name)


def test_the_verbs_are_those_of_the_paths() -> None:
    assert set(VERBS) == {"assign", "unassign", "pickup", "arrive", "complete", "cancel"}
