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
from tempfile import TemporaryDirectory

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.eta_backfilled import walk_backfilled
from benchmarks.eta_errors import Errors, band_hour_day, errors, metres_left, predicted, straight_line, table
from benchmarks.eta_fit import CHOSEN, choose, fit
from benchmarks.eta_leave_out import WITHOUT, LeaveOut
from benchmarks.eta_walk import PINGS, Sample, read_pings, read_trips, walk
from domain.features.eta.baseline import Baseline, BaselineConstants
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles

SHOWN_BANDS_M = (1_000, 2_000, 5_000, 10_000)
LEAVE_OUT_PARTS = 4


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


def collect(folder: Path, *, backfilled: bool = False, most_pings: int | None = None) -> list[Sample]:
    """The samples of all plausible trips, in the order of the log; ``backfilled``: through an embedded Postgres.

    ``most_pings``: of the first so many pings alone.
    """
    trips, pings = read_trips(folder), read_pings(folder)[:most_pings]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    samples = []
    with TemporaryDirectory() as data, Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("pings", total=len(pings))
        for number, sample in walk_backfilled(Path(data), pings, trips) if backfilled else walk(pings, trips):
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
        "by straight distance", medians, samples, lambda s: bisect_right(SHOWN_BANDS_M, metres_left(s)), _band
    )
    yield from _grouped(
        "by local hour", medians, samples, lambda s: band_hour_day(s)[1] // 3, lambda n: f"{3 * n:02}–{3 * n + 3:02} h"
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
    by_day = left_out(samples, lambda sample: band_hour_day(sample)[2])
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
    days = sorted({band_hour_day(sample)[2] for sample in samples})
    origin["samples"] = f"{len(samples)} pings of {len({s.trip.trip_id for s in samples})} trips on {len(days)} days"
    return json.dumps({"origin": origin, "constants": model.constants._asdict()}, indent=2, ensure_ascii=False) + "\n"


PATH_OF_ORIGIN = Path(__file__).resolve().parents[1] / "domain" / "features" / "eta" / "baseline.json"


def main(arguments: Sequence[str] = ()) -> int:
    """Run the walk and print the tables. Exit code 2 without the data, 1 if the log and the memory differ."""
    parser = argparse.ArgumentParser(description="The error of the ETA on real taxi trips.")
    parser.add_argument("--fit", type=Path, metavar="FILE", help="learn the constants from all samples, and write them")
    parser.add_argument(
        "--leave-out", action="store_true", help="also learn the constants without what they are tested on"
    )
    parser.add_argument(
        "--backfill",
        action="store_true",
        help="record the trips in an embedded Postgres, walk that log, and compare it with the walk in memory",
    )
    parser.add_argument("--pings", type=int, metavar="N", help="walk the first N pings alone")
    parser.add_argument(
        "--halves", action="store_true", help="choose the constants on one half of the taxis, and show the other half"
    )
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("RIDELOG_GPS_DATA", ""))
    if not os.environ.get("RIDELOG_GPS_DATA") or not (folder / PINGS).exists():
        sys.stderr.write(f"RIDELOG_GPS_DATA does not name a folder with {PINGS}: see docs/eta.md\n")
        return 2
    samples = collect(folder, backfilled=options.backfill, most_pings=options.pings)
    if options.backfill:
        in_memory = collect(folder, most_pings=options.pings)
        equal = sum(ours == theirs for ours, theirs in zip(samples, in_memory, strict=True))
        print(f"{equal} of {len(samples)} samples of the log equal those of the walk in memory", flush=True)
        if equal < len(samples):
            return 1
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
