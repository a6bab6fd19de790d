"""The rider whose events, snapshots and states ``stored_bytes`` has, by the commands that were given."""

from __future__ import annotations

from typing import Any

from domain.gps_ping import GpsPing, parse_ping
from domain.origin import Origin
from domain.riders.commands import CloseStatement, ReviewAlert
from domain.riders.leg import Leg
from domain.riders.rider import Rider
from tests.unit.core.stored_bytes import T_MS

CAUSE = "1fb71c08-8a09-5d70-b4ab-84c09cfc2083"


def a_ping(number: int, t_ms: int, received_ms: int, latitude: float, longitude: float, **fields: Any) -> GpsPing:
    item = {
        "rider_id": "anna",
        "event_timestamp_ms": T_MS + t_ms,
        "event_id": f"0b7e9d1c-3f6a-4f0e-8f65-{number:012x}",
        "latitude": latitude,
        "longitude": longitude,
        **fields,
    }
    return parse_ping(item, T_MS + received_ms)


def a_rider() -> Rider:
    """A rider with a late ping, an imprecise one and one from a clock that is ahead."""
    rider = Rider.register("anna", T_MS, Origin(command_id="c-1", caused_by=CAUSE))
    rider.start_shift(T_MS + 1_000, Origin(command_id="c-2"))
    rider.record_ping(a_ping(1, 5_000, 6_000, 52.5, 13.4, accuracy_meters=5.0, speed_mps=4.25), {})
    rider.record_ping(a_ping(2, 15_000, 15_500, 52.5005, 13.4005), {})
    late = a_ping(3, 10_000, 400_000, 52.50026, 13.40024, accuracy_meters=8.5, source_service="courier-app")
    rider.record_ping(late, {})
    leg = Leg("order-7", "to_restaurant", 52.51, 13.41, "Berlin", "Europe/Berlin", "EUR", 2_400)
    rider.start_leg(leg, T_MS + 18_000, Origin(0, "shop", "key", "28fba95e4c85915c5b7dfa8fc931c68f", CAUSE))
    rider.record_ping(a_ping(4, 20_000, 20_500, 52.6, 13.5, accuracy_meters=80.0), {})
    rider.record_ping(a_ping(5, 55_000, 30_000, 52.5012, 13.4013, accuracy_meters=6.0, speed_mps=5.5), {})
    return rider


def a_rider_of_people() -> Rider:
    """The same rider after a review and a closed statement."""
    rider = a_rider()
    common: dict[str, Any] = {"rider_id": "anna", "by": "mara", "source_service": "desk", "command_id": "key"}
    alert = "5f0e8f65-2b1f-5a8d-9c6e-0b7e9d1c3f6a"
    rider.review_alert(
        ReviewAlert(**common, received_ms=T_MS + 60_000, alert_id=alert, verdict="cleared", why="a tunnel")
    )
    common |= {"command_id": None, "at_ms": T_MS + 70_000}
    rider.close_statement(CloseStatement(**common, received_ms=T_MS + 75_000, period="2026-W38", currency="EUR"))
    return rider
