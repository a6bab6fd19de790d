"""What Postgres refuses for good, told from what passes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from projections.ports import PortUnavailable, Refused

_OF_THE_CONTENT = ("22", "23", "54")
"""SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


@contextmanager
def sink_errors() -> Iterator[None]:
    """Refused for content that does not fit; PortUnavailable for everything else, a lost deadlock included."""
    try:
        yield
    except DBAPIError as error:
        raise refused_or_away(error.orig, error) from error
    except SQLAlchemyError as error:
        raise PortUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error


def refused_or_away(original: BaseException | None, error: BaseException) -> Exception:
    """By the SQLSTATE of the driver's error."""
    words = (str(original or error).splitlines() or [type(error).__name__])[0]
    code = getattr(original, "pgcode", None) or ""
    return Refused(f"{words} ({code})") if code[:2] in _OF_THE_CONTENT else PortUnavailable(f"Postgres: {words}")
