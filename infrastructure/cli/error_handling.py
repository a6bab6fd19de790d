"""Turns the errors that a command can meet into one line that says what to run, and Ctrl-C into a clean end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from infrastructure.errors import UserError


@contextmanager
def expected_as_user_error() -> Iterator[None]:
    """Turn errors of the servers, the registry and the log into a UserError that says what to do next.

    An error that ``advice`` does not name is a defect of the code and keeps its traceback. Raises UserError.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        message = advice(error)
        if message is None:
            raise
        raise UserError(message) from error


def advice(error: Exception) -> str | None:
    """Describe an error that a command can meet, and what to run; None for any other error.

    The classes are imported here, after the failure. Imported earlier they would slow down every start. They would
    also load the metrics before ``process`` has set the directory that the processes share, and ``/metrics`` would be
    empty.
    """
    import redis
    from alembic.util import CommandError
    from eventsourcing.persistence import PersistenceError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from infrastructure.event_store.log_head import LogNotInitialised
    from infrastructure.process_pool import WorkerFailed
    from infrastructure.redis.cluster_slots import WrongRedisMode
    from infrastructure.redis.connection import EvictingRedis
    from infrastructure.schema_registry.client import RegistryUnavailable
    from infrastructure.schema_registry.compatibility import InvalidSchema
    from infrastructure.schema_registry.errors import Incompatible
    from projections.core.ports import FenceConflict, PortUnavailable, SinkRejected
    from projections.core.shard_writer import BrokenFold
    from projections.core.state_codec import BrokenState
    from projections.rebuild.catch_up import LogHasGaps
    from projections.replay.as_of import Unresolvable

    match error:
        case (
            PortUnavailable()
            | SinkRejected()
            | FenceConflict()
            | WorkerFailed()
            | BrokenFold()
            | BrokenState()
            | Unresolvable()
            | EvictingRedis()
            | WrongRedisMode()
            | LogNotInitialised()
        ):
            return str(error)
        case RegistryUnavailable():
            return f"{error}; see RIDELOG_SCHEMA_REGISTRY_URL"
        case Incompatible():
            return f"{error}; `python app.py schemas check` shows what differs"
        case InvalidSchema():
            return f"{error}; docs/schemas.md says which schemas are valid"
        case LogHasGaps():
            return f"{error}; re-attach the detached partitions of `events`, or restore a backup (docs/backup.md)"
        case redis.ResponseError():
            return f"Redis rejected a command: {error}; see RIDELOG_REDIS_URL and the permissions of its user"
        case redis.RedisError():
            return f"Redis does not answer: {error}; see RIDELOG_REDIS_URL"
        case CommandError():
            return f"the database was migrated by another version of ridelog: {error}; run that version"
        case PersistenceError():
            return f"Postgres: {error}; see RIDELOG_POSTGRES_URL"
        case DBAPIError():
            return f"Postgres: {str(error.orig).strip()}; see RIDELOG_POSTGRES_URL"
        case SQLAlchemyError():
            return f"Postgres: {str(error).splitlines()[0]}; see RIDELOG_POSTGRES_URL"
        case _:
            return None


INTERRUPTED = 130
"""Exit code of an interrupted command: what shells use for Ctrl-C."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt, as Ctrl-C does, so that an aborted command still prints its report.

    Works in the main thread only.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
