"""The naive way to an ETA, for ``eta``: ``python -m benchmarks.naive_eta_child PORT DATA_DIR POSTGRES_URL REDIS_URL``.

It is the API process of ``serve`` with one other route: its ETA asks the event store for the order's events and its
rider's ten latest pings, and computes the answer by the same code. So it takes pings, answers ``GET speed`` and has the
same threads. It knows no city, no pace and no other order of the rider: those need more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from litestar import MediaType, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from sqlalchemy import text

from domain.features.eta.packaged import packaged_baseline
from domain.features.keyed_event import KeyedEvent
from domain.features.speed.window import WINDOW_PINGS
from domain.identifiers import aggregate_id
from infrastructure.backends import Backends
from infrastructure.http.hot_route import HotRoute, ReadyAnswer
from infrastructure.processes import api
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.orders import ORDERS
from projections.speed import SPEED
from read_models.eta.answer import eta_answer
from read_models.view import body_of

HOST = "127.0.0.1"
_COLUMNS = "SELECT version, position, event_type, payload FROM events WHERE aggregate_id = :key"
_ORDER = text(f"{_COLUMNS} ORDER BY version")
_PINGS = text(f"{_COLUMNS} AND event_type = 'GpsPing' ORDER BY event_time DESC, event_id DESC LIMIT {WINDOW_PINGS}")


def naive_route(backends: Backends) -> Callable[..., HTTPRouteHandler]:
    """In the place of ``eta_route``; it waits for the database in a thread."""
    engine, decode, model = backends.engine, backends.decode, packaged_baseline()

    def folded(projection: Any, key: str, rows: Sequence[Any]) -> Any:
        state = projection.initial
        for version, position, event_type, payload in rows:
            state = projection.fold(state, KeyedEvent(key, version, position, event_type, decode(bytes(payload))))
        return state

    def answer(order_id: str) -> bytes:
        with engine.connect() as connection:
            rows = connection.execute(_ORDER, {"key": aggregate_id("Delivery", order_id)}).all()
            order = folded(ORDERS, order_id, rows)
            pings = connection.execute(_PINGS, {"key": aggregate_id("Rider", order.rider_id)}).all()
        rider = folded(SPEED, order.rider_id, pings[::-1])
        return body_of(eta_answer(order_id, order, rider, (None, None), model, now_ms()))

    @HotRoute("/deliveries/{order_id:str}/eta", http_method="GET", media_type=MediaType.JSON, opt={"role": "read"})
    async def naive_eta(order_id: FromPath[str]) -> Response[dict[str, Any]]:
        return ReadyAnswer(await asyncio.to_thread(answer, order_id), {})

    return lambda *_parts: naive_eta


def main(port: int, data_dir: Path, postgres_url: str, redis_url: str) -> None:
    """Serve until SIGTERM."""
    settings = Settings(host=HOST, port=port, data_dir=data_dir, postgres_url=postgres_url, redis_url=redis_url)
    with Backends(settings) as backends:
        # Everything else of the process stays as it is: only so are its latencies comparable.
        vars(api)["eta_route"] = naive_route(backends)
        api.main(settings)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5])
