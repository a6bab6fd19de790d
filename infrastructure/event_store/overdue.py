"""Ends transactions that are past their time where the server does not.

A backend that reads COPY data from its client looks at none of its time-outs (``ProcessClientReadInterrupt`` of
PostgreSQL 18). So a process that is stopped at that very point (SIGSTOP, a paused VM) keeps its locks for as long as it
sleeps: those of its shards, or the log's own. Whoever has waited for one in vain ends it, and finds the lock free next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Engine, exc, text

log = logging.getLogger("ridelog.postgres")

LOCK_NOT_AVAILABLE = "55P03"
APPLICATION = "ridelog"
"""The application_name of those who may be ended so."""

_END = text(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :application"
    "  AND state = 'active' AND wait_event = 'ClientRead'"
    # Ours to have, as theirs; before PostgreSQL 17 there is no such setting.
    "  AND xact_start < clock_timestamp() - coalesce(current_setting('transaction_timeout', true), '30s')::interval"
)


@contextmanager
def ending_overdue(engine: Engine) -> Iterator[None]:
    """When the block fails for a lock that did not come: end who may hold it for ever. Raises what the block raised."""
    try:
        yield
    except (exc.DBAPIError, psycopg2.Error) as error:
        if is_lock_timeout(error.orig if isinstance(error, exc.DBAPIError) else error):
            end_overdue(engine)
        raise


def is_lock_timeout(error: BaseException | None) -> bool:
    return getattr(error, "pgcode", None) == LOCK_NOT_AVAILABLE


def end_overdue(engine: Engine) -> int:
    """How many there were. ``engine`` has the time-outs of ``event_store.engine``."""
    with engine.connect() as connection:
        ended = connection.execute(_END, {"application": APPLICATION}).all()
    for pid, _ in ended:
        log.error("ended a transaction that was past its time while its client sent nothing", extra={"backend": pid})
    return len(ended)
