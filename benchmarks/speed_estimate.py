"""The cost of the robust speed of a full window, which is computed at each read: microseconds per call."""

from __future__ import annotations

import random
import timeit
from collections.abc import Callable, Sequence

from benchmarks.support import START_MS, report
from domain.features.speed.estimate import explain, robust_speed_mps
from domain.features.speed.path import path_speed_mps
from domain.features.speed.window import WINDOW_PINGS, WindowPing

CALLS = 2_000
REPEATS = 7


def ride(speed_mps: float, accuracy_m: float = 10.0) -> list[WindowPing]:
    """A full window of one ping per 5 s, due north, with independent errors."""
    rng = random.Random(1)
    metre = 1 / 111_195
    sigma = accuracy_m / 1.515 * metre
    return [
        WindowPing(
            START_MS + 5_000 * i,
            f"{i:032x}",
            52.0 + speed_mps * 5 * i * metre + rng.gauss(0, sigma),
            13.0 + rng.gauss(0, 1.6 * sigma),
            accuracy_m,
            None,
        )
        for i in range(WINDOW_PINGS)
    ]


def with_jumps(window: Sequence[WindowPing], degrees: float, *places: int) -> list[WindowPing]:
    return [ping._replace(latitude=ping.latitude + degrees) if i in places else ping for i, ping in enumerate(window)]


def main() -> None:
    parked, moving = ride(0.0), ride(5.0)
    with_detour = with_jumps(moving, 0.0018, 5)
    with_jump = with_jumps(moving, 0.9, 5)
    torn = with_jumps(moving, 0.9, 0, 1, 2, 3, 4)
    cases: dict[str, Callable[[], object]] = {
        "parked": lambda: robust_speed_mps(parked),
        "moving": lambda: robust_speed_mps(moving),
        "moving, with a detour of 200 m": lambda: robust_speed_mps(with_detour),
        "moving, with a jump of 100 km": lambda: robust_speed_mps(with_jump),
        "half of the window 100 km away": lambda: robust_speed_mps(torn),
        "explain": lambda: explain(moving),
        "path speed, for comparison": lambda: path_speed_mps(moving),
    }
    figures = {
        f"{name}, us": min(timeit.repeat(call, number=CALLS, repeat=REPEATS)) / CALLS * 1e6
        for name, call in cases.items()
    }
    report("speed_estimate", figures)


if __name__ == "__main__":
    main()
