"""The fold of an order for the calibration: the first answer of each leg, and how the order ended.

An order counts once it is completed: the answer of each leg then has a score. An answer that is recorded after the
completion, since it was given just before it, adds its score when it is recorded. A cancelled order adds nothing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, get_args

from domain.features.calibration.online import HOUR_MS
from domain.features.calibration.scores import bin_of, one_in, score
from domain.features.eta.features import LegName
from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.orders import MissingPlacement
from domain.features.partials import PartialDelta

PARTIAL_SLOTS: Final = 29 * 24
"""Hours of completion: the 28 days that count and a day more, so that a clock that is a little ahead displaces none."""
LEGS: Final[tuple[str, ...]] = get_args(LegName)
"""An order has at most one counted answer of each."""
MAX_CITY_CODE_POINTS: Final = 128
"""Bounds the names of fields in the partial tables. A longer name counts as no city; commands refuse it."""
MAX_SECONDS: Final = 1e9
"""More seconds until hand-over are no answer of this service (invariant 16)."""
_ETA: Final = "EtaServed"


class Answered(NamedTuple):
    """The first answer of a leg. ``at_ms``: epoch ms. The quantiles are the model's, before calibration, in ms."""

    leg: str
    at_ms: int
    p50_ms: int
    p90_ms: int


class CalibrationState(NamedTuple):
    """One order after ``version`` events. ``answers``: in the order in which they were recorded, one a leg."""

    version: int = 0
    position: int = 0
    placed: bool = False
    city: str = ""
    completed_ms: int | None = None
    answers: tuple[Answered, ...] = ()


EMPTY = CalibrationState()


def fold(state: CalibrationState, event: KeyedEvent) -> CalibrationState:
    """The state after one more event of the order's stream; pure.

    Raises:
        MissingPlacement: the first event of the order is another one than its placement.
        ValueError: the answer is none that this service gives.
    """
    _, version, position, event_type, data = event
    state = state._replace(version=version, position=position)
    if event_type == "DeliveryPlaced":
        return state._replace(placed=True, city=city_name(data["city"]))
    if not state.placed:
        raise MissingPlacement(f"{event_type} is the first event of the order")
    if event_type == _ETA:
        answer = _answered(data)
        if answer.leg in {each.leg for each in state.answers}:
            return state
        return state._replace(answers=(*state.answers, answer))
    if event_type == "DeliveryCompleted":
        return state._replace(completed_ms=effective_time_ms(data))
    return state


def partials(old: CalibrationState, new: CalibrationState) -> list[PartialDelta]:
    """The scores that one event adds, by hour of completion, leg and city; pure."""
    if new.completed_ms is None:
        return []
    counted = 0 if old.completed_ms is None else len(old.answers)
    hour = max(0, new.completed_ms // HOUR_MS)
    return [
        PartialDelta(hour % PARTIAL_SLOTS, hour, field_of(answer.leg, new.city), _counts(answer, new.completed_ms))
        for answer in new.answers[counted:]
    ]


def field_of(leg: str, city: str) -> str:
    """The field of a cell in the partial tables."""
    return f"{leg}/{city}"


def cell_of(field: str) -> tuple[str, str]:
    """Leg and city of a field."""
    leg, _, city = field.partition("/")
    return leg, city


def city_name(city: str) -> str:
    """The name as the cells have it; "" for one that no command accepts: it could not be a field of a table."""
    is_plain = len(city) <= MAX_CITY_CODE_POINTS and all(ord(each) >= 32 and ord(each) != 127 for each in city)
    return city if is_plain else ""


def _counts(answer: Answered, completed_ms: int) -> tuple[int, ...]:
    return one_in(bin_of(score(answer.p50_ms, answer.p90_ms, completed_ms - answer.at_ms)))


def _answered(data: Any) -> Answered:
    leg, p50_s, p90_s = data["leg"], data["model_p50_seconds"], data["model_p90_seconds"]
    if p50_s is None or p90_s is None:
        # An answer of before there was a calibration: what was served is the model's.
        p50_s, p90_s = data["p50_seconds"], data["p90_seconds"]
    if leg not in LEGS or not 0.0 <= p50_s <= p90_s <= MAX_SECONDS:
        raise ValueError("no answer of this service has such a leg, or such quantiles")
    # The contract has whole milliseconds as seconds with three decimals.
    return Answered(leg, effective_time_ms(data), round(p50_s * 1_000), round(p90_s * 1_000))
