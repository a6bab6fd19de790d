"""``/deliveries`` over an application of the tests, which answers every command with what the test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from domain.deliveries.batch import CommandOutcome
from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.values import Coordinates, DeliverySnapshot
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.http.auth import Authorizer
from infrastructure.http.deliveries import deliveries_router
from infrastructure.http.delivery_answers import DeliveryDetail, unknown_delivery, with_completion
from infrastructure.http.delivery_links import link_route, track_route
from infrastructure.http.denials import Denials
from infrastructure.http.errors import HANDLERS, ApiError
from infrastructure.http.eta_answers import EtaAnswer
from infrastructure.http.link_tokens import LinkTokens
from infrastructure.settings.tokens import parse_tokens

HERE = Coordinates(52.5, 13.4)
TIMES = (1_790_000_000_000, 1_790_000_060_000, None, None, None, None)
SNAPSHOT = DeliverySnapshot(
    "order-7", "assigned", "anna", HERE, HERE, "Berlin", "Europe/Berlin", "EUR", *TIMES, 600, None, 3, 2, 17
)
ETA: dict[str, Any] = {
    "order_id": "order-7",
    "eta_seconds": 301,
    "p50_seconds": 300.75,
    "p90_seconds": 620.5,
    "model": {"name": "baseline", "digest": "abc"},
    "features": {"leg": "to_restaurant", "rider_to_restaurant_m": 812.4, "rider_speed_mps": 4.75},
    "because": ["stacked"],
    "positions": {"order": 17, "rider": 918, "city_snapshot": 404},
    "at_ms": 1_790_000_070_000,
    "age_ms": 1_500,
}
ORDER = {
    "order_id": "order-7",
    "restaurant": asdict(HERE),
    "customer": asdict(HERE),
    "time_zone": "Europe/Berlin",
    "currency": "EUR",
}


class RecordingDispatch:
    """The application of a dispatcher's requests; ``answer`` is what every command comes to."""

    def __init__(self) -> None:
        self.commands: list[DeliveryCommand] = []
        self.counted: list[tuple[str, str]] = []
        self.answer: CommandOutcome | Exception = CommandOutcome(SNAPSHOT, True, None, 17)
        self.snapshot = SNAPSHOT
        self.eta: dict[str, Any] | ApiError = ETA
        self.etas_asked: list[str] = []
        self.tokens = LinkTokens("a secret of the tests, thirty-two characters")

    async def submit(self, commands: Sequence[DeliveryCommand]) -> list[CommandOutcome]:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.commands += commands
        return [self.answer]

    def one(self, order_id: str) -> DeliverySnapshot:
        if order_id == "order-off":
            raise ApiError(503, "read_model_unavailable", "Postgres is unavailable", {"Retry-After": "1"})
        if order_id != "order-7":
            raise unknown_delivery(order_id)
        return self.snapshot

    def detail(self, order_id: str) -> DeliveryDetail:
        return with_completion(self.one(order_id), None)

    async def live_eta(self, order_id: str) -> EtaAnswer:
        self.etas_asked.append(order_id)
        if isinstance(self.eta, ApiError):
            raise self.eta
        return EtaAnswer(self.eta, b"", {}, EtaQuantiles(0.0, 0.0))

    def page(self, _filters: Any, _after: Any, _limit: int) -> list[DeliverySnapshot]:
        return [SNAPSHOT]

    def application(self) -> Litestar:
        router = deliveries_router(
            self.submit,
            self,
            lambda verb, outcome: self.counted.append((verb, outcome)),
            link_route(self.one, self.tokens),
        )
        guard = Denials(Authorizer(parse_tokens("dispatch=dispatcher,read=reader,ingest=phone")))
        return Litestar(
            [router, track_route(self.one, self.live_eta, self.tokens)],
            guards=[guard],
            exception_handlers=HANDLERS,
            logging_config=None,
        )

    @contextmanager
    def client(self, token: str | None = None) -> Iterator[TestClient[Litestar]]:
        """A client with this token: dispatcher, reader or phone."""
        with TestClient(self.application()) as client:
            if token is not None:
                client.headers["Authorization"] = f"Bearer {token}"
            yield client
