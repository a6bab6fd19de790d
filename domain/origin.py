"""Where a recorded event comes from: its command, its reception and its cause, for every event but the ping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from uuid import UUID

from domain.identifiers import uuid5_text


class Origin(NamedTuple):
    """The last fields of an event's record.

    ``received_timestamp_ms`` is the reception of the command in epoch milliseconds, 0 if unknown. ``command_id`` is the
    request's Idempotency-Key, else a made id. ``command_digest`` is the digest of verb and parsed body of a command
    with an Idempotency-Key, else empty: a made id is therefore never taken for a key. ``caused_by`` is the event id of
    the cause, empty if there is none.
    """

    received_timestamp_ms: int = 0
    source_service: str = "unknown"
    command_id: str = ""
    command_digest: str = ""
    caused_by: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The origin in a decoded record. A field that its contract does not have gets its default."""
        return cls(**{name: data[name] for name in cls._fields if name in data})


UNKNOWN_ORIGIN = Origin()
"""Of an event whose contract did not name its origin yet."""


def made_command_id(aggregate: UUID, version: int) -> str:
    """The id of a command without a key: UUIDv5 of the version before which the aggregate decided it.

    It depends on no clock and no chance, so a command that is decided again inside the log's lock gives equal bytes.
    """
    return uuid5_text(aggregate, f"command/{version}")
