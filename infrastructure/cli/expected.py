"""What commands that read or fold the log may meet, and what a person does about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.cli.errors import UserError


@contextmanager
def expected_as_user_error() -> Iterator[None]:
    """Errors of servers, of the registry and of the log itself, each with what to do next. Raises UserError.

    What is not named here is a defect of the code, and keeps its traceback.
    """
    import redis
    from alembic.util import CommandError
    from eventsourcing.persistence import PersistenceError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from infrastructure.event_store.head import LogNotInitialised
    from infrastructure.parallel import WorkerFailed
    from infrastructure.redis.connection import EvictingRedis
    from infrastructure.registry.compatibility import InvalidSchema
    from infrastructure.registry.ids import RegistryUnavailable
    from infrastructure.registry.refusals import Incompatible
    from projections.filler import LogHasHoles
    from projections.ports import PortUnavailable
    from projections.replay.as_of import Unresolvable
    from projections.shards import LostRace
    from projections.stored_state import BrokenState
    from projections.writer import BrokenFold

    try:
        yield
    except (
        PortUnavailable,
        LostRace,
        WorkerFailed,
        BrokenFold,
        BrokenState,
        Unresolvable,
        EvictingRedis,
        LogNotInitialised,
    ) as error:
        raise UserError(str(error)) from error
    except RegistryUnavailable as error:
        raise UserError(f"{error}; see RIDELOG_SCHEMA_REGISTRY_URL") from error
    except Incompatible as error:
        raise UserError(f"{error}; `python app.py schemas check` shows what differs") from error
    except InvalidSchema as error:
        raise UserError(f"{error}; docs/schemas.md says what a schema may be") from error
    except LogHasHoles as error:
        raise UserError(
            f"{error}; attach the partitions of `events` that were detached, or restore a backup (docs/backup.md)"
        ) from error
    except redis.ResponseError as error:
        raise UserError(f"Redis: {error}; see RIDELOG_REDIS_URL and the rights of its user") from error
    except redis.RedisError as error:
        raise UserError(f"Redis does not answer: {error}; see RIDELOG_REDIS_URL") from error
    except CommandError as error:
        raise UserError(f"the database is not this version's: {error}; run the version that migrated it") from error
    except PersistenceError as error:
        raise UserError(f"Postgres: {error}; see RIDELOG_POSTGRES_URL") from error
    except DBAPIError as error:
        raise UserError(f"Postgres: {str(error.orig).strip()}; see RIDELOG_POSTGRES_URL") from error
    except SQLAlchemyError as error:
        raise UserError(f"Postgres: {str(error).splitlines()[0]}; see RIDELOG_POSTGRES_URL") from error
