"""All keys of a projection as of a horizon: by shards in parallel processes, each shard a file, resumable by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.identifiers import SHARDS
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.parallel import CONTEXT, in_processes
from infrastructure.rebuild.world import projection_named
from infrastructure.replay import parquet
from infrastructure.replay.parts import keep_only
from infrastructure.replay.request import Request, encode, values
from infrastructure.replay.store import log_upto, open_store
from infrastructure.settings import Settings
from projections.folding import Decode
from projections.protocol import Projection
from projections.replay.archive import Archive
from projections.replay.shards import ShardReplayed, replay_shard
from read_models.view import Kind

SMALL = 50_000
"""Below so many events, starting processes costs more than they save."""


class Part(msgspec.Struct, frozen=True):
    """What one shard came to; written when its files are whole."""

    shard: int
    events: int
    keys: int
    parked: list[str]


class Output(NamedTuple):
    """The parts of a whole replay. ``tables``: name -> columns; a projection's keys are one table, named after it."""

    folder: Path
    tables: dict[str, dict[str, Kind]]
    parts: list[Part]

    def files(self, table: str) -> list[Path]:
        return [_file(self.folder, table, part.shard) for part in self.parts]


def tables_of(projection: Projection[Any]) -> dict[str, dict[str, Kind]]:
    """What a replay of all keys gives: the rows of its tables, or one row a key."""
    if projection.view is not None:
        return {projection.name: dict(projection.view.columns)}
    return {table.table.name: parquet.row_columns(table) for table in projection.tables}


def replay_all(
    settings: Settings,
    projection: Projection[Any],
    request: Request,
    folder: Path,
    workers: int,
    show: Callable[[int, int], None],
) -> Output:
    """Fold every shard that ``folder`` has no part of yet; ``show`` hears (events folded, events to fold)."""
    folder.mkdir(parents=True, exist_ok=True)
    keep_only(
        folder, encode(request.document(projection) | log_upto(settings, projection.name, request.horizon.position))
    )
    missing = [shard for shard in range(SHARDS) if not _sidecar(folder, shard).exists()]
    total = request.horizon.position
    done = CONTEXT.Value("q", 0)
    if workers > 1 and total > SMALL and missing:
        shares = [(settings, request, folder, missing[number::workers], done) for number in range(workers)]
        in_processes("replay", _work, shares, lambda: show(done.value, total))
    else:
        _work(lambda: show(done.value, total), settings, request, folder, missing, done)
    show(total, total)
    parts = [msgspec.json.decode(_sidecar(folder, shard).read_bytes(), type=Part) for shard in range(SHARDS)]
    return Output(folder, tables_of(projection), parts)


def merged_rows(projection: Projection[Any], output: Output, table: str) -> Iterator[parquet.Row]:
    """All rows of a table, in the order of shards; rows that several shards have a part of are summed, by key."""
    declared = next((t for t in projection.tables if t.table.name == table), None)
    if declared is None or "rider_id" in declared.key:
        yield from parquet.read(output.files(table))
        return
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in parquet.read(output.files(table)):
        key = tuple(row[name] for name in declared.key)
        added = [row[name] for name in declared.add]
        sums[key] = [a + b for a, b in zip(sums[key], added, strict=True)] if key in sums else added
    for key in sorted(sums):
        yield dict(zip((*declared.key, *declared.add), (*key, *sums[key]), strict=True))


def _work(
    alive: Callable[[], None],
    settings: Settings,
    request: Request,
    folder: Path,
    shards: list[int],
    done: Synchronized[int],
) -> None:
    projection = projection_named(request.projection)

    def passed(events: int) -> None:
        with done.get_lock():
            done.value += events
        alive()

    with open_store(settings) as store:
        archive = PostgresArchive(store.engine)
        for shard in shards:
            _part(projection, request, archive, store.decode, folder, shard, passed)


def _part(
    projection: Projection[Any],
    request: Request,
    archive: Archive,
    decode: Decode,
    folder: Path,
    shard: int,
    passed: Callable[[int], None],
) -> None:
    found = replay_shard(projection, archive, decode, shard, request.horizon, passed=passed)
    for table, columns in tables_of(projection).items():
        parquet.write(_file(folder, table, shard), columns, _rows(projection, request, found, table))
    part = Part(shard, found.events, len(found.states), sorted(found.parked))
    aside = _sidecar(folder, shard).with_suffix(".part")
    aside.write_bytes(msgspec.json.encode(part))
    aside.replace(_sidecar(folder, shard))


def _rows(
    projection: Projection[Any], request: Request, found: ShardReplayed[Any], table: str
) -> Iterator[parquet.Row]:
    if projection.view is not None:
        for key in sorted(found.states):
            yield values(projection.view, request, key, found.states[key])
        return
    declared = next(t for t in projection.tables if t.table.name == table)
    for row in sorted((row for row in found.rows if row.table == table), key=lambda row: row.key):
        yield parquet.row_of(declared, row)


def _file(folder: Path, table: str, shard: int) -> Path:
    return folder / f"{table}-{shard:02d}.parquet"


def _sidecar(folder: Path, shard: int) -> Path:
    return folder / f"{shard:02d}.json"
