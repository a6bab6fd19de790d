"""Recall and precision of spoofing alerts: python -m benchmarks.spoofing_attacks; RIDELOG_GPS_DATA names the tracks.

Six attacks are injected into pieces of real tracks, each at several strengths, seeded (``spoofing_forgers``). Each
piece has a leg and an earlier day before it. In each of ten rounds another tenth of the pieces is attacked, so every
piece is attacked once and honest nine times. docs/fraud.md has the results, and what a perfect forger hides.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.spoofing_files import read_gps
from benchmarks.spoofing_forgers import ATTACKS, Attack
from benchmarks.spoofing_pieces import Day, Piece, events_of_day, honest_days, pieces_of
from domain.features.case_file import CaseFile
from domain.features.spoofing.fold import fold
from domain.features.spoofing.state import EMPTY
from infrastructure.errors import UserError

FILES = ("mobilitynet_trips.csv.gz", "dublin_ebike_escooter.csv.gz")
ROUNDS = 10
MIN_RECALL, MIN_PRECISION = 0.95, 0.99
SEED = 16


class Trial(NamedTuple):
    """The results of one attack at one strength. ``missed``: names of the pieces without an alert."""

    strength: float
    attacked: int
    found: int
    false: int
    honest: int
    missed: tuple[str, ...]
    signals: Counter[str]

    @property
    def recall(self) -> float:
        return self.found / self.attacked if self.attacked else 0.0

    @property
    def precision(self) -> float:
        # Each piece is attacked in one round and honest in the others.
        false = self.false * (ROUNDS - 1)
        return self.found / (self.found + false) if self.found + false else 1.0


def alerts_of(day: Day) -> dict[str, CaseFile]:
    """The alerts of a day, by id."""
    state, alerts = EMPTY, {}
    for event in events_of_day(day):
        state = fold(state, event)
        if state.alert is not None:
            alerts[state.alert.alert_id] = state.alert
    return alerts


def trial(attack: Attack, strength: float, days: Sequence[tuple[Piece, Day]], false: set[str]) -> Trial:
    found, missed, attacked = 0, [], 0
    signals: Counter[str] = Counter()
    for piece, day in days:
        if attack.needs_speed and not piece.reports_speed:
            continue
        chance = random.Random(f"{SEED} {attack.name} {strength} {piece.name}")
        forged = attack.forge(day, strength, chance)
        if forged is None:
            continue
        alerts = alerts_of(forged)
        attacked += 1
        found += bool(alerts)
        signals.update({signal.name for case in alerts.values() for signal in case.signals})
        if not alerts:
            missed.append(piece.name)
    return Trial(strength, attacked, found, len(false), len(days), tuple(missed), signals)


def lines(attack: Attack, trials: Sequence[Trial], list_missed: bool) -> list[str]:
    phones = "phones that report their speed" if attack.needs_speed else "all phones"
    shown = [f"{attack.name} ({phones}); gains from {attack.gains_from:g} {attack.unit}: {attack.reason}"]
    for one in trials:
        names = ", ".join(f"{name} {count}" for name, count in sorted(one.signals.items()))
        mark = " <- gains" if one.strength >= attack.gains_from and attack.name != "replay" else ""
        shown.append(
            f"  {one.strength:>6g} {attack.unit:<10} recall {one.recall:.3f} ({one.found} of {one.attacked}), "
            f"precision {one.precision:.3f}{mark}; {names}"
        )
        if list_missed and one.missed:
            shown.append("      missed: " + "; ".join(one.missed))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[attack.name for attack in ATTACKS])
    parser.add_argument("--every", type=int, default=1, help="use every so many pieces")
    parser.add_argument("--missed", action="store_true", help="print the pieces without an alert")
    options = parser.parse_args(arguments)
    folder = os.environ.get("RIDELOG_GPS_DATA")
    if not folder:
        sys.stderr.write("set RIDELOG_GPS_DATA to the folder with the real tracks\n")
        return 2
    try:
        files = [read_gps(Path(folder) / name) for name in FILES]
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    days = honest_days(pieces_of(files))[:: options.every]
    false = {piece.name for piece, day in days if alerts_of(day)}
    print(f"{len(days)} pieces, {sum(piece.reports_speed for piece, _ in days)} of phones that report their speed")
    print(f"honest: {len(false)} with an alert {sorted(false) or ''}")
    passed = True
    for attack in ATTACKS:
        if options.only and attack.name not in options.only:
            continue
        trials = [trial(attack, strength, days, false) for strength in attack.strengths]
        print("\n".join(lines(attack, trials, options.missed)))
        passed &= all(is_enough(attack, one) for one in trials)
    return 0 if passed else 1


def is_enough(attack: Attack, one: Trial) -> bool:
    """Whether a trial reaches the target, or gains the rider nothing."""
    gains = one.strength == 0 if attack.name == "replay" else one.strength >= attack.gains_from
    return not gains or (one.recall >= MIN_RECALL and one.precision >= MIN_PRECISION)


if __name__ == "__main__":
    sys.exit(main())
