"""A log in Parquet files: the same events as in the event store, and refused where it is no beginning of this log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain.identifiers import SHARDS
from infrastructure.backends import Backends, open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.errors import UserError
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.operations.rebuild import FoldInProcesses, rebuilding
from infrastructure.replay.exported_log import ExportedLog
from infrastructure.replay.log_export import MANIFEST, export_log, open_export
from infrastructure.settings.settings import Settings
from projections.core.fold import Fold
from projections.core.ports import LoggedEvent
from projections.rebuild.rebuild_outcome import RebuildVerdict
from projections.speed import SPEED
from tests.support.servers.servers import fresh_database
from tests.support.worlds.eta_log import items_of, record
from tests.unit.simulator.scenarios import busy

ITEMS = items_of(busy(2, duration_s=600.0, until_s=400.0))
HALF = len(ITEMS) // 2
FILE_POSITIONS = 25


@pytest.fixture(scope="module")
def backends(migrated_postgres: Postgres) -> Iterator[Backends]:
    with fresh_database(migrated_postgres) as url:
        settings = Settings(postgres_url=url)
        record(settings, ITEMS[:HALF])
        with open_backends(settings) as one:
            yield one


def no_progress(done: int, of: int) -> None: ...


@pytest.fixture(scope="module")
def exported(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a log that has grown since."""
    folder = tmp_path_factory.mktemp("export")
    made = export_log(backends, folder, no_progress, FILE_POSITIONS)
    assert len(made.files) > 2
    record(backends.settings, ITEMS[HALF:])
    return folder


class OnlyAfter(PostgresLog):
    """The event store, of which nothing up to ``position`` may be read by positions."""

    def __init__(self, backends: Backends, position: int) -> None:
        super().__init__(backends.engine)
        self._position = position

    def read_positions(self, stream: str, shards: Sequence[int], after: int, upto: int) -> list[LoggedEvent]:
        assert after >= self._position, "the files have these events"
        return super().read_positions(stream, shards, after, upto)


@hypothesis_settings(max_examples=40)
@given(
    st.sampled_from(["Rider", "Delivery"]),
    st.lists(st.integers(0, SHARDS - 1), min_size=1, unique=True),
    st.integers(0, 200),
    st.integers(0, 120),
)
def test_files_and_event_store_have_the_same_events_in_the_same_order(
    backends: Backends, exported: Path, stream: str, shards: list[int], after: int, length: int
) -> None:
    last = open_export(exported, backends.log).last_position
    log = ExportedLog(OnlyAfter(backends, last), exported)
    assert log.read_positions(stream, shards, after, after + length) == backends.log.read_positions(
        stream, shards, after, after + length
    )


def test_a_second_export_adds_what_came_since_and_changes_no_file(migrated_postgres: Postgres, tmp_path: Path) -> None:
    with fresh_database(migrated_postgres) as url, open_backends(Settings(postgres_url=url)) as backends:
        record(backends.settings, ITEMS[:HALF])
        made = export_log(backends, tmp_path, no_progress, FILE_POSITIONS)
        before = {file.name: (tmp_path / file.name).read_bytes() for file in made.files}
        position = record(backends.settings, ITEMS[HALF:])
        shown: list[int] = []
        again = export_log(backends, tmp_path, lambda done, of: shown.append(done), FILE_POSITIONS)
    assert (again.last_position, shown[0]) == (position, made.last_position)
    assert again.files[: len(made.files)] == made.files
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def in_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        document = msgspec.json.decode((folder / MANIFEST).read_bytes())
        change(document)
        (folder / MANIFEST).write_bytes(msgspec.json.encode(document))

    return damage


