"""``make mutants``: mutates the core of projections/ whole and samples of event_store/ and cdc/, and prints the score.

Which files are mutated and which tests are run, pyproject.toml says. docs/mutation.md has the last figures.

python -m tests.support.mutation.run [--again] [--report] [--seed N] [--sample N] [--children N] [--budget S]
                                     [--only PATH …] [--tests PATH …]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.tansu import Tansu
from tests.support.mutation.session import JOB, Job
from tests.support.mutation.words import wording_mutants
from tests.support.servers.servers import SHARED_KAFKA, SHARED_POSTGRES, UNDURABLE, make_template, running

SAMPLED_ROOMS = ("infrastructure/event_store", "infrastructure/cdc")
SEED = 28
SAMPLE = 300
"""Mutants a sampled room."""
SKIPPED = 34
"""mutmut's exit code of a mutant that is not run."""
KILLED, TIMEOUT = "killed", "timeout"
QUICK = ("--rootdir=.", "-q", "-s", "--assert=plain", "--tb=native")
"""Options of pytest. To describe a failure in full would take longer than most tests."""
PLUGINS = ("no:cacheprovider", "no:randomly", "tests.support.mutation.plugin", "tests.support.mutation.session")


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
    parser.add_argument("--budget", type=float, default=60.0, help="CPU seconds of the tests run against one mutant")
    parser.add_argument("--tests", action="append", default=[], help="only these tests; may be given again")
    parser.add_argument("--only", action="append", default=[], help="how a module's path begins; may be given again")
    options = parser.parse_args()
    if not options.report:
        _generate(options.children)
        _choose(options.seed, options.sample, options.again, options.only)
        if not _run(options):
            return 1
    _print(_results(options.seed, options.sample))
    return 0


def _run(options: argparse.Namespace) -> bool:
    """Run what has no result yet; whether pytest came to its end."""
    mutants = Path("mutants").resolve()
    verdicts, job = mutants / "verdicts.jsonl", mutants / "job.json"
    verdicts.unlink(missing_ok=True)
    wanted = Job(
        mutants=_without_result(options.only),
        measurements=str(mutants / "measurements.jsonl"),
        verdicts=str(verdicts),
        core="projections.",
        integration="tests/integration/",
        unit="tests/unit/",
        budget_s=options.budget,
        children=options.children,
    )
    job.write_text(json.dumps(wanted._asdict()), encoding="utf-8")
    tests = options.tests or config().pytest_add_cli_args_test_selection
    plugins = [argument for name in PLUGINS for argument in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *QUICK, *plugins, *tests]
    with tempfile.TemporaryDirectory(prefix="ridelog-mutants-") as folder:
        # Every mutant is a session of its own. Servers of its own would take most of its time.
        servers = Path(folder)
        with running(Postgres(servers, UNDURABLE)) as database, running(Tansu(servers)) as broker:
            make_template(database)
            shared = {SHARED_POSTGRES: folder, SHARED_KAFKA: str(broker.port)}
            environment = os.environ | shared | {JOB: str(job), "PY_IGNORE_IMPORTMISMATCH": "1"}
            ended = subprocess.run(command, cwd=mutants, env=environment, check=False)
    _take_over(verdicts)
    return ended.returncode in {0, 5}


def _without_result(only: Sequence[str]) -> list[str]:
    """The chosen mutants, in the order of ``only``."""
    found = []
    for prefix in only or ("",):
        for path in sorted(walk_mutatable_files()):
            data = SourceFileMutationData(path=path)
            data.load()
            if str(path).startswith(prefix):
                found += [key for key, code in data.exit_code_by_key.items() if code is None]
    return list(dict.fromkeys(found))


def _take_over(verdicts: Path) -> None:
    """Store the verdicts of the session as mutmut stores its own."""
    lines = verdicts.read_text(encoding="utf-8").splitlines() if verdicts.exists() else []
    codes = {found["mutant"]: found["code"] for found in map(json.loads, lines)}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        data.exit_code_by_key = {key: codes.get(key, code) for key, code in data.exit_code_by_key.items()}
        data.save()


def _generate(children: int) -> None:
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(children)


def _choose(seed: int, sample: int, again: bool, only: list[str]) -> None:
    """Mark what is not chosen as skipped; with ``again``, forget the results of what was not killed."""
    chosen, killed = _chosen(seed, sample), (KILLED, TIMEOUT)
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for key, code in data.exit_code_by_key.items():
            if key not in chosen:
                data.exit_code_by_key[key] = SKIPPED
            elif code == SKIPPED or (again and status_by_exit_code[code] not in killed and _is_under(path, only)):
                data.exit_code_by_key[key] = None
        data.save()


def _is_under(path: Path, only: Sequence[str]) -> bool:
    return not only or str(path).startswith(tuple(only))


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
