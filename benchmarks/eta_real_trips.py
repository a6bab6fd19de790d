"""The error of the ETA on real taxi trips: python -m benchmarks.eta_real_trips; RIDELOG_GPS_DATA names their folder.

At every ping of a plausible trip the ETA is computed by the features and the baseline that serve it, and compared with
the true drop-off. Beside it: the straight line at a constant speed, and a table distance band by hour learned from
other days. ``--leave-out`` also learns the constants of the baseline without the taxis, and without the days, that it
is then tested on. ``--fit FILE`` learns them from all samples. docs/eta.md has the results.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.eta_fit import CHOSEN, choose, fit
from benchmarks.eta_leave_out import WITHOUT, LeaveOut
from benchmarks.eta_walk import PINGS, Sample, read_pings, read_trips, walk
from domain.features.eta.baseline import Baseline, BaselineConstants, EtaQuantiles
from domain.features.eta.packaged import packaged_baseline

CONSTANT_MPS = 4.77
"""The straight-line speed that the data's own description gives."""

TABLE_BANDS_M = (
    250,
    500,
    750,
    1_000,
    1_500,
    2_000,
    2_500,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000,
    10_000,
    13_000,
    16_000,
    20_000,
)
TABLE_MIN_SAMPLES = 20
"""A cell of the table with fewer samples is that of its band over all hours."""

SHOWN_BANDS_M = (1_000, 2_000, 5_000, 10_000)
LEAVE_OUT_PARTS = 4
LOCAL_MS = -7 * 3_600_000
"""Pacific daylight time, in which the days of the table are counted."""


class Errors(NamedTuple):
    """Seconds, estimate − truth; shares of 1."""

    samples: int
    mae: float
    median: float
    p90: float
    bias: float
    within_2_min: float
    within_5_min: float


