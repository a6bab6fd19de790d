"""Metrics of the tailer under the names that Debezium's metrics have behind its JMX exporter.

Only metrics with the same meaning are included, so that dashboards and alerts made for Debezium work unchanged: the
table is in docs/observability.md. No counter has the suffix ``_total``, because JMX metrics have none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from infrastructure.observability.metrics import named_gauge

_LABELS = ("context", "plugin", "name")


class DebeziumSample(NamedTuple):
    """Measurements of a relay. Times in milliseconds, -1 if there was no event; the other values since it started."""

    behind_ms: float
    since_last_event_ms: float
    events: int
    filtered: int
    transactions: int
    queue_capacity: int
    queue_room: int


CONNECTED = named_gauge("debezium_metrics_Connected", "1 while the relay is connected to the database", _LABELS)
_GAUGES = {
    "behind_ms": named_gauge(
        "debezium_metrics_MilliSecondsBehindSource",
        "From the commit of the last transaction until Kafka acknowledged it, or longer if an older one waits",
        _LABELS,
    ),
    "since_last_event_ms": named_gauge(
        "debezium_metrics_MilliSecondsSinceLastEvent",
        "Time since Kafka acknowledged the last event; -1: none yet",
        _LABELS,
    ),
    "events": named_gauge(
        "debezium_metrics_TotalNumberOfEventsSeen", "Events read and processed since the relay started", _LABELS
    ),
    "filtered": named_gauge(
        "debezium_metrics_NumberOfEventsFiltered", "Events of streams that no topic carries", _LABELS
    ),
    "transactions": named_gauge(
        "debezium_metrics_NumberOfCommittedTransactions", "Transactions acknowledged, heartbeats included", _LABELS
    ),
    "queue_capacity": named_gauge(
        "debezium_metrics_QueueTotalCapacity", "Records that may wait for the Kafka client", _LABELS
    ),
    "queue_room": named_gauge(
        "debezium_metrics_QueueRemainingCapacity", "How many more records may wait for the Kafka client", _LABELS
    ),
}
# Events are only inserted, so each one counts as a creation.
_CREATED = named_gauge(
    "debezium_metrics_TotalNumberOfCreateEventsSeen", "As TotalNumberOfEventsSeen: events are only inserted", _LABELS
)


def show(name: str, seen: DebeziumSample) -> None:
    """Set the metrics of the active relay. ``name``: the slot's name, in the place of Debezium's topic.prefix."""
    CONNECTED.labels("streaming", "postgres", name).set(1)
    for field, gauge in _GAUGES.items():
        gauge.labels("streaming", "postgres", name).set(getattr(seen, field))
    _CREATED.labels("streaming", "postgres", name).set(seen.events)


def lost(name: str) -> None:
    """Set to unconnected: the relay lost a server and retries."""
    CONNECTED.labels("streaming", "postgres", name).set(0)


def waiting(name: str) -> None:
    """Set all metrics to NaN: another relay is active, and no alert may fire for this one's values."""
    for gauge in (CONNECTED, *_GAUGES.values(), _CREATED):
        gauge.labels("streaming", "postgres", name).set(math.nan)
