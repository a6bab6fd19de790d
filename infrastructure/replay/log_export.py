"""Copies the log into Parquet files by ranges of positions, with a manifest, so that a rebuild need not read Postgres.

In a file, rows are by stream, shard and position: a reader of some shards skips the row groups of the others. The
manifest has the digest of each file, which a reader compares before it uses a row.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.event_store.event_pages import STREAMS
from infrastructure.replay.all_keys import OnProgress
from infrastructure.replay.request import encode
from infrastructure.replay.whole_files import delete_unfinished, give_name, unfinished_file, write_export
from projections.core.fences import digest_of
from projections.core.ports import EventLog, LoggedEvent

FORMAT: Final = "ridelog-log-export/1"
MANIFEST = "log-export.json"
FILE_POSITIONS = 200_000
"""Positions of one file, some 30 MB: a reader has the rows of its own shards of one file in memory."""
ROW_GROUP_ROWS = 4_096
_LOCK = "lock"
SCHEMA: Final = pa.schema(
    [
        ("stream", pa.string()),
        ("position", pa.int64()),
        ("shard", pa.int32()),
        ("seq", pa.int64()),
        ("key", pa.string()),
        ("version", pa.int64()),
        ("event_type", pa.string()),
        ("payload", pa.binary()),
    ]
)


class ExportedFile(msgspec.Struct, frozen=True):
    """One file with the events of the positions from ``first`` to ``last``."""

    name: str
    first: int
    last: int
    size_bytes: int
    sha256: str


class LogExport(msgspec.Struct, frozen=True):
    """The manifest. ``last_event``: digest of the event at the last position, which another log does not have."""

    format: str
    log_id: str
    last_event: str
    files: list[ExportedFile]

    @property
    def last_position(self) -> int:
        return self.files[-1].last if self.files else 0


def export_log(
    backends: Backends, folder: Path, on_progress: OnProgress, file_positions: int = FILE_POSITIONS
) -> LogExport:
    """Write what ``folder`` lacks of the log, up to its head. An aborted export keeps its finished files.

    Raises UserError if the folder cannot be written or has an export of another log, or the log lacks events;
    PortUnavailable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("wb") as lock:
            try:
                # Two exports at once would write the same unfinished file.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another process exports the log to {folder}: wait for it") from error
            delete_unfinished(folder, "events-")
            return _export(backends.log, folder, on_progress, file_positions)
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error}; make room or name another folder with --out, and run it again: "
            "finished files are kept"
        ) from error


def _export(log: EventLog, folder: Path, on_progress: OnProgress, file_positions: int) -> LogExport:
    head = log.head(STREAMS[0])
    export = LogExport(FORMAT, str(head.log_id), "", [])
    if (folder / MANIFEST).exists():
        export = open_export(folder, log)
    while (after := export.last_position) < head.position:
        on_progress(after, head.position)
        upto = min(after + file_positions, head.position)
        events = {stream: log.read_positions(stream, range(SHARDS), after, upto) for stream in STREAMS}
        last = max((event for found in events.values() for event in found), default=None)
        if last is None or sum(map(len, events.values())) != upto - after:
            raise UserError(f"the log lacks events between the positions {after:,} and {upto:,}: a part was detached")
        file = _write(folder, after + 1, upto, events)
        export = LogExport(FORMAT, export.log_id, digest_of(last), [*export.files, file])
        _write_manifest(folder, export)
    on_progress(head.position, head.position)
    return export


def open_export(folder: Path, log: EventLog) -> LogExport:
    """The manifest of the export in ``folder``, compared with ``log``: it is a beginning of that log, and whole.

    Raises UserError, PortUnavailable.
    """
    try:
        export = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=LogExport)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{folder} has no export of the log: {error}; `export-log --out {folder}` makes one") from error
    if export.format != FORMAT:
        raise UserError(f"{folder} has the format {export.format!r}; this code reads {FORMAT}: export the log again")
    _refuse_other_log(folder, export, log)
    expected = 1
    for file in export.files:
        if file.first != expected or Path(file.name).name != file.name:
            raise UserError(f"the manifest of {folder} is damaged at {file.name}: export the log again")
        expected = file.last + 1
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            raise UserError(f"{path} is missing or was changed: export the log again, into a new folder")
    return export


def _refuse_other_log(folder: Path, export: LogExport, log: EventLog) -> None:
    head, last = log.head(STREAMS[0]), export.last_position
    if str(head.log_id) != export.log_id or head.position < last:
        raise UserError(
            f"{folder} has the log {export.log_id} up to position {last:,}; this database has the log {head.log_id} up "
            f"to {head.position:,}: is it another database, or an older backup?"
        )
    found = log.events_at([last]).get(last) if last else None
    if last and (found is None or digest_of(found) != export.last_event):
        raise UserError(
            f"the log has another event at position {last:,} than {folder}, or none: it was restored, or detached. "
            "Export it again, into a new folder"
        )


def exported_events(folder: Path, file: ExportedFile, stream: str, shards: Sequence[int]) -> list[LoggedEvent]:
    """The events of these shards in one file, by position. Raises UserError if the file is not what was written."""
    path = folder / file.name
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise UserError(f"{path} was changed: export the log again, into a new folder")
        wanted = [("stream", "=", stream), ("shard", "in", list(shards))]
        table = pq.read_table(pa.BufferReader(data), columns=list(LoggedEvent._fields), filters=wanted)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    columns = [table.column(name).to_pylist() for name in LoggedEvent._fields]
    return sorted(map(LoggedEvent._make, zip(*columns, strict=True)))


def _write(folder: Path, first: int, last: int, events: dict[str, list[LoggedEvent]]) -> ExportedFile:
    name = f"events-{first:015d}.parquet"
    unfinished = unfinished_file(folder / name)
    with pq.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:
        for stream, found in events.items():
            by_shard = sorted(found, key=_shard_then_position)
            for start in range(0, len(by_shard), ROW_GROUP_ROWS):
                writer.write_table(_table(stream, by_shard[start : start + ROW_GROUP_ROWS]))
    with unfinished.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    made = ExportedFile(name, first, last, unfinished.stat().st_size, sha256)
    give_name(unfinished, folder / name)
    return made


def _table(stream: str, events: Sequence[LoggedEvent]) -> pa.Table:
    columns: list[Iterable[Any]] = [[stream] * len(events), *zip(*events, strict=True)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)


def _write_manifest(folder: Path, export: LogExport) -> None:
    write_export(folder / MANIFEST, encode(msgspec.to_builtins(export)))


def _shard_then_position(event: LoggedEvent) -> tuple[int, int]:
    return event.shard, event.position
