"""The time at which every fold orders and ages an event (invariant 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_CLOCK_SKEW_MS = 2_000
"""How much later than its reception an event time may be and still count as measured. Real phones are ahead by less:
fixes carry the GPS second that ends after they were written."""

MAX_AHEAD_MS = 300_000
"""How much earlier ``effective_time_ms`` may be than the time as sent: ingest rejects pings that are farther ahead
(``event_times.FUTURE_TOLERANCE_MS``). A search by the time as sent extends this far beyond an instant, to find every
event that is effective by then."""


def effective_time_ms(data: Mapping[str, Any]) -> int:
    """When the event of this record happened, in epoch milliseconds: usually its event time, as sent.

    A ping whose event time is more than ``MAX_CLOCK_SKEW_MS`` after its reception comes from a clock that is ahead, so
    it counts as of its reception. As sent, it would stay the rider's latest ping until real time caught up. Records
    without a reception (version 1 of the ping, every other event) keep their event time.
    """
    sent_ms: int = data["event_timestamp_ms"]
    received_ms: int = data.get("received_timestamp_ms") or sent_ms
    return received_ms if sent_ms - received_ms > MAX_CLOCK_SKEW_MS else sent_ms
