"""The bytes of a leg's progress. Pure."""

from __future__ import annotations

from struct import Struct
from typing import Final

from domain.features.completion.progress import EN_ROUTE, FixInstant, LegProgress, RestFix

_EN_ROUTE: Final = Struct(">BB")
_PROGRESS: Final = Struct(">BBq16sq16sIHiiq16sIHiiBq16s")
_EN_ROUTE_BYTES: Final = tuple([_EN_ROUTE.pack(EN_ROUTE, marks) for marks in range(256)])
NO_PROGRESS_BYTES: Final = _EN_ROUTE_BYTES[0]


def packed_progress(progress: LegProgress) -> bytes:
    """2 bytes while the rider is en route, which has nothing but marks; else 135. Equal ones give equal bytes."""
    phase, marks, approach, arrival, rest, fixes, latest = progress
    if phase == EN_ROUTE:
        return _EN_ROUTE_BYTES[marks]
    return _PROGRESS.pack(phase, marks, *approach, *arrival, *rest, fixes, *latest)


def progress_size(data: bytes, at: int) -> int:
    """How many bytes the progress at an offset has. Raises IndexError at the end."""
    return _EN_ROUTE.size if data[at] == EN_ROUTE else _PROGRESS.size


def unpacked_progress(data: bytes, at: int = 0) -> LegProgress:
    """Inverse of ``packed_progress``. Raises struct.error for bytes that end too early, IndexError without any."""
    if data[at] == EN_ROUTE:
        return LegProgress(*_EN_ROUTE.unpack_from(data, at))
    values = _PROGRESS.unpack_from(data, at)
    return LegProgress(
        values[0],
        values[1],
        FixInstant(*values[2:4]),
        RestFix(*values[4:10]),
        RestFix(*values[10:16]),
        values[16],
        FixInstant(*values[17:]),
    )
