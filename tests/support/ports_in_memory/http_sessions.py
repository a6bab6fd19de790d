"""Sessions in memory: the port ``infrastructure.http.sessions.SessionRows``."""

from __future__ import annotations

import time


class MemorySessions:
    """Keeps the sessions of each token that end last. ``later_s`` moves its clock."""

    def __init__(self, max_token_sessions: int = 1_000) -> None:
        self._max_token_sessions = max_token_sessions
        self.rows: dict[bytes, tuple[bytes, float]] = {}
        self.later_s = 0.0

    def add(self, id_hash: bytes, token_hash: bytes, seconds: float) -> int:
        ends = self._now() + seconds
        self.rows[id_hash] = (token_hash, ends)
        of_token = [(row_ends, key) for key, (token, row_ends) in self.rows.items() if token == token_hash]
        for _, key in sorted(of_token, reverse=True)[self._max_token_sessions :]:
            del self.rows[key]
        return round(ends * 1000)

    def token_of(self, id_hash: bytes) -> bytes | None:
        found = self.rows.get(id_hash)
        return found[0] if found is not None and found[1] > self._now() else None

    def delete(self, id_hash: bytes) -> None:
        self.rows.pop(id_hash, None)

    def stored(self) -> bytes:
        """Every byte that is stored."""
        return b"".join(id_hash + token_hash for id_hash, (token_hash, _) in self.rows.items())

    def expire(self) -> None:
        """Let every session reach its end."""
        self.later_s += 13 * 3_600

    def _now(self) -> float:
        return time.time() + self.later_s
