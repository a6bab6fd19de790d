"""The books of an import: every row read is accepted, a duplicate or rejected for a reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

from infrastructure.client.receipts import Receipt

UNSENDABLE = "invalid_type"
"""The code of rows that hold no ping at all, as the server would call them."""


class Tally:
    """Counts of one import; one thread at a time."""

    def __init__(self) -> None:
        self.rows = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.position: int | None = None

    def add(self, rows: int, receipt: Receipt) -> None:
        """``rows`` rows of which those in ``receipt`` were sent; the others count as UNSENDABLE."""
        self.rows += rows
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected.update(item.code for item in receipt.rejected)
        sent = receipt.accepted + receipt.duplicates + len(receipt.rejected)
        if rows > sent:
            self.rejected[UNSENDABLE] += rows - sent
        if receipt.position is not None:
            self.position = max(self.position or 0, receipt.position)

    @property
    def unaccounted(self) -> int:
        """Rows without a verdict; anything but 0 is a fault."""
        return self.rows - self.accepted - self.duplicates - self.rejected.total()

    def summary(self) -> dict[str, Any]:
        """For ``--json``. ``position``: the highest in the log of the pings recorded, None without any."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "position": self.position,
        }
