"""What one order adds to the sums of outcomes, as integers: its end, and each rider who was taken off it. Pure."""

from __future__ import annotations

from typing import NamedTuple

HOUR_MS = 3_600_000
PLACE_E4 = 10_000
"""Places are in whole 10⁻⁴ degrees, about 11 m: a restaurant's address, not the street around it."""


class FirstEta(NamedTuple):
    """The first ETA of an order; sorted as a tuple, so the earliest answer is the first, in whatever order recorded.

    ``at_ms`` in epoch milliseconds, the quantiles in milliseconds from then until hand-over. ``event_id``: 16 bytes.
    """

    at_ms: int
    event_id: bytes
    p50_ms: int
    p90_ms: int


class OutcomeSums(NamedTuple):
    """The sums of orders that ended in one hour. Times in milliseconds, of completed orders.

    ``cancelled_picked_up``: of the cancelled orders, those that a rider had picked up. ``arrivals``: completed orders
    with an arrival; the two stages around it are summed over these alone. ``promised``: completed orders with a
    promise; lateness is negative for an early order. ``etas``: completed orders with an ETA; its error is the true
    hand-over minus the median, ``beyond_p90`` counts hand-overs after the 90 % quantile.
    """

    completed: int = 0
    cancelled: int = 0
    cancelled_picked_up: int = 0
    unassigned: int = 0
    placed_to_assigned_ms: int = 0
    assigned_to_picked_up_ms: int = 0
    arrivals: int = 0
    picked_up_to_arrived_ms: int = 0
    arrived_to_completed_ms: int = 0
    placed_to_completed_ms: int = 0
    promised: int = 0
    lateness_ms: int = 0
    late: int = 0
    etas: int = 0
    eta_error_ms: int = 0
    eta_abs_error_ms: int = 0
    beyond_p90: int = 0


class OutcomeChange(NamedTuple):
    """What an event adds to one hour (of effective time), one restaurant's place, and one rider, if there is one."""

    hour: int
    place: str
    rider_id: str | None
    sums: OutcomeSums


class OrderTimes(NamedTuple):
    """Effective times of one order's stages in epoch milliseconds; None: not reached, or undone by an unassignment."""

    placed_ms: int
    assigned_ms: int | None
    picked_up_ms: int | None
    arrived_ms: int | None
    ended_ms: int


UNASSIGNED = OutcomeSums(unassigned=1)


def of_cancelled(times: OrderTimes) -> OutcomeSums:
    return OutcomeSums(cancelled=1, cancelled_picked_up=int(times.picked_up_ms is not None))


def of_completed(times: OrderTimes, promised_seconds: int | None, eta: FirstEta | None) -> OutcomeSums:
    """A stage has at least 0 ms, even if the clocks of two phones disagree, or a phone was offline."""
    duration_ms = _between(times.placed_ms, times.ended_ms)
    has_arrived = times.arrived_ms is not None
    lateness_ms = 0 if promised_seconds is None else duration_ms - 1_000 * promised_seconds
    error_ms = 0 if eta is None else times.ended_ms - eta.at_ms - eta.p50_ms
    return OutcomeSums(
        completed=1,
        placed_to_assigned_ms=_between(times.placed_ms, times.assigned_ms),
        assigned_to_picked_up_ms=_between(times.assigned_ms, times.picked_up_ms),
        arrivals=int(has_arrived),
        picked_up_to_arrived_ms=_between(times.picked_up_ms, times.arrived_ms) if has_arrived else 0,
        arrived_to_completed_ms=_between(times.arrived_ms, times.ended_ms),
        placed_to_completed_ms=duration_ms,
        promised=int(promised_seconds is not None),
        lateness_ms=lateness_ms,
        late=int(lateness_ms > 0),
        etas=int(eta is not None),
        eta_error_ms=error_ms,
        eta_abs_error_ms=abs(error_ms),
        beyond_p90=int(eta is not None and times.ended_ms > eta.at_ms + eta.p90_ms),
    )


def difference(before: OutcomeChange | None, after: OutcomeChange | None) -> list[OutcomeChange]:
    """The changes that turn what ``before`` added into what ``after`` adds; nothing if they are equal."""
    if before == after:
        return []
    if before is None or after is None or before[:3] != after[:3]:
        undone = [] if before is None else [before._replace(sums=_minus(OutcomeSums(), before.sums))]
        return undone + ([] if after is None else [after])
    return [after._replace(sums=_minus(after.sums, before.sums))]


def place_id(latitude: float, longitude: float) -> str:
    """The place of a restaurant: latitude and longitude, rounded down to 10⁻⁴ degrees, such as ``52.5200,13.4049``."""
    return f"{_degrees_e4(latitude)},{_degrees_e4(longitude)}"


def _degrees_e4(degrees: float) -> str:
    # Through whole 10⁻⁷ degrees, as fixes are kept: 13.4049 as a double is just below itself times 10⁴.
    value = round(degrees * 10_000_000) // 1_000
    whole, part = divmod(abs(value), PLACE_E4)
    return f"{'-' if value < 0 else ''}{whole}.{part:04}"


def _between(start_ms: int | None, end_ms: int | None) -> int:
    return 0 if start_ms is None or end_ms is None else max(0, end_ms - start_ms)


def _minus(a: OutcomeSums, b: OutcomeSums) -> OutcomeSums:
    return OutcomeSums._make(x - y for x, y in zip(a, b, strict=True))
