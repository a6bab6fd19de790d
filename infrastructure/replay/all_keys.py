"""Replays all keys of a projection as of a horizon, by shards in parallel processes.

Each shard is a file of its own next to the output until that is complete, so that an aborted replay resumes by shard.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.identifiers import SHARDS
from infrastructure.backends import Backends, open_backends, projection_named
from infrastructure.errors import UserError
from infrastructure.process_pool import CONTEXT, run_in_processes
from infrastructure.replay import parquet
from infrastructure.replay.request import ReplayRequest, encode, values
from infrastructure.replay.whole_files import delete_unfinished, write_export, write_whole
from infrastructure.settings.settings import Settings
from projections.core.fences import digest_of
from projections.core.projection import Projection
from projections.replay.shard_replay import ShardReplayed, replay_shard
from projections.replay.source import ReplaySource
from read_models.view import ColumnType

REQUEST = "request.json"
_LOCK = "lock"


@contextmanager
def parts_of(out: Path) -> Iterator[Path]:
    """The folder for the parts of ``out``, locked by one process; deleted when the context ends without an error.

    Raises UserError if another process holds it, and for every OSError of the disk.
    """
    folder = out.with_name(f"{out.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Two processes that write the same file would delete each other's parts.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder)
        finally:
            os.close(lock)
    except BlockingIOError as error:
        raise UserError(f"another process is writing {out}: wait for it, or name another file") from error
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error}; what is done is kept, and the same command resumes it"
        ) from error


def log_upto(settings: Settings, projection: str, position: int) -> dict[str, Any]:
    """State of the log on which parts depend besides the request and the code, and which changes over time.

    ``last_event``: digest of the event at ``position``, "" if there is none. A restored log has another event there
    (invariant 14). ``discarded``: positions up to there that the projection skips (invariant 10). Raises as
    ``open_backends``.
    """
    with open_backends(settings) as backends:
        return log_state(backends, projection, position)


def log_state(backends: Backends, projection: str, position: int) -> dict[str, Any]:
    """``log_upto`` on open backends. Raises PortUnavailable."""
    log = backends.log
    last = "".join(digest_of(event) for event in log.events_at([position]).values())
    return {"last_event": last, "discarded": sorted(p for p in log.discarded(projection) if p <= position)}


def delete_foreign_parts(folder: Path, identity: bytes) -> None:
    """Delete parts of another request, other code or another log, which must not mix with those of ``identity``.

    And what writers that were killed have left unfinished.
    """
    delete_unfinished(folder)
    request = folder / REQUEST
    if request.exists() and request.read_bytes() == identity:
        return
    for old in folder.iterdir():
        if old.name != _LOCK:
            old.unlink()
    write_whole(request, identity)


MIN_EVENTS_FOR_PROCESSES = 50_000
"""With fewer events, starting processes costs more than they save."""

OnProgress = Callable[[int, int], None]
"""Called at intervals with (events folded, events to fold)."""


class ReplayPart(msgspec.Struct, frozen=True):
    """Result of one shard; written when its files are complete."""

    shard: int
    events: int
    keys: int
    parked: list[str]


class ReplayOutput(NamedTuple):
    """The parts of a complete replay.

    ``tables``: name -> columns; the keys of a projection with a view are one table, named after the projection.
    """

    folder: Path
    tables: dict[str, dict[str, ColumnType]]
    parts: list[ReplayPart]

    def files(self, table: str) -> list[Path]:
        """The files of a table, one per shard."""
        return [_file(self.folder, table, part.shard) for part in self.parts]


def tables_of(projection: Projection[Any]) -> dict[str, dict[str, ColumnType]]:
    """Tables of a replay of all keys: one row per key, or the rows of the projection's tables."""
    if projection.view is not None:
        return {projection.name: dict(projection.view.columns)}
    return {table.table.name: parquet.row_columns(table) for table in projection.tables}


