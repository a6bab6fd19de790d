"""The input of a fold: one decoded event of one key, with its place in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class KeyedEvent(NamedTuple):
    """One event; ``data`` is the record under the current contract.

    It has no clock and no ``recorded_at``: a fold that used either would differ between the live stream and a replay
    (invariant 5).
    """

    key: str
    version: int
    position: int
    event_type: str
    data: Mapping[str, Any]
