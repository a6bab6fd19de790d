"""What every command has that names its reception: its time, its Idempotency-Key, and the digest of its body."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from domain.deliveries.values import MAX_TEXT_CODE_POINTS, Coordinates, check_text
from domain.event_times import check_event_time
from domain.origin import UNKNOWN_ORIGIN, Origin

_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command on one aggregate, received at ``received_ms``. None is a field that the request does not have.

    ``at_ms`` is when it happened, by default at its reception; both in epoch milliseconds. ``command_id`` is the
    request's Idempotency-Key.
    """

    VERB: ClassVar[str]
    """The last part of the command's path; part of the digest, so it never changes."""
    AT_FIELD: ClassVar[str] = "at"
    KEY_FIELD: ClassVar[str]
    """The field with the aggregate's key, which is the scope of an Idempotency-Key and no part of the body."""

    received_ms: int
    at_ms: int | None = None
    command_id: str | None = None
    source_service: str | None = None

    @property
    def happened_ms(self) -> int:
        return self.received_ms if self.at_ms is None else self.at_ms

    def check(self) -> None:
        """Check the values that every command has.

        Raises:
            InvalidType: a text is too long or not printable.
            TimestampTooOld, GpsWeekRollover, TimestampInFuture: for ``at_ms``, as for a ping's time.
        """
        check_text("Idempotency-Key", self.command_id, MAX_TEXT_CODE_POINTS, least=1)
        check_text("source_service", self.source_service, MAX_TEXT_CODE_POINTS)
        if self.at_ms is not None:
            check_event_time(self.AT_FIELD, self.at_ms, self.received_ms)

    def digest(self) -> str:
        """Hex digest of verb and parsed body, by which the use of one key for two commands is detected."""
        not_body = {self.KEY_FIELD, "received_ms", "command_id"}
        body = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in not_body}
        return digest_of([self.VERB, _canonical(body)])

    @property
    def source(self) -> str | None:
        """The source that was sent, as it is recorded: an empty one is unknown. None if none was sent."""
        return UNKNOWN_ORIGIN.source_service if self.source_service == "" else self.source_service

    def origin(self, made_id: str) -> Origin:
        """The origin of the events that the command records; ``made_id`` is its id if it has no key."""
        return Origin(
            received_timestamp_ms=self.received_ms,
            source_service=self.source or UNKNOWN_ORIGIN.source_service,
            command_id=made_id if self.command_id is None else self.command_id,
            command_digest="" if self.command_id is None else self.digest(),
        )


def digest_of(value: Any) -> str:
    """Hex digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _canonical(body: dict[str, Any]) -> dict[str, Any]:
    # 52 and 52.0 are one coordinate, and so are 0.0 and -0.0.
    return {
        name: [float(value.latitude) + 0.0, float(value.longitude) + 0.0] if isinstance(value, Coordinates) else value
        for name, value in body.items()
        if value is not None
    }