def errors(estimates: Sequence[float], samples: Sequence[Sample]) -> Errors:
    signed = [estimate - sample.true_s for estimate, sample in zip(estimates, samples, strict=True)]
    sizes = sorted(abs(error) for error in signed)
    count = len(sizes)
    if not count:
        return Errors(0, *[float("nan")] * 6)
    return Errors(
        count,
        sum(sizes) / count,
        sizes[count // 2],
        sizes[min(count - 1, int(count * 0.9))],
        sum(signed) / count,
        bisect_right(sizes, 120.0) / count,
        bisect_right(sizes, 300.0) / count,
    )


def straight_line(samples: Sequence[Sample]) -> list[float]:
    return [_metres(sample) / CONSTANT_MPS for sample in samples]


def table(samples: Sequence[Sample]) -> list[float]:
    """The median by distance band and hour of all other days; of the band if that has few samples."""
    by_cell: defaultdict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    by_band: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for sample in samples:
        band, hour, day = _place(sample)
        by_cell[band, hour].append((day, sample.true_s))
        by_band[band].append((day, sample.true_s))
    learned: dict[tuple[int, int, int], float] = {}
    found = []
    for sample in samples:
        band, hour, day = place = _place(sample)
        if place not in learned:
            others = [true_s for on, true_s in by_cell[band, hour] if on != day]
            if len(others) < TABLE_MIN_SAMPLES:
                others = [true_s for on, true_s in by_band[band] if on != day]
            learned[place] = median(others) if others else _metres(sample) / CONSTANT_MPS
        found.append(learned[place])
    return found


def _place(sample: Sample) -> tuple[int, int, int]:
    """Distance band, local hour, local day."""
    local_ms = sample.t_ms + LOCAL_MS
    return bisect_right(TABLE_BANDS_M, _metres(sample)), local_ms // 3_600_000 % 24, local_ms // 86_400_000


def _metres(sample: Sample) -> float:
    return sample.reading.features.rider_to_customer_m or 0.0


def predicted(model: Baseline, samples: Sequence[Sample]) -> list[EtaQuantiles]:
    return [model.predict(sample.reading.features, sample.reading.way) for sample in samples]


# Leaving out


def left_out(samples: Sequence[Sample], part_of: Callable[[Sample], int]) -> list[float]:
    """The median of each sample by a baseline that was learned from the samples of all other parts."""
    parts = [part_of(sample) for sample in samples]
    found = [0.0] * len(samples)
    for part in sorted(set(parts)):
        training = [sample for sample, own in zip(samples, parts, strict=True) if own != part]
        model = Baseline(fit(training)).without_hand_over()
        for index, sample in enumerate(samples):
            if parts[index] == part:
                found[index] = model.predict(sample.reading.features, sample.reading.way).p50_s
    return found


def _changed(change: LeaveOut, sample: Sample) -> Sample:
    return sample._replace(reading=change(sample.reading))


# The run


def collect(folder: Path) -> list[Sample]:
    """The samples of all plausible trips, in the order of the log."""
    trips, pings = read_trips(folder), read_pings(folder)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    samples = []
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("pings", total=len(pings))
        for number, sample in walk(pings, trips):
            if sample is not None:
                samples.append(sample)
            if number % 1_000 == 0 or number == len(pings):
                progress.update(task, completed=number)
    return samples


def lines(samples: Sequence[Sample], model: Baseline) -> Iterator[str]:
    quantiles = predicted(model, samples)
    medians = [each.p50_s for each in quantiles]
    yield f"{'':50}{'pings':>8}{'MAE':>8}{'median':>8}{'P90':>8}{'bias':>8}{'±2 min':>8}{'±5 min':>8}"
    yield _line("straight line at 4.77 m/s", errors(straight_line(samples), samples))
    of_table = errors(table(samples), samples)
    yield _line("table: distance band × hour of other days", of_table)
    own = errors(medians, samples)
    yield _line("ETA: the baseline", own)
    yield f"ETA against the table: MAE {own.mae / of_table.mae - 1:+.1%}, P90 {own.p90 / of_table.p90 - 1:+.1%}"
    covered = [
        sum(sample.true_s <= getattr(each, name) for each, sample in zip(quantiles, samples, strict=True))
        / len(samples)
        for name in EtaQuantiles._fields
    ]
    yield f"truth at most P50: {covered[0]:.1%}; at most P90: {covered[1]:.1%}"
    yield ""
    yield from _grouped(
        "by straight distance", medians, samples, lambda s: bisect_right(SHOWN_BANDS_M, _metres(s)), _band
    )
    yield from _grouped(
        "by local hour", medians, samples, lambda s: _place(s)[1] // 3, lambda n: f"{3 * n:02}–{3 * n + 3:02} h"
    )
    yield from _grouped("by leg", medians, samples, lambda s: s.reading.features.leg == "at_customer", _leg)
    yield "worth of a feature: the ETA when it is unknown"
    for name, change in WITHOUT.items():
        without = [each.p50_s for each in predicted(model, [_changed(change, sample) for sample in samples])]
        yield _line(f"  without {name}", errors(without, samples))


def _grouped(
    title: str,
    medians: Sequence[float],
    samples: Sequence[Sample],
    group_of: Callable[[Sample], int],
    name_of: Callable[[int], str],
) -> Iterator[str]:
    yield title
    groups: defaultdict[int, list[tuple[float, Sample]]] = defaultdict(list)
    for estimate, sample in zip(medians, samples, strict=True):
        groups[group_of(sample)].append((estimate, sample))
    for group, members in sorted(groups.items()):
        yield _line(f"  {name_of(group)}", errors([each for each, _ in members], [sample for _, sample in members]))
    yield ""


def _band(number: int) -> str:
    edges = (0, *SHOWN_BANDS_M)
    return f"from {edges[number] / 1_000:g} km"


def _leg(at_customer: int) -> str:
    return "at_customer" if at_customer else "to_customer"


def _line(name: str, found: Errors) -> str:
    seconds = f"{found.mae:8.1f}{found.median:8.1f}{found.p90:8.1f}{found.bias:8.1f}"
    return f"{name:50}{found.samples:8}{seconds}{found.within_2_min:8.1%}{found.within_5_min:8.1%}"


def _leave_out_lines(samples: Sequence[Sample]) -> Iterator[str]:
    riders = sorted({sample.trip.rider_id for sample in samples})
    of_rider = {rider: number % LEAVE_OUT_PARTS for number, rider in enumerate(riders)}
    by_taxi = left_out(samples, lambda sample: of_rider[sample.trip.rider_id])
    yield _line("constants learned from other taxis", errors(by_taxi, samples))
    by_day = left_out(samples, lambda sample: _place(sample)[2])
    yield _line("constants learned from other days", errors(by_day, samples))


def _halves_lines(samples: Sequence[Sample]) -> Iterator[str]:
    """Choose and learn on one half of the taxis, and show the other half."""
    riders = sorted({sample.trip.rider_id for sample in samples})
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    half_of = {rider: number % 2 for number, rider in enumerate(riders)}
    for sample in samples:
        halves[half_of[sample.trip.rider_id]].append(sample)
    chosen_on, shown = halves

    def mae(constants: BaselineConstants) -> float:
        model = Baseline(constants).without_hand_over()
        return errors([each.p50_s for each in predicted(model, chosen_on)], chosen_on).mae

    choice = choose(chosen_on, mae)
    model = Baseline(fit(chosen_on, choice)).without_hand_over()
    yield ""
    yield f"chosen on {(len(riders) + 1) // 2} of {len(riders)} taxis: {choice}" + (
        "" if choice == CHOSEN else f", not {CHOSEN}, which is shipped"
    )
    yield _line("those taxis: the baseline", errors([each.p50_s for each in predicted(model, chosen_on)], chosen_on))
    yield _line("the other taxis: table of other days", errors(table(shown), shown))
    yield _line("the other taxis: the baseline", errors([each.p50_s for each in predicted(model, shown)], shown))


def constants_file(model: Baseline, samples: Sequence[Sample]) -> str:
    """The text of ``baseline.json``: the constants with their origin."""
    origin = json.loads(PATH_OF_ORIGIN.read_text(encoding="utf-8"))["origin"] if PATH_OF_ORIGIN.exists() else {}
    days = sorted({_place(sample)[2] for sample in samples})
    origin["samples"] = f"{len(samples)} pings of {len({s.trip.trip_id for s in samples})} trips on {len(days)} days"
    return json.dumps({"origin": origin, "constants": model.constants._asdict()}, indent=2, ensure_ascii=False) + "\n"


PATH_OF_ORIGIN = Path(__file__).resolve().parents[1] / "domain" / "features" / "eta" / "baseline.json"


def main(arguments: Sequence[str] = ()) -> int:
    """Run the walk and print the tables. Exit code 2 without the data."""
    parser = argparse.ArgumentParser(description="The error of the ETA on real taxi trips.")
    parser.add_argument("--fit", type=Path, metavar="FILE", help="learn the constants from all samples, and write them")
    parser.add_argument(
        "--leave-out", action="store_true", help="also learn the constants without what they are tested on"
    )
    parser.add_argument(
        "--halves", action="store_true", help="choose the constants on one half of the taxis, and show the other half"
    )
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("RIDELOG_GPS_DATA", ""))
    if not os.environ.get("RIDELOG_GPS_DATA") or not (folder / PINGS).exists():
        sys.stderr.write(f"RIDELOG_GPS_DATA does not name a folder with {PINGS}: see docs/eta.md\n")
        return 2
    samples = collect(folder)
    if options.fit is not None:
        options.fit.write_text(constants_file(Baseline(fit(samples)), samples), encoding="utf-8")
        model = Baseline.from_json(options.fit.read_text(encoding="utf-8"))
    else:
        model = packaged_baseline()
    for line in lines(samples, model.without_hand_over()):
        print(line)
    if options.leave_out:
        for line in _leave_out_lines(samples):
            print(line, flush=True)
    if options.halves:
        for line in _halves_lines(samples):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
