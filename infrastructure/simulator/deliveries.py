"""The life of a simulated order as a state machine, and the habits of the people who take part in it.

Pure. The stages and verbs are those of the Delivery aggregate, so a simulated order never sends a refused command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import log
from random import Random
from typing import Any, NamedTuple

from infrastructure.simulator.city import Point


class TrueStage(Enum):
    """What has truly happened to an order last."""

    PLACED = "placed"
    ASSIGNED = "assigned"
    PICKED_UP = "picked_up"
    ARRIVED = "arrived"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Verb(Enum):
    """A command on a delivery; the value is the last part of its HTTP path, except for ``PLACE``."""

    PLACE = "place"
    ASSIGN = "assign"
    UNASSIGN = "unassign"
    PICK_UP = "pickup"
    ARRIVE = "arrive"
    COMPLETE = "complete"
    CANCEL = "cancel"


TRANSITIONS: dict[tuple[TrueStage | None, Verb], TrueStage] = {
    (None, Verb.PLACE): TrueStage.PLACED,
    (TrueStage.PLACED, Verb.ASSIGN): TrueStage.ASSIGNED,
    (TrueStage.ASSIGNED, Verb.UNASSIGN): TrueStage.PLACED,
    (TrueStage.ASSIGNED, Verb.PICK_UP): TrueStage.PICKED_UP,
    (TrueStage.PICKED_UP, Verb.ARRIVE): TrueStage.ARRIVED,
    (TrueStage.PICKED_UP, Verb.COMPLETE): TrueStage.COMPLETED,
    (TrueStage.ARRIVED, Verb.COMPLETE): TrueStage.COMPLETED,
    (TrueStage.PLACED, Verb.CANCEL): TrueStage.CANCELLED,
    (TrueStage.ASSIGNED, Verb.CANCEL): TrueStage.CANCELLED,
    (TrueStage.PICKED_UP, Verb.CANCEL): TrueStage.CANCELLED,
    (TrueStage.ARRIVED, Verb.CANCEL): TrueStage.CANCELLED,
}


def next_stage(stage: TrueStage | None, verb: Verb) -> TrueStage:
    """The stage after ``verb``; None stands for an order that is not placed yet. Raises ValueError if not allowed."""
    try:
        return TRANSITIONS[stage, verb]
    except KeyError:
        raise ValueError(
            f"{verb.value} is not allowed for an order that is {stage.value if stage else 'new'}"
        ) from None


class LogNormal(NamedTuple):
    """Durations in seconds, never below ``least_s``; ``sigma`` is the standard deviation of their logarithm."""

    median_s: float
    sigma: float
    least_s: float = 0.0

    def draw(self, chance: Random) -> float:
        return max(self.least_s, chance.lognormvariate(log(self.median_s), self.sigma))


class Habits(NamedTuple):
    """How people act. Shares are of all orders, durations in seconds as (shortest, longest) where they are a pair.

    ``pick_up`` and ``hand_over``: from the rider's arrival, or from when the food is ready, to the hand-over.
    ``press_s``: from a hand-over to the press of its button. ``early_m``: how far from the address a rider presses
    "arrived" too early. ``late_s``: how long after the arrival the press of a late one comes.
    """

    pick_up: LogNormal = LogNormal(60.0, 0.5, 15.0)
    hand_over: LogNormal = LogNormal(90.0, 0.6, 20.0)
    press_s: tuple[float, float] = (0.5, 8.0)
    arrived_early_share: float = 0.15
    arrived_late_share: float = 0.15
    arrived_never_share: float = 0.2
    early_m: tuple[float, float] = (80.0, 400.0)
    late_s: tuple[float, float] = (15.0, 90.0)
    stack_share: float = 0.35
    decline_share: float = 0.05
    decline_after_s: tuple[float, float] = (10.0, 180.0)
    cancel_share: float = 0.04
    cancel_after_s: tuple[float, float] = (20.0, 1_500.0)
    refused_share: float = 0.01


class ArrivedPress(Enum):
    """When a rider presses "arrived"."""

    EARLY = "early"
    """While still riding."""
    ON_TIME = "on time"
    LATE = "late"
    """During the hand-over."""
    NEVER = "never"


def arrived_press(habits: Habits, chance: Random) -> ArrivedPress:
    """How the rider of one order presses "arrived"."""
    share = chance.random()
    for press, part in (
        (ArrivedPress.EARLY, habits.arrived_early_share),
        (ArrivedPress.LATE, habits.arrived_late_share),
        (ArrivedPress.NEVER, habits.arrived_never_share),
    ):
        if share < part:
            return press
        share -= part
    return ArrivedPress.ON_TIME


class TripLeg(Enum):
    """One part of a delivery, as the legs of a rider are named."""

    TO_RESTAURANT = "to_restaurant"
    TO_CUSTOMER = "to_customer"


@dataclass(eq=False)
class SimulatedOrder:
    """One order and what has truly happened to it. Instants are seconds since the start of the simulation."""

    order_id: str
    restaurant: int
    restaurant_at: Point
    customer_at: Point
    placed_s: float
    food_ready_s: float
    place_body: dict[str, Any]
    may_stack: bool
    """Whether the dispatcher considers stacking it."""
    stage: TrueStage = TrueStage.PLACED
    rider_id: str | None = None
    declined_by: set[str] = field(default_factory=set)
    press: ArrivedPress = ArrivedPress.NEVER
    is_refused: bool = False
    """Whether the customer does not take it: the hand-over ends in a cancellation."""
    stacked: bool = False
    """Whether its rider carried another order at some time."""
    leg_began_s: float = 0.0
    leg_began_odometer_m: float = 0.0
    arrived_s: float | None = None
    """When the rider truly reached the target of the current leg."""
    picked_up_press_s: float = 0.0
    arrived_press_s: float | None = None

    def happens(self, verb: Verb) -> None:
        """Go to the next stage. Raises ValueError if the rules of a delivery do not allow it."""
        self.stage = next_stage(self.stage, verb)

    @property
    def is_over(self) -> bool:
        return self.stage in {TrueStage.COMPLETED, TrueStage.CANCELLED}

    @property
    def leg(self) -> TripLeg:
        """The leg that an assigned rider is on."""
        return TripLeg.TO_RESTAURANT if self.stage is TrueStage.ASSIGNED else TripLeg.TO_CUSTOMER

    @property
    def target(self) -> Point:
        """Where its rider has to go next."""
        return self.restaurant_at if self.leg is TripLeg.TO_RESTAURANT else self.customer_at
