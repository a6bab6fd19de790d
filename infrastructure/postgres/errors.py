"""What Postgres refuses of a sink's content, told from what passes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from infrastructure.event_store.errors import OF_THE_DATA, refused_or_away
from projections.ports import PortUnavailable

_OF_THE_CONTENT = (*OF_THE_DATA, "23")
"""With integrity constraint violations: a sink's compare-and-set leaves no race that would explain one."""


@contextmanager
def sink_errors() -> Iterator[None]:
    """Refused for content that does not fit; PortUnavailable for everything else, a lost deadlock included."""
    try:
        yield
    except DBAPIError as error:
        raise rejected_or_unavailable(error.orig, error) from error
    except SQLAlchemyError as error:
        raise PortUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error


def rejected_or_unavailable(original: BaseException | None, error: BaseException) -> Exception:
    """By the SQLSTATE of the driver's error."""
    return refused_or_away(original, error, _OF_THE_CONTENT)
