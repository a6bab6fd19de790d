"""Up to where all is published: past a token only when it *and all earlier ones* are acknowledged. Pure."""

from __future__ import annotations

from collections import deque


class Watermark:
    """Tokens are handed out in the log's order; acknowledgements may come in any order (invariant 2).

    Acks that overtook each other have moved confirmed LSNs past undelivered records elsewhere; here an LSN is
    confirmed only from the front of the queue.
    """

    def __init__(self, position: int | None = None) -> None:
        self._open: deque[tuple[int, int, int | None]] = deque()
        self._done: set[int] = set()
        self.confirmed = 0
        """LSN before which everything is safe."""
        self.position = position
        """The mark: every event up to here is acknowledged; None while that is not known."""
        self.passed = 0
        """The last token passed."""

    def committed(self, token: int, end_lsn: int, position: int | None = None) -> None:
        """The transaction of ``token`` ends at ``end_lsn`` (0 if it was not read from the WAL) and at ``position``."""
        self._open.append((token, end_lsn, position))
        self._advance()

    def acknowledged(self, token: int) -> None:
        self._done.add(token)
        self._advance()

    def idle(self, wal_end: int) -> None:
        """The server says that it has sent all up to ``wal_end``, and we stand between transactions.

        Without this an idle table would hold the server's WAL for ever.
        """
        if not self._open:
            self.confirmed = max(self.confirmed, wal_end)

    def outstanding(self) -> int:
        """Transactions that are not confirmed yet."""
        return len(self._open)

    def _advance(self) -> None:
        while self._open and self._open[0][0] in self._done:
            token, end_lsn, position = self._open.popleft()
            self._done.discard(token)
            self.confirmed = max(self.confirmed, end_lsn)
            if position is not None:
                self.position = max(self.position or 0, position)
            self.passed = token
