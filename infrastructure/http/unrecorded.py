"""The answers to commands that could not be recorded: 503, and the client sends them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.http.errors import unavailable
from infrastructure.ingest.group_commit import ClockRefused, NotRecorded, QueueFull


@contextmanager
def unrecorded_as_api_error() -> Iterator[None]:
    """Raises ApiError (503) for what ``GroupCommit.submit`` raises."""
    try:
        yield
    except QueueFull as error:
        raise unavailable("queue_full", f"nothing was recorded: {error}; send the request again") from error
    except ClockRefused as error:
        raise unavailable("clock_ahead", str(error)) from error
    except NotRecorded as error:
        raise unavailable(
            "event_store_unavailable",
            "the event store is unavailable; send the request again, it is recorded once",
        ) from error
