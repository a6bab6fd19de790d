"""A database with alerts of two kinds, reviews and places, and the API of ``/fraud`` on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
from litestar import Litestar
from sqlalchemy import Engine, insert, text

from domain.events.contracts import Codec
from domain.features.case_file import (
    COMPLETION,
    SPOOFING,
    CaseFile,
    CaseFix,
    Signal,
    alert_id,
    case_bytes,
)
from domain.identifiers import aggregate_id
from domain.riders.application import Riders
from domain.riders.command_service import RiderCommandOutcome, RiderCommands
from domain.riders.commands import RiderCommand
from domain.timestamps import utc_datetime
from infrastructure.embedded.postgres import Postgres
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.http.auth import Authorizer
from infrastructure.http.errors import HANDLERS
from infrastructure.http.fraud import fraud_routes
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.settings.tokens import Role
from read_models.completion.tables import completion_places
from read_models.fraud.queries import CaseSource
from read_models.fraud.tables import fraud_alerts, fraud_reviews
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database
from tests.unit.domain.given import NOW_MS, a_ping

ALERTS = 30
STATUS_OF = ("open", "confirmed", "cleared")
# Both kinds in one table, under two generations: what a list has of each is that of its projection's active one.
SOURCES = [CaseSource(SPOOFING, fraud_alerts), CaseSource(COMPLETION, fraud_alerts)]
GENERATIONS = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('spoofing', 1, 1, '', false, 'following'), ('spoofing', 2, 1, '', true, 'following'),
       ('completion', 3, 1, '', true, 'following')
"""
REVIEW = {"verdict": "cleared", "by": "mara", "why": "a tunnel on this route"}


PLACE_OF = ("52.5001,13.4002", "52.6001,13.5002")
"""The places of cases of completion with an even and an odd number."""


def kind_of(number: int) -> str:
    return COMPLETION if number % 5 == 4 else SPOOFING


def a_case(number: int) -> CaseFile:
    """Alert ``number`` was raised ``number // 2`` seconds after NOW_MS, about rider-(number % 4)."""
    rider, kind = f"rider-{number % 4}", kind_of(number)
    at_ms = NOW_MS + number // 2 * 1_000
    fix = CaseFix(f"0b7e9d1c-3f6a-4f0e-8f65-{number:012}", at_ms, at_ms + 60, 90 + number, 52.5, 13.4, 5.5, None, True)
    signals = [Signal("mock_flag", (("fixes", 3),), (fix.event_id,))]
    if kind == COMPLETION:
        far = (("at_least_mm", 180_000), ("nearest_mm", 190_000), ("place", PLACE_OF[number % 2]))
        signals = [Signal("button_against_pings", far, (fix.event_id,))]
    if kind == SPOOFING:
        measured = (("fixes", 4), ("seconds", 25.0), ("device_least_m", 110), ("speed_changes", 4))
        signals.append(Signal("frozen_position", measured, (fix.event_id,)))
    place = (1, at_ms, 90 + number, 95 + number)
    made = alert_id(kind, rider, fix.event_id)
    return CaseFile(made, rider, kind, *place, 80, tuple(signals), (fix,), "order-7", "to_customer")


CASES = [a_case(number) for number in range(ALERTS)]
IDS = [case.alert_id for case in CASES]


def status_of(number: int) -> str:
    return STATUS_OF[number % 3]


def rows(generation: int, cases: Sequence[CaseFile]) -> list[dict[str, Any]]:
    return [
        {
            "generation": generation,
            "alert_id": case.alert_id,
            "shard": 0,
            "rider_id": case.rider_id,
            "raised_at": utc_datetime(case.raised_at_ms),
            "latest_at": utc_datetime(case.raised_at_ms + 500),
            "score": case.score,
            "signals": ",".join(sorted(signal.name for signal in case.signals)),
            "order_id": case.order_id,
            "leg": case.leg,
            "position": case.position,
            "raised_position": case.raised_position,
            "fold_version": case.fold_version,
            "file": case_bytes(case),
        }
        for case in cases
    ]


def a_review_row(number: int, nth: int, verdict: str, generation: int = 2) -> dict[str, Any]:
    return {
        "generation": generation,
        "event_id": f"00000000-0000-5000-8000-{number:06}{nth:06}",
        "shard": 0,
        "alert_id": IDS[number],
        "rider_id": CASES[number].rider_id,
        "verdict": verdict,
        "reviewer": "mara",
        "why": f"reason {nth}",
        "at": utc_datetime(NOW_MS + nth),
        "position": 1_000 + nth,
    }