def replay_all(
    settings: Settings,
    projection: Projection[Any],
    request: ReplayRequest,
    folder: Path,
    workers: int,
    on_progress: OnProgress,
    *,
    min_events: int = MIN_EVENTS_FOR_PROCESSES,
) -> ReplayOutput:
    """Fold every shard that has no part in ``folder`` yet. Up to ``min_events`` events there is one process."""
    folder.mkdir(parents=True, exist_ok=True)
    log_state = log_upto(settings, projection.name, request.horizon.position)
    delete_foreign_parts(folder, encode(request.document(projection) | log_state))
    missing = [shard for shard in range(SHARDS) if not _sidecar(folder, shard).exists()]
    total = request.horizon.position
    done = CONTEXT.Value("q", 0)
    if workers > 1 and total > min_events and missing:
        shares = [(settings, request, folder, missing[number::workers], done) for number in range(workers)]
        run_in_processes("replay", _replay_shards, shares, lambda: on_progress(done.value, total))
    else:
        _replay_shards(lambda: on_progress(done.value, total), settings, request, folder, missing, done)
    on_progress(total, total)
    parts = [msgspec.json.decode(_sidecar(folder, shard).read_bytes(), type=ReplayPart) for shard in range(SHARDS)]
    return ReplayOutput(folder, tables_of(projection), parts)


def merged_rows(projection: Projection[Any], output: ReplayOutput, table: str) -> Iterator[parquet.Row]:
    """All rows of a table, in the order of shards; rows to which several shards contribute are summed by key."""
    declared = next((t for t in projection.tables if t.table.name == table), None)
    # With the shard in its primary key, a table has partial sums of one row in several shards.
    if declared is None or "shard" not in declared.table.primary_key.columns:
        yield from parquet.read(output.files(table))
        return
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in parquet.read(output.files(table)):
        key = tuple(row[name] for name in declared.key)
        added = [row[name] for name in declared.add]
        sums[key] = [a + b for a, b in zip(sums[key], added, strict=True)] if key in sums else added
    for key in sorted(sums):
        yield dict(zip((*declared.key, *declared.add), (*key, *sums[key]), strict=True))


def _replay_shards(
    heartbeat: Callable[[], None],
    settings: Settings,
    request: ReplayRequest,
    folder: Path,
    shards: list[int],
    done: Synchronized[int],
) -> None:
    projection = projection_named(request.projection)

    def on_events(events: int) -> None:
        with done.get_lock():
            done.value += events
        heartbeat()

    with open_backends(settings) as backends:
        source = backends.replay_source(projection)
        for shard in shards:
            _replay_part(source, request, folder, shard, on_events)


def _replay_part(
    source: ReplaySource[Any],
    request: ReplayRequest,
    folder: Path,
    shard: int,
    on_events: Callable[[int], None],
) -> None:
    projection = source.projection
    found = replay_shard(source, shard, request.horizon, on_chunk=on_events)
    for table, columns in tables_of(projection).items():
        parquet.write(_file(folder, table, shard), columns, _rows(projection, request, found, table))
    part = ReplayPart(shard, found.events, len(found.states), sorted(found.parked))
    write_whole(_sidecar(folder, shard), msgspec.json.encode(part))


def _rows(
    projection: Projection[Any], request: ReplayRequest, found: ShardReplayed[Any], table: str
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


class FullReplay:
    """A complete replay. ``document``: the query and its totals. ``files``: the files that ``write`` has written."""

    def __init__(self, query: Mapping[str, Any], output: ReplayOutput, projection: Projection[Any]) -> None:
        parts = output.parts
        self.document: dict[str, Any] = {
            **query,
            "events_folded": sum(part.events for part in parts),
            "keys": sum(part.keys for part in parts),
            "parked": sorted(key for part in parts for key in part.parked),
        }
        self.files: list[Path] = []
        self._output = output
        self._projection = projection

    @property
    def tables(self) -> list[str]:
        """Names of its tables."""
        return list(self._output.tables)

    def rows(self, table: str) -> Iterator[parquet.Row]:
        """Rows of a table, in the order of shards, then of keys."""
        return merged_rows(self._projection, self._output, table)

    def write(self, out: Path) -> None:
        """Write one file per table, named after ``out``, and a manifest next to them."""
        files = {}
        for name, columns in self._output.tables.items():
            path = out if len(self._output.tables) == 1 else out.with_name(f"{out.stem}.{name}.parquet")
            files[name] = {"file": path.name, "rows": parquet.write(path, columns, self.rows(name))}
            self.files.append(path)
        write_export(out.with_name(f"{out.name}.manifest.json"), encode(self.document | {"tables": files}))
