"""Checks before anything starts: HTTP is not open to others, the port is free, the database fits this code."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import closing

import redis
from sqlalchemy.exc import DBAPIError

from infrastructure.errors import UserError
from infrastructure.observability.stage_reports import forget_host
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.log_indexes import missing_indexes
from infrastructure.postgres.suitability import refuse_unsuitable
from infrastructure.redis.cluster_client import ClusterClient
from infrastructure.redis.cluster_slots import WrongRedisMode
from infrastructure.redis.connection import check_is_no_node, connect
from infrastructure.settings.addresses import shown
from infrastructure.settings.settings import Settings
from infrastructure.settings.tokens import short_tokens_warning

log = logging.getLogger("ridelog.serve")


def refuse_open_http(settings: Settings) -> None:
    """Raises UserError if other machines could reach HTTP without a token."""
    if not settings.on_loopback and not settings.parsed_tokens():
        raise UserError(
            f"--host {settings.host} is reachable from other machines: set "
            "RIDELOG_TOKENS=ingest=…,read=…,metrics=…,admin=… first, or keep to --host 127.0.0.1"
        )


def warn_of_short_tokens(settings: Settings) -> None:
    """Log one line if a token is short enough to be guessed."""
    if (warning := short_tokens_warning(settings.parsed_tokens())) is not None:
        log.warning(warning)


OPEN_BROKER = (
    "the embedded Kafka broker has no login: each local user of this machine can read and write its records in spite "
    "of RIDELOG_TOKENS; set RIDELOG_KAFKA_BOOTSTRAP to a Kafka of your own to close that"
)


def has_open_broker(settings: Settings) -> bool:
    """Whether HTTP needs tokens while the embedded broker admits each local user."""
    return settings.kafka_bootstrap is None and bool(settings.parsed_tokens())


def check_open_broker(settings: Settings, *, allowed: bool) -> None:
    """Warn that the broker is open although tokens are set.

    Raises:
        UserError: HTTP is reachable from other machines, and ``allowed`` is not set.
    """
    if not has_open_broker(settings):
        return
    if not settings.on_loopback and not allowed:
        raise UserError(f"{OPEN_BROKER}, or accept it with --allow-open-broker")
    log.warning("%s", OPEN_BROKER)


def log_external_servers(settings: Settings) -> None:
    """Log the address of each server that ``serve`` does not start itself, without user and password."""
    external = {
        "postgres_url": settings.postgres_url,
        "redis_url": settings.redis_url,
        "kafka_bootstrap": settings.kafka_bootstrap,
    }
    for name, url in external.items():
        if url is not None:
            log.info("external server: %s", shown(name, url), extra={"setting": name})


def refuse_lone_replication_url(settings: Settings) -> None:
    """Raises UserError if the tailer would read another database than the embedded one."""
    if settings.postgres_replication_url is not None and settings.postgres_url is None:
        raise UserError(
            "RIDELOG_POSTGRES_REPLICATION_URL is set and RIDELOG_POSTGRES_URL is not: both name the same database; "
            "set both, or none for the embedded one"
        )


def refuse_taken_port(host: str, port: int) -> None:
    """Raises UserError if HTTP could not be bound. Checked before servers are started, not after."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is in use; choose another with --port") from error
        raise UserError(f"cannot listen on {host}:{port}: {error}; see --host and --port") from error


def refuse_unreachable_redis(url: str) -> None:
    """Raises UserError if the external Redis does not answer, or is a cluster and the URL does not say so."""
    try:
        with closing(connect(url)) as client:
            client.ping()
            if not isinstance(client, ClusterClient):
                check_is_no_node(client)
    except WrongRedisMode as error:
        raise UserError(f"RIDELOG_REDIS_URL={shown('redis_url', url)}: {error}") from error
    except (redis.exceptions.RedisError, ValueError) as error:
        raise UserError(
            f"cannot reach Redis at {shown('redis_url', url)}: {error}; correct RIDELOG_REDIS_URL, "
            "or leave it out to start an embedded one"
        ) from error


def prepare_database(url: str, *, embedded: bool) -> None:
    """Migrate the embedded database, and delete the stage reports that an earlier ``serve`` left.

    Raises UserError if an external one is unavailable, not at this code's revision, not UTF-8 or behind a pooler.
    """
    if embedded:
        migrations.upgrade(url)
        _delete_old_reports(url)
        return
    try:
        refuse_unsuitable(url)
        found = migrations.revision(url)
    except DBAPIError as error:
        raise UserError(
            f"cannot use the database {shown('postgres_url', url)}: {error.orig}; correct RIDELOG_POSTGRES_URL, "
            "or leave it out to start an embedded one"
        ) from error
    if not found.is_current:
        raise UserError(f"the database {shown('postgres_url', url)} {found.fault}")
    _warn_of_missing_indexes(url)
    try:
        _delete_old_reports(url)
    except DBAPIError as error:
        raise UserError(
            f"the database {shown('postgres_url', url)} takes no writes: {error.orig}; if it is read-only or a standby "
            "name its primary in RIDELOG_POSTGRES_URL, or start again once it has been promoted"
        ) from error


def _warn_of_missing_indexes(url: str) -> None:
    engine = reader_engine(url)
    with engine.connect() as connection:
        missing = missing_indexes(connection)
    engine.dispose()
    if missing:
        log.warning(
            "%d indexes of the log are not built, so that some reads are slow: run `python app.py migrate` to the end,"
            " events are recorded meanwhile",
            len(missing),
        )


def _delete_old_reports(url: str) -> None:
    engine = reader_engine(url)
    forget_host(engine)
    engine.dispose()
