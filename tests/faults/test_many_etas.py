"""Invariants 8 and 17: through kills, a rebuild, other models and a restore, each served ETA is what the log gives."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.features.eta.packaged import packaged_baseline
from infrastructure.postgres.engine import reader_engine
from infrastructure.training_sets.eta_set import EtaSet
from infrastructure.training_sets.train_eta import write_model
from tests.faults.test_parity import PINGS_PER_S, READ_PAUSE_S, parity_line, verify
from tests.faults.test_rebuild_live import rebuild
from tests.support.eta.small_models import digest_in, model_files
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.many_etas import ManyEtas, MovingOrders
from tests.support.worlds.ridelog import Ridelog, ridelog
from tests.support.worlds.served_vectors import check_served_rows
from tests.support.worlds.steady_load import SteadyLoad

ETAS = int(os.environ.get("RIDELOG_TEST_ETAS", "1000000" if whole() else "1000"))
SLOW = model_files("slow", 2.0)
RIDERS = 400 if whole() else 60
MOVE_INTERVAL_S = 0.02 if whole() else 0.05
"""Each move of an order is a transaction of its own. In ``make test`` an order still moves every third second."""
PHASE_S = 600 + ETAS / 50
"""Longer than asking, the audit and the training set take on a machine that is busy with other work."""


@pytest.mark.proof
def test_invariants_8_and_17_whatever_eta_was_served_is_what_the_log_gives(
    record_property: Callable[[str, object], None], tmp_path: Path
) -> None:
    """1,000 answers in ``make test``, a million in ``make prove``; RIDELOG_TEST_ETAS is another number.

    In between: kills, a rebuild and a switch, two changes of the model, restarts, and a log that is restored.
    """
    data, backup, lost = tmp_path / "data", tmp_path / "backup", tmp_path / "lost"
    write_model(tmp_path / "slow", SLOW)
    with served(data) as recorded:
        refused, seconds = ask_through_failures(recorded, tmp_path / "slow")
    # As docs/backup.md says: what is copied is of a server that is stopped.
    copy(data / "postgres", backup)
    with served(data) as recorded:
        before = on_record(recorded)
        ask(recorded, ETAS // 10)
        assert on_record(recorded) > before
    (data / "postgres").rename(lost)
    copy(backup, data / "postgres")
    with served(data) as recorded:
        assert on_record(recorded) == before
        eventually(lambda: is_refolded(recorded), within_s=PHASE_S, every_s=5.0, what="all is refolded")
        assert recorded.cli("models", "roll-back", "--who", "proof").returncode == 0
        of_restored, more_s = ask(recorded, ETAS // 4)
        record_property("asking", f"{ETAS / (seconds + more_s):,.0f} answers/s, {refused + of_restored:,} refused")
        code, found, said = verify(recorded, "eta", timeout_s=PHASE_S)
        assert code == 0, said
        assert found["answers"] == found["verdicts"]["equal"] >= ETAS, found
        line = parity_line(recorded, "eta parity")
        assert (line["advice"], line["state"].partition(" checked, 0 different, ")[1]) == (
            "",
            " checked, 0 different, ",
        )
        record_property("served ETAs", f"{found['answers']:,} checked, 0 different")
        record_property("audit", f"{found['answers_per_second']:,}/s, {found['events_folded']:,} events folded")
        rows, seconds, models = check_training_set(recorded, tmp_path / "set")
        assert rows == found["answers"]
        assert models == {digest_in(SLOW), packaged_baseline().digest}
        record_property("training rows", f"{rows:,} of {found['answers']:,} have the bytes that were served")
        record_property("rate of training rows", f"{rows / seconds:,.0f}/s")


@contextmanager
def served(data: Path) -> Iterator[Ridelog]:
    # More than are ever asked for: a fast machine answers several thousand while the program waits for 1,000.
    with ridelog(data, served_etas_keep=str(1_000_000 + 3 * ETAS)) as recorded:
        yield recorded


def copy(source: Path, target: Path) -> None:
    """Copy the files of a Postgres that is stopped: of a running one they are no backup."""
    assert not (source / "postmaster.pid").exists()
    subprocess.run(["cp", "-a", source, target], check=True)


def is_refolded(recorded: Ridelog) -> bool:
    """The restore was found, and nothing is left that does not match the log."""
    found = json.loads(recorded.cli("restored", "--json").stdout)
    return bool(found["found"]) and not found["left"]


def ask_through_failures(recorded: Ridelog, model: Path) -> tuple[int, float]:
    """Ask for three quarters of ETAS, with kills, a rebuild, a switch and another model in between."""

    def fail(etas: ManyEtas) -> None:
        etas.wait_for(ETAS // 4, PHASE_S)
        for program in ("city", "projections"):
            recorded.kill(program)
        assert recorded.cli("models", "promote", str(model), "--who", "proof").returncode == 0
        etas.wait_for(ETAS // 2, PHASE_S)
        switched = rebuild(recorded, "orders", "--workers", "2")
        assert switched["verdict"] == "switched"
        recorded.kill("api")

    return ask(recorded, 3 * ETAS // 4, fail)


def ask(recorded: Ridelog, count: int, meanwhile: Callable[[ManyEtas], None] = lambda _: None) -> tuple[int, float]:
    """Ask until ``count`` more answers are on record. Returns the refused requests, and the seconds."""
    began, before = time.monotonic(), on_record(recorded)
    riders = [f"eta-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    orders = MovingOrders(recorded, riders, count=RIDERS, interval_s=MOVE_INTERVAL_S)
    etas = ManyEtas(recorded, orders, 18, READ_PAUSE_S)
    with SteadyLoad(recorded, riders, PINGS_PER_S, seed=17) as load, orders, etas:
        meanwhile(etas)
        etas.wait_for(count, PHASE_S)
        # The answers that waited in a killed API, about one second of them, are not recorded.
        eventually(lambda: on_record(recorded) >= before + count, within_s=PHASE_S, every_s=2.0)
    assert load.acknowledged
    return etas.refused, time.monotonic() - began


def check_training_set(recorded: Ridelog, out: Path) -> tuple[int, float, set[str]]:
    """Make the set of all answers.

    Returns how many rows have the bytes that were served, the seconds it took, and the models that had answered.
    """
    began = time.monotonic()
    done = recorded.cli("training-set", "--out", str(out), "--json", timeout_s=PHASE_S)
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["different"], made["undecided"]) == (0, {})
    engine = reader_engine(recorded.info.postgres_url)
    rows = check_served_rows(EtaSet(out).rows(), engine)
    engine.dispose()
    assert rows == made["rows"]
    return rows, seconds, {row["model_digest"] for row in EtaSet(out).rows()}


def on_record(recorded: Ridelog) -> int:
    engine = reader_engine(recorded.info.postgres_url)
    with engine.connect() as connection:
        count = int(connection.execute(text("SELECT count(*) FROM served_etas")).scalar_one())
    engine.dispose()
    return count
