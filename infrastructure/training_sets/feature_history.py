"""Writes the values of a projection over time, for many keys at once: parts by shard, one file, one manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain.identifiers import SHARDS, shard_of
from infrastructure.backends import Backends, open_backends, projection_named
from infrastructure.process_pool import CONTEXT, run_in_processes
from infrastructure.replay import parquet
from infrastructure.replay.all_keys import (
    MIN_EVENTS_FOR_PROCESSES,
    OnProgress,
    delete_foreign_parts,
    log_state,
    parts_of,
)
from infrastructure.replay.parts_elsewhere import (
    FinishedParts,
    PartsElsewhere,
    PartsOrder,
    read_work,
    refuse_other_identity,
    refuse_other_log,
    write_work,
)
from infrastructure.replay.request import encode
from infrastructure.replay.whole_files import write_export, writing_export
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.history_shards import (
    BoundHistory,
    HistoryPart,
    HistoryRequest,
    columns,
    make_parts,
    make_parts_in_process,
    part_file,
    sidecar,
)
from infrastructure.training_sets.manifest import Manifest, code_of, manifest, manifest_path, numeric_fingerprint
from projections.replay.as_of import AsOf, Horizon

HISTORY = "feature-history"
"""The kind of output, for machines that make its parts."""
_ONE_GROUP = 1 << 30


def horizon_of(settings: Settings, as_of: AsOf) -> Horizon:
    """Resolve the end of a history on this log. Raises Unresolvable, PortUnavailable."""
    with open_backends(settings) as backends:
        return backends.archive.horizon(as_of)


def make_history(
    settings: Settings,
    history: BoundHistory,
    out: Path,
    workers: int,
    on_progress: OnProgress,
    *,
    min_events: int = MIN_EVENTS_FOR_PROCESSES,
    elsewhere: PartsElsewhere | None = None,
) -> Manifest:
    """Write ``out``, and its manifest next to it. After an abort, the same request keeps the finished shards.

    Up to ``min_events`` events there is one process. ``elsewhere`` makes the parts on other machines; this one then
    joins them.
    """
    processes = workers if history.request.position > min_events else 1
    with parts_of(out) as folder:
        if elsewhere is not None:
            elsewhere.claim(folder)
        with open_backends(settings) as backends:
            delete_foreign_parts(folder, _identity(backends, history))
        _make_missing(settings, history, folder, processes, on_progress, elsewhere)
        return _join_all(history, out, folder)


def make_history_parts(settings: Settings, folder: Path, _step: int, shards: Sequence[int]) -> None:
    """Make parts of the history that a command on another machine writes.

    Raises UserError if this machine does not see ``folder``, or would make other rows; Unresolvable, PortUnavailable.
    """
    history = read_work(folder, BoundHistory)
    with Backends(settings) as backends:
        refuse_other_log(backends, projection_named(history.request.projection).stream, history.horizon.log_id)
        refuse_other_identity(folder, _identity(backends, history))
    missing = [shard for shard in shards if not sidecar(folder, shard).exists()]
    make_parts(settings, history, folder, missing, lambda events: None)


def _identity(backends: Backends, history: BoundHistory) -> bytes:
    """Everything that rows depend on: the one manifest must be true of the rows of all parts."""
    request, horizon = history
    projection = projection_named(request.projection)
    document: dict[str, Any] = {"request": request, "log_id": horizon.log_id, "code": code_of(projection)}
    document |= log_state(backends, projection.name, request.position)
    return encode(msgspec.to_builtins({**document, "fingerprint": numeric_fingerprint()}))


def _shards(request: HistoryRequest) -> list[int]:
    return list(range(SHARDS)) if request.keys is None else sorted({shard_of(key) for key in request.keys})


def _make_missing(
    settings: Settings,
    history: BoundHistory,
    folder: Path,
    workers: int,
    on_progress: OnProgress,
    elsewhere: PartsElsewhere | None,
) -> None:
    missing = [shard for shard in _shards(history.request) if not sidecar(folder, shard).exists()]
    done, total = CONTEXT.Value("q", 0), history.request.position
    if elsewhere is not None:
        write_work(folder, history)
        finished = FinishedParts([sidecar(folder, shard) for shard in missing], "events")

        def on_tick() -> None:
            done.value += finished.count_new()
            on_progress(done.value, total)

        if missing:
            elsewhere.make(PartsOrder(HISTORY, folder, 0, missing), on_tick)
    elif workers > 1 and len(missing) > 1:
        shares = [(settings, history, folder, missing[n::workers], done) for n in range(workers)]
        run_in_processes(
            "history", make_parts_in_process, [s for s in shares if s[3]], lambda: on_progress(done.value, total)
        )
    else:
        make_parts_in_process(lambda: on_progress(done.value, total), settings, history, folder, missing, done)
    on_progress(total, total)


def _join_all(history: BoundHistory, out: Path, folder: Path) -> Manifest:
    projection, shards = projection_named(history.request.projection), _shards(history.request)
    parts = [msgspec.json.decode(sidecar(folder, shard).read_bytes(), type=HistoryPart) for shard in shards]
    file_sha256 = _join([part_file(folder, shard) for shard in shards], out, parquet.schema(columns(projection)))
    whole = hashlib.sha256("".join(f"{part.shard} {part.digest}\n" for part in parts).encode()).hexdigest()
    made = manifest(history, projection, parts, whole, file_sha256, f"pyarrow {pa.__version__}")
    write_export(manifest_path(out), encode(msgspec.to_builtins(made)))
    return made


def _join(parts: list[Path], out: Path, schema: pa.Schema) -> str:
    """Join all parts in order into one file, whose row groups do not depend on the shards. Returns its sha256."""
    with writing_export(out) as whole, pq.ParquetWriter(whole, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    waiting.append(file.read_row_group(group))
                    if sum(table.num_rows for table in waiting) >= parquet.ROW_GROUP:
                        writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=_ONE_GROUP)
                        waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=_ONE_GROUP)
    with out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
