"""Every metric of ridelog, declared once. Processes share them through files, so that one ``/metrics`` shows all.

``PROMETHEUS_MULTIPROC_DIR`` must be set before this module is imported (``metrics_directory.share_metrics``).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def named_gauge(name: str, words: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(name, words, labels, multiprocess_mode="mostrecent")


class ProcessIdentity(Collector):
    """1 under what its label is now. Only the process that says so shows it: the shared files keep every series for as
    long as ``serve`` runs, so that what it was before would still be shown, and an alert on two of them never end."""

    def __init__(self, name: str, words: str, label: str) -> None:
        self.name, self.label = name, label
        self._words = words
        self._value = ""  # not known yet: not shown

    def is_now(self, value: str) -> None:
        self._value = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self.name, self._words, labels=[self.label])
        if value := self._value:
            family.add_metric([value], 1)
        yield family


PINGS = Counter("ridelog_pings", "Pings by what became of them", ("outcome",))
REJECTED = Counter("ridelog_pings_rejected", "Pings not recorded, by reason", ("code",))
REQUESTS = Histogram(
    "ridelog_http_request_seconds", "Time of HTTP requests", ("method", "route", "status"), buckets=_SECONDS
)
REFUSED = Counter(
    "ridelog_pings_refused",
    "Pings of requests answered with 503, to be sent again: queue_full, event_store, clock_ahead;"
    " uploads_full, as one a request",
    ("why",),
)
DENIED = Counter(
    "ridelog_http_denied", "Requests refused with 401 (no token, or an unknown one) or 403 (another role)", ("status",)
)
HTTP_REFUSED = Counter(
    "ridelog_http_refused",
    "Requests that the HTTP server refused before any route, and connections closed unanswered, by code",
    ("code",),
)
QUEUE = named_gauge("ridelog_ingest_queue_pings", "Pings that wait for a transaction")
QUEUE_CAPACITY = named_gauge("ridelog_ingest_queue_capacity_pings", "Pings that may wait before requests are refused")
COMMIT_SECONDS = Histogram("ridelog_commit_seconds", "Time of one group commit", buckets=_SECONDS)
COMMIT_PINGS = Histogram(
    "ridelog_commit_pings", "Pings in one group commit", buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
)

LOG_POSITION = named_gauge("ridelog_log_position", "Position of the head of the log")
LOG = ProcessIdentity("ridelog_log_info", "1 for the log that is in the database; another log has another id", "log_id")
LOG_CLOCK_AHEAD = named_gauge(
    "ridelog_log_clock_ahead_seconds", "How far the time of the last event is ahead of the database's clock"
)
OLDEST_TRANSACTION = named_gauge(
    "ridelog_oldest_transaction_seconds", "Age of the oldest open transaction that keeps dead row versions"
)
DEAD_ROWS = named_gauge(
    "ridelog_dead_rows",
    "Dead row versions that are not removed yet, of tables that are written all the time",
    ("table",),
)
DATABASE_BYTES = named_gauge("ridelog_database_bytes", "Size of the database, without its WAL")
DISK_FREE = named_gauge("ridelog_disk_free_bytes", "Free space where the data directory lies")
DISK_SIZE = named_gauge("ridelog_disk_size_bytes", "Size of the file system where the data directory lies")
STAGE_POSITION = named_gauge("ridelog_stage_position", "Highest position that a stage has passed", ("stage",))
STAGE_LAG = named_gauge("ridelog_stage_lag_events", "Events that a stage is behind the one before it", ("stage",))
STAGE_FRESHNESS = named_gauge(
    "ridelog_stage_freshness_seconds", "Now minus the time of the newest event that a stage has passed", ("stage",)
)
STAGE_DELAY = named_gauge(
    "ridelog_stage_delay_seconds", "How long the oldest event waits that a stage has not passed", ("stage",)
)
STAGE_LATE = named_gauge("ridelog_stage_late", "1 while a stage is later than twice the target freshness", ("stage",))
STAGE_STUCK = named_gauge("ridelog_stage_stuck", "1 while a worker hangs, or applies nothing of what waits", ("stage",))
STAGE_CONNECTED = named_gauge("ridelog_stage_connected", "1 while a stage reports and is connected", ("stage",))
STAGE_FAILURES = Counter(
    "ridelog_stage_failures",
    "Times that a stage lost a server and began anew, by error",
    ("stage", "error"),
)

TAILER_RECORDS = Counter("ridelog_tailer_records", "Records acknowledged by Kafka")
TAILER_IN_FLIGHT = named_gauge("ridelog_tailer_in_flight_records", "Records read from the WAL and not acknowledged")
HEARTBEAT_SECONDS = Histogram(
    "ridelog_tailer_heartbeat_seconds",
    "From a commit in the event store through the tailer until Kafka has acknowledged all before it",
    buckets=_SECONDS,
)
TAILER_FILLED = Counter("ridelog_tailer_filled", "Events that the slot did not bring and the event store did")
TAILER_REPEATED = Counter("ridelog_tailer_repeated", "Events that the slot brought again and that were dropped")
STANDBYS = named_gauge("ridelog_tailer_standbys", "Tailers that wait to take over")
SLOT_MADE_AT = named_gauge(
    "ridelog_slot_made_timestamp_seconds",
    "When a slot was last made, by why: first, missing, lost, of another log, or found made by somebody else",
    ("why",),
)
SLOT_STATUS = named_gauge("ridelog_slot_status", "1 for the wal_status that the tailer's slot has", ("status",))
SLOT_SAFE = named_gauge("ridelog_slot_safe_bytes", "WAL that may be written before the slot is in danger of being lost")
SLOT_RETAINED = named_gauge("ridelog_slot_retained_bytes", "WAL that the server keeps for the tailer's slot")
SLOT_UNCONFIRMED = named_gauge("ridelog_slot_unconfirmed_bytes", "WAL behind what the tailer has confirmed")
SLOT_ACTIVE = named_gauge("ridelog_slot_active", "1 while a tailer reads from the slot")

PARKED_KEYS = named_gauge("ridelog_parked_keys", "Keys held back at an event that cannot be folded", ("projection",))
REBUILD_DUE = named_gauge("ridelog_rebuild_due", "1 while what is served was folded by other code", ("projection",))
DEVICE_SECONDS = Histogram(
    "ridelog_device_to_ingest_seconds",
    "From a ping's event to its reception, of the newest ping of each request",
    buckets=(0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
INGEST_SECONDS = Histogram(
    "ridelog_ingest_to_commit_seconds", "From the reception of a request to its commit", buckets=_SECONDS
)

PROJECTION_EVENTS = Counter(
    "ridelog_projection_events", "Events by what a projection did with them", ("projection", "what")
)
FENCE_MISMATCHES_AT = named_gauge(
    "ridelog_fence_distrusted_timestamp_seconds",
    "When a fence was last distrusted and its shard folded anew: of another log, beyond the head, or not there",
    ("projection",),
)
BATCH_SECONDS = Histogram(
    "ridelog_projection_batch_seconds",
    "From a batch's arrival until it is folded and stored",
    ("projection",),
    buckets=_SECONDS,
)
BATCH_RECORDS = Histogram(
    "ridelog_projection_batch_records",
    "Records in one batch from Kafka",
    ("projection",),
    buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000),
)
SINK_SECONDS = Histogram(
    "ridelog_sink_write_seconds", "Time of one write to a sink, states and fences", ("projection",), buckets=_SECONDS
)
GENERATIONS = named_gauge("ridelog_generations", "Generations of a projection, by state", ("projection", "state"))
GENERATION = named_gauge("ridelog_generation", "Number of the generation that readers follow", ("projection",))

REPLAY_SECONDS = Histogram(
    "ridelog_replay_read_seconds",
    "Time of an answer about the past, by what became of it",
    ("outcome",),
    buckets=_SECONDS,
)

RESTORED = named_gauge(
    "ridelog_log_restored", "1 while it was found, and not accepted, that the log was restored or is another one"
)

SERVED_READS = Counter("ridelog_served_reads", "Answers that were put on record, to be computed again")
SERVED_READS_DROPPED = Counter(
    "ridelog_served_reads_dropped", "Answers that should have been put on record and were not: no room, or no database"
)
PARITY_CHECKED = Counter(
    "ridelog_parity_checked", "Served answers computed again from the events, by verdict", ("projection", "verdict")
)
PARITY_UNCHECKED = named_gauge(
    "ridelog_parity_unchecked", "Answers on record that are not computed again yet", ("projection",)
)
PARITY_MISMATCHES = named_gauge(
    "ridelog_parity_mismatches", "On record of the served generation: answers that are not the log's", ("projection",)
)


class CounterTotal:
    """Feeds a counter from a running total that somebody else keeps."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counted = 0

    def is_now(self, total: int) -> None:
        self._counter.inc(max(0, total - self._counted))
        self._counted = total


def exposition() -> bytes:
    """All processes' metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(LOG)
    return generate_latest(registry)