def cut(name: str) -> Callable[[Path], None]:
    """Takes the last bytes of a file."""

    def damage(folder: Path) -> None:
        path = sorted(folder.glob(name))[0]
        path.write_bytes(path.read_bytes()[:-20])

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (in_manifest(lambda found: found.update(log_id=str(uuid4()))), "is it another database"),
        (in_manifest(lambda found: found.update(last_event="0" * 16)), "has another event"),
        (in_manifest(lambda found: found.update(format="ridelog-log-export/9")), "has the format"),
        (in_manifest(lambda found: found["files"].pop(1)), "manifest .* is damaged"),
        (in_manifest(lambda found: found["files"][0].update(name="../a")), "manifest .* is damaged"),
        (cut(MANIFEST), "no export of the log"),
        (lambda folder: sorted(folder.glob("*.parquet"))[1].unlink(), "is missing or was changed"),
        (cut("*.parquet"), "is missing or was changed"),
    ],
    ids=["log id", "restored log", "format", "gap", "path", "manifest", "missing file", "shorter file"],
)
def test_an_export_that_is_no_whole_beginning_of_this_log_is_refused(
    backends: Backends, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    export_log(backends, tmp_path, no_progress, FILE_POSITIONS)
    damage(tmp_path)
    with pytest.raises(UserError, match=reason):
        ExportedLog(backends.log, tmp_path)


def test_a_changed_bit_of_a_file_is_found_by_its_digest(backends: Backends, tmp_path: Path) -> None:
    export_log(backends, tmp_path, no_progress, FILE_POSITIONS)
    path = sorted(tmp_path.glob("*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="was changed"):
        ExportedLog(backends.log, tmp_path).read_positions("Rider", range(SHARDS), 0, FILE_POSITIONS)


def test_a_log_whose_beginning_was_detached_is_not_exported(migrated_postgres: Postgres, tmp_path: Path) -> None:
    with fresh_database(migrated_postgres) as url:
        settings = Settings(postgres_url=url)
        record(settings, ITEMS[:HALF])
        with open_backends(settings) as backends:
            with backends.writer_engine.begin() as connection:
                connection.execute(text("ALTER TABLE events DETACH PARTITION events_p00000000000000000001"))
            with pytest.raises(UserError, match="a part was detached"):
                export_log(backends, tmp_path, no_progress)


def test_a_rebuild_from_files_gives_every_byte_of_the_fold_of_the_log(settings: Settings, tmp_path: Path) -> None:
    # Given an export of a part of the log
    record(settings, ITEMS[:HALF])
    with open_backends(settings) as backends:
        export_log(backends, tmp_path, no_progress, FILE_POSITIONS)
        record(settings, ITEMS[HALF:])
        backends.generations.first(SPEED)
        # When a generation is filled from it by two processes, and another one by a rebuild in this process
        head = backends.log.head(SPEED.stream)
        by_processes = FoldInProcesses(settings, SPEED, 2, tmp_path)
        by_processes.fill(1, dict(enumerate(head.seqs)), lambda: None)
        with rebuilding(
            settings, SPEED, workers=1, on_progress=no_progress, on_note=lambda note: None, export=tmp_path
        ) as rebuild:
            outcome = rebuild.run()
        # Then both have every state of the pure fold
        assert outcome.verdict is RebuildVerdict.SWITCHED
        events = backends.log.read_positions("Rider", range(SHARDS), 0, head.position)
        folded = dict(Fold(SPEED, backends.decode, lambda: 0).run(events, lambda _: None, (), frozenset()).encoded)
        assert folded
        for number in (1, outcome.new.number):
            sink = backends.stores.sink(SPEED, number)
            assert {key: state for shard in range(SHARDS) for key, state in sink.dump(shard).states.items()} == folded


def test_a_rebuild_is_refused_before_it_fills_anything(settings: Settings, tmp_path: Path) -> None:
    record(settings, ITEMS[:HALF])
    with (
        pytest.raises(UserError, match=r"no export of the log.*`export-log --out"),
        rebuilding(settings, SPEED, workers=1, on_progress=no_progress, on_note=lambda note: None, export=tmp_path),
    ):
        pass
