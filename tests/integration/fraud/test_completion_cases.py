"""A button that the pings contradict is a case whose file is the same in every replay, at any later time."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from domain.deliveries.commands import Assign, Complete, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.values import Coordinates
from domain.gps_ping import parse_ping
from domain.identifiers import SHARDS
from domain.riders.commands import ReviewAlert
from infrastructure.backends import Backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.settings.settings import Settings
from projections.completion import COMPLETION
from projections.rebuild.catch_up import CatchUp
from tests.support.servers.servers import fresh_database
from tests.support.worlds.command_line import run_here

START_MS = 1_790_000_000_000
CUSTOMER = Coordinates(52.5, 13.4)
RESTAURANT = Coordinates(52.518, 13.4)
"""Two kilometres from the customer."""


class CompletionDesk(NamedTuple):
    """A log with one order that was reported done two kilometres from its customer."""

    backends: Backends
    url: str
    folder: Path

    def ride(self, start_s: int, end_s: int) -> None:
        """Pings each ten seconds, all at the restaurant."""
        pings = [
            parse_ping(
                {
                    "rider_id": "anna",
                    "latitude": RESTAURANT.latitude,
                    "longitude": RESTAURANT.longitude,
                    "event_timestamp_ms": START_MS + second * 1_000,
                    "accuracy_meters": 5.0,
                },
                START_MS + second * 1_000,
            )
            for second in range(start_s, end_s, 10)
        ]
        assert all(outcome.rejection is None for outcome in self.backends.riders.record_pings(pings))

    def command(self, command: DeliveryCommand) -> None:
        (outcome,) = self.backends.deliveries.execute([command])
        assert outcome.rejection is None

    def fold(self, generation: int) -> None:
        sink = PostgresSink(self.backends.sink_engine, COMPLETION, generation)
        CatchUp(COMPLETION, self.backends.log, sink, self.backends.decode, range(SHARDS)).run()

    def stored(self, generation: int = 1) -> tuple[str, bytes]:
        """The only case: its alert and its file."""
        query = text("SELECT alert_id, file FROM completion_cases WHERE generation = :generation")
        with self.backends.engine.connect() as connection:
            row = connection.execute(query, {"generation": generation}).one()
        return row.alert_id, bytes(row.file)

    def replayed_digest(self, *arguments: str) -> str:
        environment = {"RIDELOG_POSTGRES_URL": self.url}
        done = run_here(["replay", "completion", "--case", *arguments], environment, self.folder)
        assert done.returncode == 0, done.stderr
        return sha256(done.stdout.encode()).hexdigest()


@pytest.fixture
def desk(migrated_postgres: Postgres, tmp_path: Path) -> Iterator[CompletionDesk]:
    with fresh_database(migrated_postgres) as url, Backends(Settings(postgres_url=url)) as backends:
        one = CompletionDesk(backends, url, tmp_path)
        order: dict[str, Any] = {"order_id": "o-1", "received_ms": START_MS}
        place = PlaceOrder(
            restaurant=RESTAURANT,
            customer=CUSTOMER,
            time_zone="Europe/Berlin",
            currency="EUR",
            **order,
        )
        for command in (place, Assign(rider_id="anna", **order), PickUp(**order)):
            one.command(command)
        one.ride(10, 300)
        one.command(Complete(order_id="o-1", received_ms=START_MS + 298_000))
        one.ride(300, 900)  # no ping can change the leg any more
        backends.generations.first(COMPLETION)
        one.fold(1)
        yield one


def test_invariant_8_a_case_of_completion_is_the_same_file_after_later_events_and_a_rebuild(
    desk: CompletionDesk,
) -> None:
    alert_id, file = desk.stored()
    assert desk.replayed_digest(alert_id) == sha256(file).hexdigest()

    review = ReviewAlert(
        rider_id="anna", received_ms=START_MS + 900_000, alert_id=alert_id, verdict="cleared", by="mara", why="a gate"
    )
    assert desk.backends.rider_commands.execute([review])[0].recorded
    desk.ride(900, 2_000)
    desk.fold(1)
    desk.fold(desk.backends.generations.begin(COMPLETION).number)
    assert desk.stored() == desk.stored(2) == (alert_id, file)
    assert desk.replayed_digest(alert_id) == desk.replayed_digest(alert_id, "--key", "anna") == sha256(file).hexdigest()


def test_a_lost_table_of_cases_is_made_again_from_the_log(desk: CompletionDesk) -> None:
    alert_id, file = desk.stored()
    with desk.backends.sink_engine.begin() as connection:
        connection.execute(text("DELETE FROM completion_cases"))
    assert desk.replayed_digest(alert_id, "--key", "anna") == sha256(file).hexdigest()
