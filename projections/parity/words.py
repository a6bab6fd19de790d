"""What differs, field by field, for whoever must find out why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from domain.timestamps import utc_datetime
from projections.parity.check import Checked
from projections.parity.served import WrongCheckpoint

_ABSENT = "nothing"


def difference(checked: Checked) -> str:
    """One line: what was served, what the log says, and where to look."""
    read = checked.logged.read
    found = list(fields(read.body, checked.recomputed)) if checked.recomputed else []
    said = "; ".join(f"{name}: served {served}, recomputed {again}" for name, served, again in found)
    if checked.recomputed and not found:
        said = f"the same values in other bytes: served {read.body!r}, recomputed {checked.recomputed!r}"
    words = "; ".join(part for part in (said, checked.why) if part)
    at = utc_datetime(read.read_ms).isoformat(timespec="milliseconds")
    return (
        f"{read.key}: {words} (version {read.version:,}, position {read.position:,}, "
        f"generation {read.generation}, read at {at})"
    )


def wrong(found: WrongCheckpoint) -> str:
    """The same of a checkpoint."""
    return (
        f"{found.key}: the checkpoint that live folding left at version {found.version:,} (position "
        f"{found.position:,}, generation {found.generation}) is not the fold of the events; it was replaced"
    )


def fields(served: bytes, recomputed: bytes) -> Iterator[tuple[str, str, str]]:
    """(name, served, recomputed) of each field that differs, as JSON."""
    try:
        one, other = _object(served), _object(recomputed)
    except msgspec.DecodeError as error:
        yield "body", f"{served!r} ({error})", repr(recomputed)
        return
    for name in [*one, *(name for name in other if name not in one)]:
        shown = [_shown(side, name) for side in (one, other)]
        if shown[0] != shown[1]:
            yield name, shown[0], shown[1]


def _object(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def _shown(side: dict[str, Any], name: str) -> str:
    return msgspec.json.encode(side[name]).decode() if name in side else _ABSENT
