"""The manifest of a feature history: all that its bytes depend on, so that the same command makes them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from infrastructure.replay.fingerprint import numeric_fingerprint
from infrastructure.replay.history_parts import HistoryPart, HistoryRequest
from infrastructure.user_error import UserError
from projections.catalogue import DIGESTS
from projections.digest import view_digest
from projections.protocol import Projection


class Code(msgspec.Struct, frozen=True):
    """The fold and the view that made the values, by their digests."""

    fold_version: int
    fold_digest: str
    view_digest: str


class Manifest(msgspec.Struct, frozen=True):
    """``data_digest``: sha256 over all rows, whatever file they are in. ``file_sha256``: of the file itself, which also
    depends on the version of the Parquet library (``parquet_library``). ``events``: how many were read."""

    request: HistoryRequest
    log_id: str
    code: Code
    schema_ids: list[int]
    fingerprint: dict[str, str]
    events: int
    keys: int
    rows: int
    data_digest: str
    file_sha256: str
    parquet_library: str


def code_of(projection: Projection[Any]) -> Code:
    return Code(projection.fold_version, DIGESTS[projection.name], view_digest(projection))


def manifest(
    request: HistoryRequest,
    log_id: str,
    projection: Projection[Any],
    parts: list[HistoryPart],
    data_digest: str,
    file_sha256: str,
    parquet_library: str,
) -> Manifest:
    return Manifest(
        request,
        log_id,
        code_of(projection),
        sorted({schema_id for part in parts for schema_id in part.schema_ids}),
        numeric_fingerprint(),
        sum(part.events for part in parts),
        sum(part.keys for part in parts),
        sum(part.rows for part in parts),
        data_digest,
        file_sha256,
        parquet_library,
    )


def manifest_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.manifest.json")


def read_manifest(path: Path) -> Manifest:
    """Raises UserError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} is no manifest of a feature history: {error}") from error


def refuse_other_code(wanted: Manifest, projection: Projection[Any]) -> None:
    """Raises UserError if this code cannot make these bytes."""
    ours = code_of(projection)
    if wanted.code != ours:
        raise UserError(
            f"that history was made by fold version {wanted.code.fold_version} ({wanted.code.fold_digest[:12]}, view "
            f"{wanted.code.view_digest[:12]}); this code is {ours.fold_version} ({ours.fold_digest[:12]}, view "
            f"{ours.view_digest[:12]}): check out the code that made it"
        )


def what_differs(wanted: Manifest, made: Manifest) -> list[str]:
    """In words, why the bytes are not the same; empty if they are."""
    found = []
    if wanted.fingerprint != made.fingerprint:
        names = [n for n in made.fingerprint if made.fingerprint[n] != wanted.fingerprint.get(n)]
        found.append(f"the numeric fingerprint is another ({', '.join(names)})")
    if wanted.data_digest != made.data_digest:
        found.append(f"the rows are others ({made.rows:,} of digest {made.data_digest[:12]}, not {wanted.rows:,})")
    elif wanted.file_sha256 != made.file_sha256:
        found.append(f"the rows are the same, the file is not ({made.parquet_library}, was {wanted.parquet_library})")
    return found
