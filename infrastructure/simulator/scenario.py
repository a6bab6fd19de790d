"""Everything that determines a simulation: the same scenario gives the same actions. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from infrastructure.simulator.city import City
from infrastructure.simulator.deliveries import Habits
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.gps_noise import NoiseModel

SOURCE = "simulator"


class PhoneModel(NamedTuple):
    """How a phone behaves. Durations are in seconds, as (shortest, longest); rates are per hour.

    ``no_speed_share``: share of the fixes without a speed (11 % on MobilityNet's iPhone).
    ``no_fix``: the phone has no position, as in a tunnel, and records nothing.
    ``offline``: fixes and commands are kept and sent when the phone is online again.
    ``repeat_share`` of the requests are sent again ``repeat_after_s`` later, as after a lost answer.
    """

    every_s: float = 5.0
    jitter_share: float = 0.02
    upload_s: tuple[float, float] = (0.05, 0.4)
    no_speed_share: float = 0.1
    no_fix_per_hour: float = 6.0
    no_fix_s: tuple[float, float] = (10.0, 60.0)
    offline_per_hour: float = 4.0
    offline_s: tuple[float, float] = (20.0, 180.0)
    repeat_share: float = 0.01
    repeat_after_s: tuple[float, float] = (1.0, 10.0)


class Scenario(NamedTuple):
    """``start_ms`` is second 0 in epoch milliseconds; ``duration_s`` may be inf.

    ``shifts``: riders work eight hours on most days; else all of them work from beginning to end.
    """

    seed: str
    start_ms: int
    duration_s: float
    riders: int = 20
    city: City = City()
    noise: NoiseModel = NoiseModel()
    phone: PhoneModel = PhoneModel()
    demand: Demand = Demand()
    habits: Habits = Habits()
    shifts: bool = False

    def ms(self, at_s: float) -> int:
        """Epoch milliseconds of a second of the simulation."""
        return self.start_ms + round(at_s * 1000.0)


def rider_ids(riders: int) -> list[str]:
    """``rider-0001``, ``rider-0002``, …"""
    return [f"rider-{number:04}" for number in range(1, riders + 1)]


class Shift(NamedTuple):
    """A rider works from ``begins_s`` to ``ends_s``, both in seconds since the start."""

    begins_s: float
    ends_s: float


SHIFT_HOURS = 8
SHIFT_BEGINS = (8, 10, 11, 12, 12, 13, 15, 16, 17, 18, 18, 19)
"""Hours of local time at which shifts begin, each as likely as another: most cover the dinner."""

WORKDAY_SHARE = 5 / 7
SHIFT_JITTER_S = 900.0


def shifts_of(rider_id: str, scenario: Scenario) -> Iterator[Shift]:
    """The rider's shifts in order of time, cut to the simulation; they never overlap."""
    if not scenario.shifts:
        yield Shift(0.0, scenario.duration_s)
        return
    chance = Random(f"{scenario.seed}/{rider_id}/shifts")
    zone = ZoneInfo(scenario.city.time_zone)
    # A shift that began on the evening before reaches into the first day.
    day = datetime.fromtimestamp(scenario.start_ms / 1000.0, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    day -= timedelta(days=1)
    usual, last_s = chance.choice(SHIFT_BEGINS), 0.0
    while True:
        hour = usual if chance.random() < 0.8 else chance.choice(SHIFT_BEGINS)
        begins_s = day.replace(hour=hour).timestamp() - scenario.start_ms / 1000.0
        begins_s += chance.uniform(-SHIFT_JITTER_S, SHIFT_JITTER_S)
        works = chance.random() < WORKDAY_SHARE
        shift = Shift(max(last_s, begins_s), min(scenario.duration_s, begins_s + SHIFT_HOURS * 3_600.0))
        if shift.begins_s >= scenario.duration_s:
            return
        if works and shift.begins_s < shift.ends_s:
            yield shift
            last_s = shift.ends_s
        day += timedelta(days=1)