@contextmanager
def filled_database(server: Postgres) -> Iterator[Engine]:
    """A database with all alerts, their reviews and the places of completion."""
    with fresh_database(server) as url:
        engine = reader_engine(url)
        of_kind = {kind: [case for case in CASES if case.kind == kind] for kind in (SPOOFING, COMPLETION)}
        with engine.begin() as connection:
            connection.execute(text(GENERATIONS))
            connection.execute(insert(fraud_alerts), rows(1, of_kind[SPOOFING]))  # of the generation before
            connection.execute(insert(fraud_alerts), rows(2, of_kind[SPOOFING]) + rows(3, of_kind[COMPLETION]))
            reviews = [a_review_row(n, 1, "confirmed") for n in range(ALERTS) if status_of(n) != "open"]
            # The latest one holds, by position: it changes the verdict of every third alert.
            reviews += [a_review_row(n, 2, "cleared") for n in range(ALERTS) if status_of(n) == "cleared"]
            reviews += [a_review_row(n, 9, "cleared", generation=1) for n in range(ALERTS)]
            connection.execute(insert(fraud_reviews), reviews)
            # Riders of three shards: at the first place all stop 200 m to the north, at the second at the address.
            connection.execute(
                insert(completion_places),
                [
                    {
                        "generation": 3,
                        "shard": shard,
                        "place": place,
                        "leg": "to_customer",
                        "stops": 2,
                        "north_mm": north_mm,
                        "east_mm": 0,
                        "far_stops": far,
                    }
                    for place, north_mm, far in ((PLACE_OF[0], 400_000, 2), (PLACE_OF[1], 4_000, 0))
                    for shard in range(3)
                ],
            )
            connection.execute(text("ANALYZE"))
        try:
            yield engine
        finally:
            engine.dispose()


class Counted(list[tuple[str, str]]):
    """Verb and outcome of each command."""

    def note(self, verb: str, outcome: str) -> None:
        self.append((verb, outcome))


@contextmanager
def riders_on(filled: Engine) -> Iterator[Riders]:
    """Riders of the log, of some of whom there are alerts."""
    engine = writer_engine(filled.url.render_as_string(hide_password=False))
    codec = Codec(LocalSchemaIds())
    recorder = EventRecorder(engine, partition_rows=1000)
    riders = Riders(EventStoreFactory(recorder, SnapshotRecorder(engine), codec), PostgresHistory(engine))
    riders.record_pings([a_ping(f"rider-{number}") for number in range(3)] + [a_ping("honest")])
    try:
        yield riders
    finally:
        engine.dispose()


class FraudDesk(NamedTuple):
    """An API of ``/fraud`` that is served at ``url``. ``counted``: the reviews that were noted, with their outcomes."""

    url: str
    database: Engine
    riders: Riders
    counted: Counted


@contextmanager
def fraud_desk(server: Postgres) -> Iterator[FraudDesk]:
    """A filled database and its API, with a token for each role."""
    with filled_database(server) as filled, riders_on(filled) as riders:
        counted = Counted()
        with served(_application(filled, riders, counted)) as url:
            yield FraudDesk(url, filled, riders, counted)


def _application(filled: Engine, riders: Riders, counted: Counted) -> Litestar:
    commands = RiderCommands(riders)

    async def submit(items: Sequence[RiderCommand]) -> list[RiderCommandOutcome]:
        return commands.execute(items)

    def is_known(rider_id: str) -> bool:
        return bool(riders.store.history.latest([aggregate_id("Rider", rider_id)]))

    reader = FraudReader(filled, SOURCES, is_known)
    roles: dict[str, frozenset[Role]] = {
        "reads": frozenset({"read"}),
        "reviews": frozenset({"review"}),
        "drives": frozenset({"ingest"}),
    }
    routes = fraud_routes(reader, RiderCommandRequests(submit, counted.note))
    return Litestar(routes, guards=[Authorizer(roles)], exception_handlers=HANDLERS)


def client(url: str, token: str) -> httpx.Client:
    """A client with the token ``reads``, ``reviews`` or ``drives``."""
    return httpx.Client(base_url=url, timeout=20.0, headers={"Authorization": f"Bearer {token}"})


def expected(wanted: Callable[[int], bool]) -> list[str]:
    """The ids of the alerts with these numbers, in the order of lists."""
    numbers = sorted((n for n in range(ALERTS) if wanted(n)), key=lambda n: (n // 2, IDS[n]))
    return [IDS[n] for n in numbers]
