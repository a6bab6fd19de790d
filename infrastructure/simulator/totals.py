"""What a simulation has sent and what the server said to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from infrastructure.client.receipts import Receipt
from infrastructure.simulator.phone import Kind, Upload
from infrastructure.simulator.world import Rider


class Totals:
    """Counts of pings; written by one thread, read by any."""

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.kinds: Counter[Kind] = Counter()
        self.truths: dict[str, Rider] = {}
        """How each rider truly was at the newest ping sent."""

    def add(self, uploads: Iterable[Upload], receipt: Receipt) -> None:
        """One answered request."""
        truths = dict(self.truths)
        for upload in uploads:
            self.sent += len(upload.fixes)
            self.kinds[upload.kind] += len(upload.fixes)
            if upload.kind is not Kind.REPEAT:
                truths[upload.rider_id] = upload.fixes[-1].truth
        # Replaced as a whole: the demo reads it from another thread.
        self.truths = truths
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected.update(item.code for item in receipt.rejected)

    def summary(self) -> dict[str, Any]:
        """For ``--json``. ``late``: sent in a batch after a time offline; ``repeated``: sent a second time."""
        return {
            "sent": self.sent,
            "late": self.kinds[Kind.LATE],
            "repeated": self.kinds[Kind.REPEAT],
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
        }
