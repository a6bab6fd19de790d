"""Ids of schemas after the registry was restored with the log: looked up again, also after it was unavailable."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from eventsourcing.persistence import JSONTranscoder, OperationalError

from domain.events.contracts import Codec, split_frame
from domain.riders.rider import Rider
from infrastructure.event_store.aggregates import AvroMapper
from infrastructure.schema_registry.client import RegisteredIds, RegistryUnavailable
from infrastructure.schema_registry.queries import RegisteredSchema


class Registry:
    """A registry that counts its ids from ``first``, and may be unavailable."""

    def __init__(self) -> None:
        self.unavailable = False
        self.asked = 0
        self.restored(1)

    def restored(self, first: int) -> None:
        self._next = first
        self._schemas: dict[str, int] = {}

    def register(self, subject: str, schema: str) -> int:
        self.asked += 1
        if self.unavailable:
            raise RegistryUnavailable("unavailable")
        if schema not in self._schemas:
            self._schemas[schema] = self._next
            self._next += 1
        return self._schemas[schema]

    def schema(self, schema_id: int) -> str | None:
        if self.unavailable:
            raise RegistryUnavailable("unavailable")
        return next((schema for schema, known in self._schemas.items() if known == schema_id), None)

    def versions(self, subject: str) -> Sequence[RegisteredSchema]:
        return []


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def codec(registry: Registry) -> Codec:
    return Codec(RegisteredIds(registry))


def written(codec: Codec) -> bytes:
    (event,) = Rider.register("anna", 1_790_000_000_000).collect_events()
    return AvroMapper(JSONTranscoder(), codec).to_stored_event(event).state


def test_regression_ids_are_asked_for_anew_after_a_restore(registry: Registry, codec: Codec) -> None:
    before = written(codec)
    assert codec.decode(before)["rider_id"] == "anna"
    registry.restored(100)
    codec.forget()
    after = written(codec)
    assert split_frame(after)[0] >= 100
    # What the old id means now the registry alone knows; it was in memory before.
    assert codec.decode(after)["rider_id"] == "anna"
    with pytest.raises(ValueError, match="knows no schema"):
        codec.decode(before)


def test_ids_are_asked_for_once(registry: Registry, codec: Codec) -> None:
    written(codec)
    asked = registry.asked
    written(codec)
    assert registry.asked == asked
    codec.forget()
    written(codec)
    assert registry.asked == 2 * asked


def test_a_registry_that_is_away_after_a_restore_is_asked_again_by_the_next_batch(
    registry: Registry, codec: Codec
) -> None:
    registry.restored(100)
    codec.forget()
    registry.unavailable = True
    for _ in range(2):
        # A PersistenceError: the phone is answered with 503, and sends again.
        with pytest.raises(OperationalError, match="unavailable"):
            written(codec)
    registry.unavailable = False
    assert split_frame(written(codec))[0] >= 100


def test_an_event_is_not_loaded_while_the_registry_is_unavailable_after_a_restore(
    registry: Registry, codec: Codec
) -> None:
    """A PersistenceError: the client is answered with 503, and sends again. 500 would not make it."""
    mapper = AvroMapper(JSONTranscoder(), codec)
    (event,) = Rider.register("anna", 1_790_000_000_000).collect_events()
    stored = mapper.to_stored_event(event)
    codec.forget()
    registry.unavailable = True
    with pytest.raises(OperationalError, match="unavailable"):
        mapper.to_domain_event(stored)
    registry.unavailable = False
    assert mapper.to_domain_event(stored) == event
