"""Declares every metric of ridelog. Processes share them through files, so that one ``/metrics`` shows all.

``PROMETHEUS_MULTIPROC_DIR`` must be set before this module is imported (``metrics_directory.share_metrics``).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def named_gauge(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A gauge whose value is the one that any process set last."""
    return Gauge(name, help_text, labels, multiprocess_mode="mostrecent")


class ProcessIdentity(Collector):
    """A series of value 1 whose label has the current value. Only the process that sets it exports it.

    The shared files keep every series for as long as ``serve`` runs. There, an old value would still be exported, and
    an alert on two values would never end.
    """

    def __init__(self, name: str, help_text: str, label: str) -> None:
        self.name, self.label = name, label
        self._help_text = help_text
        self._value = ""  # not known yet: not exported

    def set_value(self, value: str) -> None:
        """Replace the value of the label."""
        self._value = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The current series, for the registry."""
        family = GaugeMetricFamily(self.name, self._help_text, labels=[self.label])
        if value := self._value:
            family.add_metric([value], 1)
        yield family


PINGS = Counter("ridelog_pings", "Pings by outcome", ("outcome",))
REJECTED = Counter("ridelog_pings_rejected", "Pings not recorded, by reason", ("code",))
REQUESTS = Histogram(
    "ridelog_http_request_seconds", "Time of HTTP requests", ("method", "route", "status"), buckets=_SECONDS
)
REFUSED = Counter(
    "ridelog_pings_refused",
    "Pings of requests answered with 503, which the client must resend: queue_full, event_store, clock_ahead;"
    " uploads_full, counted as one per request",
    ("why",),
)
COMMANDS = Counter(
    "ridelog_delivery_commands",
    "Commands on deliveries, and on riders: recorded, repeated, or the code with which one was refused",
    ("verb", "outcome"),
)
DENIED = Counter(
    "ridelog_http_denied", "Requests rejected with 401 (no token, or an unknown one) or 403 (another role)", ("status",)
)
HTTP_REFUSED = Counter(
    "ridelog_http_refused",
    "Requests that the HTTP server rejected before any route, and connections closed without an answer, by code",
    ("code",),
)
STREAMS = named_gauge("ridelog_http_streams", "Server-Sent Event streams that are open")
STREAMS_CAPACITY = named_gauge("ridelog_http_streams_capacity", "Streams that may be open before the next one gets 503")
QUEUE = named_gauge("ridelog_ingest_queue_pings", "Pings that wait to be committed")
QUEUE_CAPACITY = named_gauge("ridelog_ingest_queue_capacity_pings", "Pings that may wait before requests are rejected")
COMMIT_SECONDS = Histogram("ridelog_commit_seconds", "Time of one group commit", buckets=_SECONDS)
COMMIT_PINGS = Histogram(
    "ridelog_commit_pings", "Pings in one group commit", buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
)

LOG_POSITION = named_gauge("ridelog_log_position", "Position of the head of the log")
LOG = ProcessIdentity("ridelog_log_info", "1 for the log in the database; another log has another id", "log_id")
LOG_CLOCK_AHEAD = named_gauge(
    "ridelog_log_clock_ahead_seconds", "How far the time of the last event is ahead of the database's clock"
)
OLDEST_TRANSACTION = named_gauge(
    "ridelog_oldest_transaction_seconds", "Age of the oldest open transaction that keeps dead row versions"
)
DEAD_ROWS = named_gauge(
    "ridelog_dead_rows",
    "Dead row versions not yet removed, of tables that are written all the time",
    ("table",),
)
DATABASE_BYTES = named_gauge("ridelog_database_bytes", "Size of the database, without its WAL")
DISK_FREE = named_gauge("ridelog_disk_free_bytes", "Free space on the file system of the data directory")
DISK_SIZE = named_gauge("ridelog_disk_size_bytes", "Size of the file system of the data directory")
STAGE_POSITION = named_gauge("ridelog_stage_position", "Highest position that a stage has passed", ("stage",))
STAGE_LAG = named_gauge("ridelog_stage_lag_events", "Events that a stage is behind the one before it", ("stage",))
STAGE_FRESHNESS = named_gauge(
    "ridelog_stage_freshness_seconds", "Now minus the time of the newest event that a stage has passed", ("stage",)
)
STAGE_DELAY = named_gauge(
    "ridelog_stage_delay_seconds", "How long the oldest event that a stage has not passed has waited", ("stage",)
)
STAGE_LATE = named_gauge("ridelog_stage_late", "1 while a stage is later than twice the target freshness", ("stage",))
STAGE_STUCK = named_gauge(
    "ridelog_stage_stuck", "1 while a worker hangs, or applies none of the waiting events", ("stage",)
)
STAGE_CONNECTED = named_gauge("ridelog_stage_connected", "1 while a stage reports and is connected", ("stage",))
STAGE_FAILURES = Counter(
    "ridelog_stage_failures",
    "Times that a stage lost a server and reconnected, by error",
    ("stage", "error"),
)

TAILER_RECORDS = Counter("ridelog_tailer_records", "Records acknowledged by Kafka")
TAILER_IN_FLIGHT = named_gauge("ridelog_tailer_in_flight_records", "Records read from the WAL and not acknowledged")
HEARTBEAT_SECONDS = Histogram(
    "ridelog_tailer_heartbeat_seconds",
    "From a commit in the event store until Kafka has acknowledged everything before it",
    buckets=_SECONDS,
)
TAILER_FILLED = Counter(
    "ridelog_tailer_filled", "Events missing from the slot that the tailer published from the event store"
)
TAILER_REPEATED = Counter("ridelog_tailer_repeated", "Events that the slot delivered again and that were dropped")
STANDBYS = named_gauge("ridelog_tailer_standbys", "Tailers that wait to take over")
SLOT_MADE_AT = named_gauge(
    "ridelog_slot_made_timestamp_seconds",
    "When a slot was last created, by reason: first, missing, lost, of another log, or created by another program",
    ("why",),
)
SLOT_STATUS = named_gauge("ridelog_slot_status", "1 for the wal_status of the tailer's slot", ("status",))
SLOT_SAFE = named_gauge("ridelog_slot_safe_bytes", "WAL that may be written before the slot is in danger of being lost")
SLOT_RETAINED = named_gauge("ridelog_slot_retained_bytes", "WAL that the server keeps for the tailer's slot")
SLOT_UNCONFIRMED = named_gauge("ridelog_slot_unconfirmed_bytes", "WAL after the position that the tailer has confirmed")
SLOT_ACTIVE = named_gauge("ridelog_slot_active", "1 while a tailer reads from the slot")

PARKED_KEYS = named_gauge("ridelog_parked_keys", "Keys held back at an event that cannot be folded", ("projection",))
REBUILD_DUE = named_gauge(
    "ridelog_rebuild_due", "1 while the served generation was folded by other code", ("projection",)
)
DEVICE_SECONDS = Histogram(
    "ridelog_device_to_ingest_seconds",
    "From a ping's event time to its reception, of the newest ping of each request",
    buckets=(0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
INGEST_SECONDS = Histogram(
    "ridelog_ingest_to_commit_seconds", "From the reception of a request to its commit", buckets=_SECONDS
)

PROJECTION_EVENTS = Counter(
    "ridelog_projection_events", "Events by what the projection did with them", ("projection", "what")
)
FENCE_MISMATCHES_AT = named_gauge(
    "ridelog_fence_distrusted_timestamp_seconds",
    "When a fence last mismatched and its shard was refolded: of another log, beyond the head, or missing",
    ("projection",),
)
BATCH_SECONDS = Histogram(
    "ridelog_projection_batch_seconds",
    "From the arrival of a batch until it is folded and stored",
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
CITY_SECONDS = Histogram("ridelog_city_seconds", "Time to make one city snapshot", buckets=_SECONDS)
GENERATIONS = named_gauge("ridelog_generations", "Generations of a projection, by state", ("projection", "state"))
GENERATION = named_gauge("ridelog_generation", "Number of the generation that readers follow", ("projection",))

PAYMENTS = Counter("ridelog_payments", "Answers of the payment provider, by what they mean", ("answer",))
PAYMENTS_OPEN = named_gauge("ridelog_payments_open", "Payouts and adjustments that the provider does not have yet")
PAYMENTS_HELD = named_gauge("ridelog_payments_held", "Payouts and adjustments that wait for a person")
PAYMENTS_DIFFERING = named_gauge(
    "ridelog_payments_differing", "Payments whose amount in the served generation is not the one handed over"
)
FLINK_JOB_RUNNING = named_gauge(
    "ridelog_flink_job_running", "1 while the Flink job of a projection runs; 0: it failed or restarts", ("projection",)
)
FLINK_JOB_RESTARTS = named_gauge(
    "ridelog_flink_job_restarts", "Restarts of the Flink job of a projection since it was submitted", ("projection",)
)
FLINK_CHECKPOINT_AGE = named_gauge(
    "ridelog_flink_checkpoint_age_seconds",
    "Since the last completed checkpoint of the Flink job of a projection; 0: none runs",
    ("projection",),
)
FLINK_CLUSTER_UP = named_gauge("ridelog_flink_cluster_up", "1 if the Flink cluster of RIDELOG_FLINK_URL answers")
PAYMENTS_OLDEST_SECONDS = named_gauge(
    "ridelog_payments_oldest_seconds", "Since the first attempt of the oldest payment that the provider has not taken"
)
PAYMENTS_UNPAID_HISTORY = named_gauge(
    "ridelog_payments_unpaid_history", "1 while nothing is handed over until a person decides on payouts of long ago"
)

REPLAY_SECONDS = Histogram(
    "ridelog_replay_read_seconds",
    "Time of an answer about the past, by outcome",
    ("outcome",),
    buckets=_SECONDS,
)

RESTORED = named_gauge(
    "ridelog_log_restored", "1 while a finding that the log was restored or replaced is not accepted"
)

SERVED_READS = Counter("ridelog_served_reads", "Answers recorded, to be recomputed by the audit")
SERVED_READS_DROPPED = Counter(
    "ridelog_served_reads_dropped",
    "Answers that should have been recorded and were not: the buffer was full, or the database unavailable",
)
FIRST_ETAS = Counter(
    "ridelog_first_etas",
    "First answers of the ETA in a leg: recorded as an event, repeated (the leg has one), refused, or dropped because"
    " the queue was full",
    ("outcome",),
)
ETA_MODEL_UNAVAILABLE = named_gauge(
    "ridelog_eta_model_unavailable", "1 while the promoted model cannot be loaded and the baseline answers, else 0"
)
SHADOW_ETAS = Counter(
    "ridelog_shadow_etas",
    "Answers of the model in shadow: recorded, dropped (a full queue, or no database), or failed",
    ("outcome",),
)
ETA_FEATURE_PSI = named_gauge(
    "ridelog_eta_feature_psi",
    "Population stability index of a feature of served ETAs against the training set of their model; NaN: not known",
    ("model", "feature"),
)
ETA_MAE = named_gauge(
    "ridelog_eta_mae_seconds", "Mean absolute error of served ETAs of the newest day that is known", ("model", "leg")
)
ETA_BIAS = named_gauge(
    "ridelog_eta_bias_seconds", "Mean of served ETA less what happened; above 0: it was quicker", ("model", "leg")
)
ETA_HELD = named_gauge(
    "ridelog_eta_held_share",
    "Share of served ETAs whose order was handed over by then, by quantile",
    ("model", "leg", "quantile"),
)
PARITY_CHECKED = Counter(
    "ridelog_parity_checked", "Served answers recomputed from the events, by verdict", ("projection", "verdict")
)
PARITY_UNCHECKED = named_gauge("ridelog_parity_unchecked", "Recorded answers not yet recomputed", ("projection",))
PARITY_MISMATCHES = named_gauge(
    "ridelog_parity_mismatches", "Recorded answers of the served generation that differ from the log", ("projection",)
)


class CounterTotal:
    """Feeds a counter from a running total that another object keeps."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counted = 0

    def update(self, total: int) -> None:
        """Add to the counter what ``total`` has grown by."""
        self._counter.inc(max(0, total - self._counted))
        self._counted = total


def exposition() -> bytes:
    """Metrics of all processes in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(LOG)
    return generate_latest(registry)
