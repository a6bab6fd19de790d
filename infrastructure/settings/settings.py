"""Every setting of ridelog, read once: flag > environment ``RIDELOG_<NAME>`` > ``ridelog.toml`` > default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from infrastructure.settings.addresses import ADDRESSES
from infrastructure.settings.kafka_address import check_files, kafka_address
from infrastructure.settings.payment_provider import secret_bytes
from infrastructure.settings.redaction import HIDDEN, remember
from infrastructure.settings.sources import SettingsError, description, read_environment, read_flags, read_toml
from infrastructure.settings.tokens import Role, parse_tokens
from infrastructure.settings.values import is_loopback
from infrastructure.timestamps import time_ms

__all__ = ["Role", "Settings", "SettingsError"]

DEFAULT_TOML = Path("ridelog.toml")
DEFAULT_DATA_DIR = Path(".ridelog")

Positive = Annotated[int, Meta(ge=1)]
MIN_LINK_KEY_CHARS = 32
"""A shorter secret could be guessed from one link, offline."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable set of settings. A ``*_url`` of None starts the embedded server."""

    data_dir: Annotated[Path, Meta(description="where the embedded servers keep data and logs")] = DEFAULT_DATA_DIR
    host: Annotated[str, Meta(min_length=1, description="address that HTTP binds; off loopback needs tokens")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="HTTP port; 0 takes a free one")] = 8000
    postgres_url: Annotated[str | None, Meta(description="external PostgreSQL, else the embedded one")] = None
    postgres_replication_url: Annotated[
        str | None,
        Meta(description="the same database for the tailer's replication connection, if a pooler rejects replication"),
    ] = None
    redis_url: Annotated[str | None, Meta(description="external Redis or Valkey, else the embedded one")] = None
    kafka_bootstrap: Annotated[
        str | None,
        Meta(description="external Kafka, host:port,… or sasl_ssl://user:password@host:port,…; else embedded"),
    ] = None
    schema_registry_url: Annotated[str | None, Meta(description="external schema registry, else our own")] = None
    tokens: Annotated[
        str | None, Meta(description="ingest=…,read+dispatch=…,metrics=…,admin=…; a role may have several tokens")
    ] = None
    link_key: Annotated[
        str | None,
        Meta(description="signs customers' links, the same on every node; else made and kept in the data directory"),
    ] = None
    payments_url: Annotated[
        str | None, Meta(description="the payment provider's webhook; without it no payout is handed over")
    ] = None
    payments_secret: Annotated[
        str | None,
        Meta(description="signs what is handed over: whsec_… or at least 24 bytes; shared with the provider"),
    ] = None
    payments_since: Annotated[
        str | None,
        Meta(description="legs that ended before are not handed over; needed on a log with an older, unpaid history"),
    ] = None
    target_freshness_ms: Annotated[Positive, Meta(description="a speed older than twice this is stale")] = 15_000
    feature_ttl_ms: Annotated[Positive, Meta(description="a speed older than this is expired")] = 7_200_000
    served_reads_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of the served speeds that is recorded, to be recomputed from the events",
            extra={"expected": "a number from 0 to 1"},
        ),
    ] = 0.01
    served_reads_keep: Annotated[Positive, Meta(description="recorded speeds that are kept, the newest")] = 1_000_000
    city_snapshots_keep: Annotated[
        Positive, Meta(description="city snapshots whose number, fences and digest are kept; one is made every 2 s")
    ] = 100_000
    served_etas_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of the served ETAs that is recorded, to be recomputed from the events",
            extra={"expected": "a number from 0 to 1"},
        ),
    ] = 1.0
    served_etas_keep: Annotated[Positive, Meta(description="recorded ETAs that are kept, the newest")] = 1_000_000
    map_tiles: Annotated[
        str | None,
        Meta(
            description="tiles of the page's map: https://host/{z}/{x}/{y}.png, or an archive: https://host/city.pmtiles;"
            " without it none are asked for"
        ),
    ] = None
    map_attribution: Annotated[str, Meta(description="what the map says of its tiles, as text")] = ""
    partition_rows: Annotated[Positive, Meta(description="positions in one partition of the events table")] = 10_000_000
    topic_partitions: Annotated[
        Literal[1, 2, 4, 8, 16, 32, 64], Meta(description="partitions of a topic, fixed for its life")
    ] = 8
    topic_prefix: Annotated[
        str,
        Meta(
            description="prefix of each topic's name",
            pattern=r"^[A-Za-z0-9._-]*$",
            extra={"expected": "letters, digits, '.', '_' and '-'"},
        ),
    ] = ""
    kafka_client: Annotated[
        Literal["confluent", "kafka-python"], Meta(description="library of the Kafka data plane")
    ] = "confluent"
    relay: Annotated[
        Literal["wal", "polling", "external"],
        Meta(
            description="how events get to Kafka: wal needs wal_level=logical; polling reads the table; "
            "external means another program, such as Debezium"
        ),
    ] = "wal"
    slot_name: Annotated[
        str,
        Meta(
            description="replication slot of the tailer, and the name of its checkpoint",
            pattern=r"^[a-z0-9_]{1,63}$",
            extra={"expected": "1 to 63 small letters, digits and '_'"},
        ),
    ] = "ridelog"
    publication_name: Annotated[
        str,
        Meta(
            description="publication that the tailer reads",
            pattern=r"^[a-z_][a-z0-9_]{0,62}$",
            extra={"expected": "1 to 63 small letters, digits and '_', the first not a digit"},
        ),
    ] = "ridelog"
    projections: Annotated[
        str | None,
        Meta(description="projections that serve follows itself, name,…; none or empty: all. Flink follows the others"),
    ] = None
    flink_url: Annotated[
        str | None, Meta(description="REST address of a Flink cluster that follows projections: http://host:8081")
    ] = None
    flink_gather_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="for how long a Flink job gathers the records of a subtask")
    ] = 200
    flink_bundle_batches: Annotated[
        Positive, Meta(description="gathered batches that Flink hands to Python at once")
    ] = 1
    flink_bundle_ms: Annotated[
        Positive, Meta(description="for how long gathered batches may wait for a bundle to be full")
    ] = 20
    flink_checkpoint_ms: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="interval of the checkpoints of a Flink job")
    ] = 10_000
    consumer_group_prefix: Annotated[str, Meta(min_length=1, description="prefix of each consumer group")] = "ridelog"
    max_batch_items: Annotated[Positive, Meta(description="pings in one request")] = 10_000
    max_body_bytes: Annotated[Positive, Meta(description="bytes of one request's body")] = 8 * 1024 * 1024
    max_connections: Annotated[Positive, Meta(description="open HTTP connections, above which new ones get 503")] = (
        4_096
    )
    max_streams: Annotated[
        Positive, Meta(description="open streams of /events and of /live, above which new ones get 503")
    ] = 256
    ingest_queue_pings: Annotated[
        Positive, Meta(description="pings that may wait for a commit, above which requests get 503")
    ] = 100_000
    commit_batch_pings: Annotated[Positive, Meta(description="pings in one transaction of the group commit")] = 5_000
    replay_http_events: Annotated[
        Positive, Meta(description="events that one HTTP request may fold to answer as of a past instant")
    ] = 200_000
    rider_cache: Annotated[Positive, Meta(description="live riders kept in memory by ingest")] = 100_000
    snapshot_every: Annotated[Positive, Meta(description="events of one rider between snapshots")] = 1_000
    embedded_kafka_max_records: Annotated[
        Positive,
        Meta(description="records after which the in-memory embedded broker is drained and restarted"),
    ] = 5_000_000
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="least severe log line that is written")
    ] = "INFO"
    log_format: Annotated[Literal["text", "json"], Meta(description="form of a log line")] = "text"
    metrics_dir: Annotated[Path | None, Meta(description="where processes share their metrics")] = None

    def __post_init__(self) -> None:
        """Reject malformed tokens and addresses at the start.

        At the first request, malformed tokens would look like wrong passwords. With a malformed address a client would
        retry for ever, and its errors would quote the password.
        """
        remember([*self.parsed_tokens(), *(secret for secret in (self.link_key, self.payments_secret) if secret)])
        if self.link_key is not None and len(self.link_key) < MIN_LINK_KEY_CHARS:
            raise SettingsError(f"link_key (RIDELOG_LINK_KEY): at least {MIN_LINK_KEY_CHARS} characters are expected")
        self._check_payments()
        for name, read in ADDRESSES.items():
            value = getattr(self, name, None)
            if value is None:
                continue
            try:
                remember(read(value).secrets)
                if name == "kafka_bootstrap":
                    check_files(kafka_address(value))
            except ValueError as error:
                raise SettingsError(f"{name} (RIDELOG_{name.upper()}): {error}") from error

    def _check_payments(self) -> None:
        if (self.payments_url is None) != (self.payments_secret is None):
            raise SettingsError(
                "payments_url (RIDELOG_PAYMENTS_URL) and payments_secret (RIDELOG_PAYMENTS_SECRET) are needed "
                "together: no payment is handed over unsigned"
            )
        if self.payments_secret is not None:
            try:
                secret_bytes(self.payments_secret)
            except ValueError as error:
                raise SettingsError(f"payments_secret (RIDELOG_PAYMENTS_SECRET): {error}") from error
        try:
            _ = self.payments_since_ms
        except ValueError as error:
            raise SettingsError(f"payments_since (RIDELOG_PAYMENTS_SINCE): {error}") from error

    @classmethod
    def load(
        cls,
        flags: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        toml: Path | None = DEFAULT_TOML,
    ) -> Settings:
        """The settings in force. A flag whose value is None was not given. A missing toml file is no error.

        Raises SettingsError, with the origin, for an unknown name or a value that does not fit.
        """
        kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
        values: dict[str, Any] = {"data_dir": DEFAULT_DATA_DIR.absolute()}
        if toml is not None:
            values.update(read_toml(toml, kinds))
        values.update(read_environment(os.environ if env is None else env, kinds))
        values.update(read_flags(flags or {}, kinds))
        try:
            return cls(**values)
        except ValueError as error:
            raise SettingsError(str(error)) from error

    def parsed_tokens(self) -> dict[str, frozenset[Role]]:
        """Bearer token -> its roles; empty without tokens. Raises SettingsError on a malformed list."""
        return parse_tokens(self.tokens) if self.tokens else {}

    @property
    def payments_since_ms(self) -> int | None:
        """The end of the first leg that is handed over, epoch milliseconds. Raises ValueError if it is no time."""
        return None if self.payments_since is None else time_ms(self.payments_since)

    @property
    def on_loopback(self) -> bool:
        """Whether HTTP is reachable only from this machine."""
        return is_loopback(self.host)

    @property
    def local_url(self) -> str:
        """The URL at which this machine reaches HTTP, also if HTTP is bound to every address."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The ``RIDELOG_*`` variables that give a child process these same settings."""
        return {
            f"RIDELOG_{name.upper()}": str(value)
            for name, value in msgspec.structs.asdict(self).items()
            if value is not None
        }

    def public(self) -> dict[str, object]:
        """Name -> value, safe to paste into a report: no token, no secret, and only host and database of an address."""
        shown: dict[str, object] = {}
        for name, value in msgspec.structs.asdict(self).items():
            if name == "tokens" and value:
                shown[name] = ",".join(f"{'+'.join(sorted(roles))}=***" for roles in self.parsed_tokens().values())
            elif name in {"link_key", "payments_secret"} and value:
                shown[name] = HIDDEN
            elif name in ADDRESSES and value:
                shown[name] = ADDRESSES[name](value).shown
            else:
                shown[name] = str(value) if isinstance(value, Path) else value
        return shown

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Name -> what the setting is for."""
        return {field.name: description(field.type) for field in msgspec.structs.fields(cls)}
