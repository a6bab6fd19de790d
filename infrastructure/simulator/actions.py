"""What the simulated world sends: pings of phones, and commands on deliveries."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from infrastructure.simulator.city import Point
from infrastructure.simulator.deliveries import Verb


class Activity(Enum):
    """What a rider is doing."""

    IDLE = "idle"
    """Waiting for an order, or riding to a busy street without one."""
    TO_RESTAURANT = "to restaurant"
    RESTAURANT = "restaurant"
    """Waiting at a restaurant for the food, or receiving it."""
    TO_CUSTOMER = "to customer"
    CUSTOMER = "customer"
    """Handing the order over at the customer's."""


class RiderTruth(NamedTuple):
    """A rider's true place in metres from the city's centre, speed in m/s, metres ridden so far, and activity."""

    at: Point
    speed_mps: float
    odometer_m: float
    activity: Activity


class UploadKind(Enum):
    """Why a request is sent."""

    LIVE = "live"
    """One fix or command, sent at once."""
    LATE = "late"
    """Fixes and commands of a time offline."""
    REPEAT = "repeat"
    """The same request a second time, as after a lost answer."""


class SimulatedFix(NamedTuple):
    """A ping as it is posted, and the rider's true state at its instant."""

    ping: dict[str, Any]
    truth: RiderTruth


class Upload(NamedTuple):
    """The pings of one request of one phone, sent ``send_at_s`` seconds after the start."""

    send_at_s: float
    rider_id: str
    kind: UploadKind
    fixes: tuple[SimulatedFix, ...]


class SentCommand(NamedTuple):
    """A command on a delivery, sent ``send_at_s`` seconds after the start; ``at_ms``: when it happened.

    ``body`` is that of the HTTP request, ``key`` its Idempotency-Key.
    """

    send_at_s: float
    order_id: str
    verb: Verb
    kind: UploadKind
    at_ms: int
    key: str
    body: dict[str, Any]


Action = Upload | SentCommand
