"""Parts that other machines make in a shared folder: the same bytes as here, and refused where they would differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from infrastructure.backends import open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.errors import UserError
from infrastructure.operations.training_set import make_eta_set
from infrastructure.operations.training_set_elsewhere import TRAINING_SET, make_pass_parts
from infrastructure.operations.training_set_request import resolve
from infrastructure.process_pool import OnTick
from infrastructure.replay.all_keys import REQUEST
from infrastructure.replay.parts_elsewhere import WORK, PartsOrder, share_of
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_set import EtaRule
from infrastructure.training_sets.feature_history import HISTORY, make_history, make_history_parts
from infrastructure.training_sets.history_shards import BoundHistory
from tests.support.servers.servers import fresh_database
from tests.support.worlds.parts_world import busy_log, contents, history_of

MACHINES = 3
MAKERS: dict[str, Callable[[Settings, Path, int, Sequence[int]], None]] = {
    HISTORY: make_history_parts,
    TRAINING_SET: make_pass_parts,
}


class Machines:
    """Machines in this process: each makes its share of an order, one after the other."""

    def __init__(self, settings: Settings, on_order: Callable[[PartsOrder], None] = lambda order: None) -> None:
        self.claimed: list[Path] = []
        self.orders: list[PartsOrder] = []
        self._settings = settings
        self._on_order = on_order

    def claim(self, folder: Path) -> None:
        self.claimed.append(folder)

    def make(self, order: PartsOrder, on_tick: OnTick) -> None:
        self.orders.append(order)
        self._on_order(order)
        for number in range(MACHINES):
            share = share_of(order.parts, number, MACHINES, in_order=order.in_order)
            if share:
                MAKERS[order.kind](self._settings, order.folder, order.step, share)
            on_tick()


@pytest.fixture(scope="module")
def log(migrated_postgres: Postgres) -> Iterator[Settings]:
    with busy_log(migrated_postgres) as settings:
        yield settings


def a_history(settings: Settings) -> BoundHistory:
    return history_of(settings, "event", last_ms=600_000, every_ms=60_000)


def no_progress(done: int, of: int) -> None: ...


def test_a_history_has_the_same_bytes_wherever_its_parts_are_made(log: Settings, tmp_path: Path) -> None:
    history, machines = a_history(log), Machines(log)
    shown: list[int] = []
    here = make_history(log, history, tmp_path / "here.parquet", 1, no_progress)
    elsewhere = make_history(
        log, history, tmp_path / "elsewhere.parquet", 1, lambda done, of: shown.append(done), elsewhere=machines
    )
    assert here == elsewhere
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "elsewhere.parquet").read_bytes()
    assert machines.claimed == [tmp_path / "elsewhere.parquet.parts"]
    assert not machines.claimed[0].exists()
    # A machine's parts count as soon as they are there, and each once.
    assert shown == sorted(shown)
    assert shown[-2] == here.events
    assert len(set(shown)) > MACHINES


@pytest.mark.parametrize("rule", [EtaRule("every", every_ms=120_000), EtaRule("at_events", events=["placed"])])
def test_a_training_set_has_the_same_bytes_wherever_its_passes_run(
    log: Settings, tmp_path: Path, rule: EtaRule
) -> None:
    request, machines = resolve(log, rule, "known", None), Machines(log)
    stages: dict[str, int] = {}

    def show(stage: str, what: str, done: int, total: int) -> None:
        stages[stage] = done

    here = make_eta_set(log, request, tmp_path / "here", 1, lambda *done: None)
    elsewhere = make_eta_set(log, request, tmp_path / "elsewhere", 1, show, elsewhere=machines)
    assert here == elsewhere
    assert here.manifest.rows > 10
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")
    # The files are written here, by the Parquet library that the manifest names.
    assert [order.step for order in machines.orders] == [0, 1, 2]
    assert stages["orders"] + stages["riders"] == here.manifest.events
    assert (stages["rows"], stages["files"]) == (here.manifest.rows, here.manifest.rows)


def test_an_aborted_set_keeps_the_finished_parts_for_the_next_run(log: Settings, tmp_path: Path) -> None:
    request = resolve(log, EtaRule("every", every_ms=120_000), "known", None)

    def end_in_the_second_pass(order: PartsOrder) -> None:
        if order.step == 1:
            raise UserError("the job is FAILED")

    with pytest.raises(UserError, match="FAILED"):
        make_eta_set(
            log, request, tmp_path / "set", 1, lambda *done: None, elsewhere=Machines(log, end_in_the_second_pass)
        )
    assert not (tmp_path / "set").exists()
    machines = Machines(log)
    again = make_eta_set(log, request, tmp_path / "set", 1, lambda *done: None, elsewhere=machines)
    assert [order.step for order in machines.orders] == [1, 2]
    assert again == make_eta_set(log, request, tmp_path / "here", 1, lambda *done: None)


def changed(name: str) -> Callable[[PartsOrder], None]:
    """Gives the command's side another value of ``name``, as if this machine had another one."""

    def on_order(order: PartsOrder) -> None:
        document = msgspec.json.decode((order.folder / REQUEST).read_bytes())
        document[name] = {**document[name], next(iter(document[name])): "another"}
        (order.folder / REQUEST).write_bytes(msgspec.json.encode(document))

    return on_order


@pytest.mark.parametrize(("name", "reason"), [("fingerprint", r"fingerprint\.cpu"), ("code", r"code\.")])
def test_a_machine_that_would_make_other_rows_makes_none(log: Settings, tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"other rows than the command, because of: {reason}"):
        make_history(
            log, a_history(log), tmp_path / "a.parquet", 1, no_progress, elsewhere=Machines(log, changed(name))
        )
    assert list((tmp_path / "a.parquet.parts").glob("*.parquet")) == []


def test_a_machine_that_does_not_see_the_folder_says_so(log: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not see the folder.*by the same path"):
        make_history(
            log,
            a_history(log),
            tmp_path / "a.parquet",
            1,
            no_progress,
            elsewhere=Machines(log, lambda order: (order.folder / WORK).unlink()),
        )


def test_a_machine_with_another_database_makes_no_part(
    log: Settings, migrated_postgres: Postgres, tmp_path: Path
) -> None:
    with fresh_database(migrated_postgres) as url:
        machines = Machines(Settings(postgres_url=url))
        # A database of before: it has the same log, and lacks the last event.
        with pytest.raises(UserError, match="because of: last_event"):
            make_history(log, a_history(log), tmp_path / "a.parquet", 1, no_progress, elsewhere=machines)
        with open_backends(Settings(postgres_url=url)) as backends, backends.writer_engine.begin() as connection:
            connection.execute(text("UPDATE log_head SET log_id = gen_random_uuid()"))
        with pytest.raises(UserError, match="this machine reads the log"):
            make_history(log, a_history(log), tmp_path / "a.parquet", 1, no_progress, elsewhere=machines)
        request = resolve(log, EtaRule("at_events", events=["placed"]), "known", None)
        with pytest.raises(UserError, match="this machine reads the log"):
            make_eta_set(log, request, tmp_path / "set", 1, lambda *done: None, elsewhere=machines)
