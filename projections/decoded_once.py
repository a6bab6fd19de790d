"""One decoding for all folds of a process: each generation reads the topic for itself, and the bytes are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projections.folding import Decode

EVENTS = 32_768
"""About 45 MB of pings, and as far as two folds of one process may be apart to profit from each other."""


class DecodedOnce:
    """What was decoded lately, by its bytes. From any thread: a race decodes twice, and is right all the same.

    The records are shared, so nobody may change one: folds are pure, and are tested on records that cannot be changed.
    """

    def __init__(self, events: int = EVENTS) -> None:
        """Remembers between ``events`` / 2 and ``events`` of the newest, and never more."""
        self._half = max(1, events // 2)
        self._young: dict[bytes, Mapping[str, Any]] = {}
        self._old: dict[bytes, Mapping[str, Any]] = {}

    def through(self, decode: Decode) -> Decode:
        """``decode`` for payloads that no one has decoded lately; what it raises is not remembered."""

        def remembered(payload: bytes) -> Mapping[str, Any]:
            data = self._young.get(payload)
            if data is None:
                data = self._old.get(payload)
                if data is None:
                    data = decode(payload)
                    self._young[payload] = data
                    if len(self._young) >= self._half:
                        self._old, self._young = self._young, {}
            return data

        return remembered
