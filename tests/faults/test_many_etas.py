"""Invariants 8 and 17 of served ETAs: under load, with kills, a rebuild and a switch, each is what the log gives."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from infrastructure.postgres.engine import reader_engine
from infrastructure.training_sets.eta_set import EtaSet
from tests.faults.test_parity import PINGS_PER_S, READ_PAUSE_S, parity_line, verify
from tests.faults.test_rebuild_live import rebuild
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.many_etas import ManyEtas, MovingOrders
from tests.support.worlds.ridelog import Ridelog, ridelog
from tests.support.worlds.served_vectors import check_served_rows
from tests.support.worlds.steady_load import SteadyLoad

ETAS = int(os.environ.get("RIDELOG_TEST_ETAS", "1000000" if whole() else "2000"))
RIDERS = 400 if whole() else 60
PHASE_S = 600 + ETAS / 50
"""Longer than asking, the audit and the training set take on a machine that is busy with other work."""


@pytest.mark.proof
def test_invariants_8_and_17_whatever_eta_was_served_is_what_the_log_gives(
    record_property: Callable[[str, object], None], tmp_path: Path
) -> None:
    """2,000 answers in ``make test``, a million in ``make prove``; RIDELOG_TEST_ETAS is another number."""
    with ridelog(tmp_path / "data", served_etas_keep=str(3 * ETAS)) as recorded:
        refused, seconds = ask(recorded)
        record_property("asking", f"{ETAS / seconds:,.0f} answers/s, {refused:,} refused")
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
        rows, seconds = check_training_set(recorded, tmp_path / "set")
        assert rows == found["answers"]
        record_property("training rows", f"{rows:,} of {found['answers']:,} have the bytes that were served")
        record_property("rate of training rows", f"{rows / seconds:,.0f}/s")


def ask(recorded: Ridelog) -> tuple[int, float]:
    """Ask for ETAS answers, with kills, a rebuild and a switch. Returns the refused requests, and the seconds."""
    began = time.monotonic()
    riders = [f"eta-{uuid.uuid4().hex[:8]}-{number}" for number in range(RIDERS)]
    orders = MovingOrders(recorded, riders, count=RIDERS, interval_s=0.02)
    etas = ManyEtas(recorded, orders, 18, READ_PAUSE_S)
    with SteadyLoad(recorded, riders, PINGS_PER_S, seed=17) as load, orders, etas:
        etas.wait_for(ETAS // 4, PHASE_S)
        for program in ("city", "projections"):
            recorded.kill(program)
        etas.wait_for(ETAS // 2, PHASE_S)
        switched = rebuild(recorded, "orders", "--workers", "2")
        recorded.kill("api")
        etas.wait_for(ETAS, PHASE_S)
        # The answers that waited in the killed API, about one second of them, are not recorded.
        eventually(lambda: on_record(recorded) >= ETAS, within_s=PHASE_S, every_s=2.0)
    assert switched["verdict"] == "switched"
    assert load.acknowledged
    return etas.refused, time.monotonic() - began


def check_training_set(recorded: Ridelog, out: Path) -> tuple[int, float]:
    """Make the set of all answers. Returns how many rows have the bytes that were served, and the seconds it took."""
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
    return rows, seconds


def on_record(recorded: Ridelog) -> int:
    engine = reader_engine(recorded.info.postgres_url)
    with engine.connect() as connection:
        count = int(connection.execute(text("SELECT count(*) FROM served_etas")).scalar_one())
    engine.dispose()
    return count
