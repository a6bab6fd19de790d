"""The recorder tests that ship in the eventsourcing wheel, run against ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder
from eventsourcing.tests.persistence import AggregateRecorderTestCase, ApplicationRecorderTestCase

from infrastructure.event_store.aggregates import SnapshotRecorder
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine


class _OnPostgres:
    url: str

    @pytest.fixture(autouse=True)
    def database(self, postgres_url: str) -> Iterator[None]:
        self.engine = writer_engine(postgres_url, pool_size=15)
        yield
        self.engine.dispose()


class TestEventRecorder(_OnPostgres, ApplicationRecorderTestCase[ApplicationRecorder]):
    def create_recorder(self) -> ApplicationRecorder:
        return EventRecorder(self.engine, partition_rows=1000)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestSnapshotRecorder(_OnPostgres, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return SnapshotRecorder(self.engine)


# Imported to be subclassed; on their own they are abstract.
del AggregateRecorderTestCase, ApplicationRecorderTestCase
