"""Spoofing alerts on recorded tracks: python -m benchmarks.spoofing FILES…, or python benchmarks/spoofing.py FILES…

Runs the fold of the projection ``spoofing`` over CSV files of pings, with the columns that import-pings reads, or those
of the real data (docs/development.md). Without files: all pings in the folder RIDELOG_GPS_DATA. Prints, for each file
and for all, the alerts per 100,000 pings and the signals by name; ``--list`` prints each signal. docs/fraud.md has the
results.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

if not __package__:
    # Run by its path: Python has put the folder benchmarks on the search path instead of the repository.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.spoofing_files import RIDER_COLUMNS, GpsFile, events_of, read_gps
from domain.features.case_file import CaseFile, Signal, case_of
from domain.features.spoofing.fold import fold
from domain.features.spoofing.state import EMPTY
from infrastructure.errors import UserError

TARGET = 1.0
"""Alerts per 100,000 pings of honest phones."""

PING_FILES = (
    "mobilitynet_trips.csv.gz",
    "dublin_ebike_escooter.csv.gz",
    "sf_taxi_pings.csv.gz",
    "teleports_labelled_case1.csv.gz",
)


class Detections(NamedTuple):
    """What the fold found in some pings: alerts by id, with their last file, and signals, each once."""

    pings: int
    alerts: dict[str, CaseFile]
    signals: list[tuple[str, Signal]]
    cpu_s: float

    @property
    def per_100_000(self) -> float:
        return 100_000 * len(self.alerts) / self.pings if self.pings else 0.0

    def by_name(self) -> Counter[str]:
        return Counter(signal.name for _, signal in self.signals)


def detect(file: GpsFile) -> Detections:
    """Run the fold over each rider of a file."""
    alerts: dict[str, CaseFile] = {}
    signals: dict[tuple[str, str, str], tuple[str, Signal]] = {}
    cpu_s = 0.0
    for rider_id, records in file.riders.items():
        state, case = EMPTY, b""
        events = list(events_of(rider_id, records))
        began = time.process_time()
        for event in events:
            state = fold(state, event)
            if state.case is case:
                continue
            case = state.case
            if not case:
                continue
            for signal in case_of(case).signals:
                signals[rider_id, signal.name, signal.evidence[0]] = rider_id, signal
            if state.alert is not None:
                alerts[state.alert.alert_id] = state.alert
        cpu_s += time.process_time() - began
    return Detections(file.pings, alerts, list(signals.values()), cpu_s)


def merged(found: Sequence[Detections]) -> Detections:
    alerts = {alert_id: case for one in found for alert_id, case in one.alerts.items()}
    signals = [signal for one in found for signal in one.signals]
    return Detections(sum(one.pings for one in found), alerts, signals, sum(one.cpu_s for one in found))


def line(name: str, found: Detections, rejected: int = 0) -> str:
    names = ", ".join(f"{name} {count}" for name, count in sorted(found.by_name().items())) or "none"
    cpu_us = found.cpu_s / max(1, found.pings) * 1e6
    return (
        f"{name}: {found.pings:,} pings ({rejected:,} rejected), {len(found.alerts)} alerts, "
        f"{found.per_100_000:.2f} per 100,000; signals: {names}; {cpu_us:.1f} us a ping"
    )


def listed(found: Detections) -> list[str]:
    rows = [
        f"  {rider_id}: {signal.name}, "
        + ", ".join(f"{name} {value}" for name, value in signal.measured)
        + f", evidence from {signal.evidence[0]}"
        for rider_id, signal in found.signals
    ]
    return rows + [
        f"  ALERT {case.alert_id} of {case.rider_id}: score {case.score}, "
        + ", ".join(sorted({signal.name for signal in case.signals}))
        for case in found.alerts.values()
    ]


def files_of(named: Sequence[str]) -> list[Path]:
    """The files to read. Raises UserError if none are named and the folder of the real data is not set."""
    if named:
        return [Path(name) for name in named]
    folder = os.environ.get("RIDELOG_GPS_DATA")
    if not folder:
        raise UserError("name files, or set RIDELOG_GPS_DATA to the folder with the real tracks")
    return [Path(folder) / name for name in PING_FILES]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--rider-column", help=f"default: the first of {', '.join(RIDER_COLUMNS)}")
    parser.add_argument("--list", action="store_true", help="print each signal and each alert")
    options = parser.parse_args(arguments)
    found = []
    try:
        for path in files_of(options.files):
            file = read_gps(path, options.rider_column)
            found.append(detect(file))
            print(line(path.name, found[-1], file.rejected.total()))
            print("\n".join(listed(found[-1])) if options.list and found[-1].signals else "", end="")
            print() if options.list and found[-1].signals else None
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    whole = merged(found)
    print(line("all files", whole))
    print(f"target: less than {TARGET:g} alerts per 100,000 pings of honest phones")
    return 0 if whole.per_100_000 < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
