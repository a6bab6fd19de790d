"""Reads an ETA training set: the manifest, and the rows of its files in order, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infrastructure.errors import UserError
from infrastructure.training_sets.eta_rows import COLUMNS, arrow_schema

FORMAT = "ridelog-eta-set/1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
"""Bounds the memory that a file from outside can take before it is believed."""
BATCH_ROWS = 65_536


class EtaRule(msgspec.Struct, frozen=True):
    """Which instants have a row. ``kind``: served, every, at_events or instants.

    ``since_ms``: served answers as of then; ``last_served_id`` bounds them, so that later answers do not change the
    rows. ``every_ms``: interval from the placement on. ``events``: names of the steps of an order.
    ``instants_sha256``: of the file with orders and times.
    """

    kind: str
    since_ms: int = 0
    last_served_id: int = 0
    every_ms: int = 0
    events: list[str] = []
    instants_sha256: str = ""


class RowsFile(msgspec.Struct, frozen=True):
    """One file of rows. ``digest``: sha256 over its rows, independent of the Parquet library; ``sha256``: its bytes."""

    name: str
    rows: int
    digest: str
    sha256: str


class EtaManifest(msgspec.Struct, frozen=True):
    """Everything that the bytes of a training set depend on.

    ``axis``: position, known or event; of no meaning for answers on record, which name their own positions. ``code``:
    digests by name of the folds, of the city's merge, of the features and of the baseline. ``censored``: rows without
    a label. ``different``: answers on record that the log does not give, and ``undecided``: by verdict, those that
    this log or this code cannot recompute; both have no row. ``skipped``: instants at which the order had no ETA, by
    reason. ``data_digest``: sha256 over the digests of the files, independent of the Parquet library.
    """

    format: str
    log_id: str
    first_position: int
    last_position: int
    axis: str
    rule: EtaRule
    schema_ids: list[int]
    code: dict[str, str]
    settings: dict[str, int]
    fingerprint: dict[str, str]
    events: int
    rows: int
    censored: int
    orders: int
    different: int
    undecided: dict[str, int]
    skipped: dict[str, int]
    files: list[RowsFile]
    data_digest: str
    parquet_library: str


class EtaSet:
    """A training set in a folder. Raises UserError for a folder of another format, and for a file that is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_eta_manifest(folder / MANIFEST)
        self.manifest_digest = sha256((folder / MANIFEST).read_bytes()).hexdigest()
        """sha256 of the manifest's bytes."""

    def batches(self, columns: Sequence[str] = COLUMNS) -> Iterator[pa.RecordBatch]:
        """Record batches of ``columns`` in the order of the rows: by file, then by order and instant."""
        schema = arrow_schema()
        for one in self.manifest.files:
            path = self.folder / one.name
            try:
                with pq.ParquetFile(path) as file:
                    if not file.schema_arrow.equals(schema):
                        raise UserError(f"{path} has other columns than a training set of format {FORMAT}")
                    if file.metadata.num_rows != one.rows:
                        raise UserError(f"{path} has {file.metadata.num_rows:,} rows; its manifest says {one.rows:,}")
                    yield from file.iter_batches(BATCH_ROWS, columns=list(columns))
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{path} cannot be read: {error}; make the training set again") from error

    def rows(self, columns: Sequence[str] = COLUMNS) -> Iterator[Mapping[str, Any]]:
        """The rows as mappings; a batch of them is in memory."""
        for batch in self.batches(columns):
            yield from batch.to_pylist()

    def table(self, columns: Sequence[str] = COLUMNS) -> pa.Table:
        """All rows of ``columns`` in memory: about 8 bytes a value."""
        schema = arrow_schema()
        return pa.Table.from_batches(self.batches(columns), pa.schema([schema.field(name) for name in columns]))


def read_eta_manifest(path: Path) -> EtaManifest:
    """Raises UserError if the file cannot be read, or is no manifest of this format."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(MAX_MANIFEST_BYTES), type=EtaManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} is no manifest of a training set: {error}; see `training-set --help`") from error
    if found.format != FORMAT:
        raise UserError(f"{path} has the format {found.format!r}; this code reads {FORMAT}: make the set again")
    if any(Path(one.name).name != one.name for one in found.files):
        raise UserError(f"{path} names a file outside its folder")
    return found


def differences(wanted: EtaManifest, made: EtaManifest) -> list[str]:
    """Messages that explain why the bytes differ; empty if they are the same."""
    found: list[str] = []
    if wanted.data_digest != made.data_digest:
        names = [name for name, value in made.fingerprint.items() if value != wanted.fingerprint.get(name)]
        if names:
            found.append(f"the numeric fingerprint differs ({', '.join(names)})")
        found.append(
            f"the rows differ ({made.rows:,} of digest {made.data_digest[:12]}, not {wanted.rows:,} of "
            f"{wanted.data_digest[:12]})"
        )
    elif wanted.files != made.files:
        found.append(f"the rows are the same, the files differ ({made.parquet_library}, was {wanted.parquet_library})")
    return found
