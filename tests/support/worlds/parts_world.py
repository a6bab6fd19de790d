"""A log of riders and orders whose histories and training sets are made in parts, here or on other machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infrastructure.backends import open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.history_shards import BoundHistory, HistoryRequest
from projections.replay.as_of import AsOf, Axis
from tests.support.servers.servers import fresh_database
from tests.support.worlds.eta_log import items_of, record
from tests.unit.simulator.scenarios import busy


@contextmanager
def busy_log(postgres: Postgres) -> Iterator[Settings]:
    """Twenty minutes of three riders."""
    with fresh_database(postgres) as url:
        settings = Settings(postgres_url=url)
        record(settings, items_of(busy(3, duration_s=1_200.0, until_s=900.0)))
        yield settings


def history_of(settings: Settings, axis: Axis, last_ms: int, every_ms: int) -> BoundHistory:
    """The speeds of the last ``last_ms`` of the log, each ``every_ms``."""
    with open_backends(settings) as backends:
        position = backends.log.head("Rider").position
        end_ms = backends.archive.horizon(AsOf.at_position(position)).at_ms
        horizon = backends.archive.horizon(AsOf(axis, end_ms))
    request = HistoryRequest(
        "speed", None, end_ms - last_ms, end_ms, every_ms, axis, horizon.position, 10_000, 60_000, allow_expired=True
    )
    return BoundHistory(request, horizon)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
