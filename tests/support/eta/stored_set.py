"""A training set in a folder, from rows that a test made."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infrastructure.training_sets.eta_rows import arrow_schema
from infrastructure.training_sets.eta_set import FORMAT, MANIFEST, EtaManifest, EtaRule, RowsFile


def write_set(folder: Path, rows: Sequence[dict[str, Any]], axis: str = "event") -> None:
    """The rows in one file, with a manifest that names no log of this machine."""
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(list(rows), arrow_schema()), folder / "rows-00.parquet")
    digest = sha256((folder / "rows-00.parquet").read_bytes()).hexdigest()
    manifest = EtaManifest(
        format=FORMAT,
        log_id="00000000-0000-0000-0000-000000000000",
        first_position=1,
        last_position=len(rows),
        axis=axis,
        rule=EtaRule("every", every_ms=60_000),
        schema_ids=[],
        code={},
        settings={},
        fingerprint={},
        events=len(rows),
        rows=len(rows),
        censored=sum(row["censored"] for row in rows),
        orders=len({row["order_id"] for row in rows}),
        different=0,
        undecided={},
        skipped={},
        files=[RowsFile("rows-00.parquet", len(rows), digest, digest)],
        data_digest=digest,
        parquet_library="",
    )
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
