"""``make mutants``: mutates the core of projections/ whole and samples of event_store/ and cdc/, and prints the score.

Which files are mutated and which tests are run, pyproject.toml says. docs/mutation.md has the last figures.

python -m tests.support.mutation.run [--again] [--report] [--seed N] [--sample N] [--children N] [--only PATH …]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

from tests.support.mutation.words import wording_mutants
from tests.support.servers.servers import PREPARED_POSTGRES, prepare_postgres

SAMPLED_ROOMS = ("infrastructure/event_store", "infrastructure/cdc")
SEED = 28
SAMPLE = 300
"""Mutants a sampled room."""
SKIPPED = 34
"""mutmut's exit code of a mutant that is not run."""
KILLED, TIMEOUT = "killed", "timeout"


class Mutants(NamedTuple):
    """The mutants of one module: name (without the module) -> mutmut's word for what became of it."""

    path: Path
    statuses: dict[str, str]

    def count(self, *statuses: str) -> int:
        return sum(status in statuses for status in self.statuses.values())


def main() -> int:
    """Exit code 1 where mutmut could not run the tests; survivors do not fail it."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--again", action="store_true", help="run what was not killed once more")
    parser.add_argument("--report", action="store_true", help="run nothing: print what the last run found")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants of each sampled room")
    parser.add_argument("--children", type=int, default=2, help="mutants at a time")
    parser.add_argument("--only", action="append", default=[], help="how a module's path begins; may be given again")
    options = parser.parse_args()
    if not options.report:
        _generate(options.children)
        _choose(options.seed, options.sample, options.again, options.only)
        if not _run(options.children):
            return 1
    _print(_results(options.seed, options.sample))
    return 0


def _run(children: int) -> bool:
    """Run what has no result yet; whether mutmut came to its end."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(children)]
    with tempfile.TemporaryDirectory(prefix="ridelog-mutants-") as prepared:
        # Every mutant is a session of its own, which would make a database server of its own from nothing.
        prepare_postgres(Path(prepared))
        ended = subprocess.run(command, env=os.environ | {PREPARED_POSTGRES: prepared}, check=False)
    return ended.returncode == 0


def _generate(children: int) -> None:
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(children)


def _choose(seed: int, sample: int, again: bool, only: list[str]) -> None:
    """Mark what is not to run as skipped, for mutmut runs every mutant that has no result."""
    chosen = _chosen(seed, sample)
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for key, code in data.exit_code_by_key.items():
            if key not in chosen:
                data.exit_code_by_key[key] = SKIPPED
            elif code == SKIPPED or (again and status_by_exit_code[code] not in (KILLED, TIMEOUT)):
                data.exit_code_by_key[key] = None
            if data.exit_code_by_key[key] is None and only and not str(path).startswith(tuple(only)):
                data.exit_code_by_key[key] = SKIPPED
        data.save()


def _chosen(seed: int, sample: int) -> set[str]:
    """Every mutant of the core and ``sample`` of each sampled room, without those that change only words."""
    chosen: set[str] = set()
    by_room: dict[str, list[str]] = {room: [] for room in SAMPLED_ROOMS}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        words = wording_mutants(Path("mutants") / path)
        keys = [key for key in data.exit_code_by_key if key.rpartition(".")[2] not in words]
        room = str(path.parent)
        if room in by_room:
            by_room[room] += keys
        else:
            chosen.update(keys)
    for keys in by_room.values():
        chosen.update(random.Random(seed).sample(sorted(keys), min(sample, len(keys))))
    return chosen


def _results(seed: int, sample: int) -> list[Mutants]:
    chosen = _chosen(seed, sample)
    found = []
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        statuses = {k: status_by_exit_code[code] for k, code in data.exit_code_by_key.items() if k in chosen}
        if statuses:
            found.append(Mutants(path, statuses))
    return found


def _print(found: Iterable[Mutants]) -> None:
    totals: dict[str, Counter[str]] = {}
    lines = []
    survivors = []
    for module in found:
        totals.setdefault(str(module.path.parent), Counter()).update(module.statuses.values())
        lines.append(_line(str(module.path), Counter(module.statuses.values())))
        survivors += [
            f"{name}: {status}" for name, status in module.statuses.items() if status not in (KILLED, TIMEOUT)
        ]
    heading = f"{'':44}{'mutants':>8}{'killed':>8}{'timeout':>8}{'survived':>9}{'no test':>8}{'other':>7}{'score':>8}"
    summary = [_line(room, counts) for room, counts in totals.items()]
    print("\n".join([*survivors, "", heading, *lines, "", *summary]))


def _line(name: str, counts: Counter[str]) -> str:
    total = counts.total()
    shown = [counts[status] for status in (KILLED, TIMEOUT, "survived", "no tests")]
    killed, timeout, survived, untested = shown
    score = 100 * (killed + timeout) / total
    return f"{name:44}{total:8}{killed:8}{timeout:8}{survived:9}{untested:8}{total - sum(shown):7}{score:7.1f}%"


if __name__ == "__main__":
    sys.exit(main())
