"""The manifest of a feature history: everything that its bytes depend on, so that the same command reproduces them.

Float results may depend on the machine: bytes are comparable only within one numeric fingerprint.
"""

from __future__ import annotations

import hashlib
import math
import platform
import struct
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from infrastructure.errors import UserError
from infrastructure.training_sets.history_shards import BoundHistory, HistoryPart, HistoryRequest
from projections.core.projection import Projection
from projections.digest.digest import fold_digest, view_digest

_CPUINFO = Path("/proc/cpuinfo")


@cache
def numeric_fingerprint() -> dict[str, str]:
    """CPU, C library, Python minor, h3 (if installed), and a digest of what libm's functions return on this machine."""
    try:
        h3 = version("h3")
    except PackageNotFoundError:
        h3 = ""
    return {
        "cpu": _cpu(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "h3": h3,
        "libm": _libm(),
    }


def _cpu() -> str:
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()} {next(names, platform.processor())}".strip()


def _libm() -> str:
    digest = hashlib.sha256()
    for n in range(1, 2_000):
        x = n / 1_997
        values = (
            math.sin(x * 7),
            math.cos(x * 7),
            math.asin(x % 1.0),
            math.sqrt(x),
            math.exp(-x * 20),
            math.hypot(x, 1),
        )
        digest.update(struct.pack(">6d", *values))
    return digest.hexdigest()[:16]


class Code(msgspec.Struct, frozen=True):
    """Digests of the fold and of the view that computed the values."""

    fold_version: int
    fold_digest: str
    view_digest: str


class Manifest(msgspec.Struct, frozen=True):
    """Everything that the bytes of a history depend on.

    ``data_digest``: sha256 over all rows, independent of the file format. ``file_sha256``: of the file itself, which
    also depends on the version of the Parquet library (``parquet_library``). ``events``: how many were read.
    """

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
    return Code(projection.fold_version, fold_digest(projection), view_digest(projection))


def manifest(
    history: BoundHistory,
    projection: Projection[Any],
    parts: list[HistoryPart],
    data_digest: str,
    file_sha256: str,
    parquet_library: str,
) -> Manifest:
    return Manifest(
        history.request,
        str(history.horizon.log_id),
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
    """Raises UserError if the file cannot be read or is no manifest."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} is no manifest of a feature history: {error}") from error


def require_same_code(wanted: Manifest, projection: Projection[Any]) -> None:
    """Raises UserError if this code cannot reproduce these bytes."""
    ours = code_of(projection)
    if wanted.code != ours:
        raise UserError(
            f"that history was made with fold version {wanted.code.fold_version} ({wanted.code.fold_digest[:12]}, view "
            f"{wanted.code.view_digest[:12]}); this code is {ours.fold_version} ({ours.fold_digest[:12]}, view "
            f"{ours.view_digest[:12]}): check out the code that made it"
        )


def differences(wanted: Manifest, made: Manifest) -> list[str]:
    """Messages that explain why the bytes differ; empty if they are the same."""
    found = []
    if wanted.fingerprint != made.fingerprint:
        names = [n for n in made.fingerprint if made.fingerprint[n] != wanted.fingerprint.get(n)]
        found.append(f"the numeric fingerprint differs ({', '.join(names)})")
    if wanted.data_digest != made.data_digest:
        found.append(f"the rows differ ({made.rows:,} of digest {made.data_digest[:12]}, not {wanted.rows:,})")
    elif wanted.file_sha256 != made.file_sha256:
        found.append(f"the rows are the same, the file differs ({made.parquet_library}, was {wanted.parquet_library})")
    return found
