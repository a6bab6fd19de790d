"""One server of ``read_cost``: ``python -P read_cost_child.py WHAT PORT REDIS_URL GENERATION``.

It runs by its path, so that PYTHONPATH can name another checkout: then that checkout's code serves. ``speed`` serves
``GET /riders/{rider_id}/speed`` of riders with full windows, which it writes to Redis first, under GENERATION; the
rest of the API is there, without an event store. ``bare`` is a Litestar application with one route.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

from litestar import Litestar, MediaType, Response, get
from litestar.params import FromPath

from domain.features.speed.window import EMPTY, WindowPing
from domain.gps_ping import GpsPing
from domain.identifiers import shard_of
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.http_server.server import serve_http
from infrastructure.operations.served_read_log import ServedReadRecorder
from infrastructure.process_pool import tune_gc
from infrastructure.redis.connection import connect, connect_async
from infrastructure.redis.state_reader import StateReader
from infrastructure.settings.settings import Settings
from read_models.redis_keys import state_key
from read_models.speed import view as speed
from read_models.speed.state import encode

HOST = "127.0.0.1"
RIDERS = 10_000


def rider(number: int) -> str:
    return f"rider-{number}"


def fill(url: str, generation: int) -> None:
    """Write a full window for each rider, who goes north at 5 m/s with GPS noise."""
    chance, start_ms = random.Random(1), time.time_ns() // 1_000_000 - 10_000
    # Both as an earlier commit has them: ``--before`` runs this file with its code.
    client: Any = connect(url)
    pipeline = client.pipeline(transaction=False)
    for number in range(RIDERS):
        window = tuple(
            WindowPing(
                start_ms + turn * 1_000,
                f"{number * 16 + turn:032x}",
                52.5 + turn * 4.5e-5 + chance.uniform(0, 1e-5),
                13.4 + chance.uniform(0, 1e-5),
                5.0,
                None,
            )
            for turn in range(10)
        )
        state = EMPTY._replace(version=10, position=10, pings=10, window=window)
        key = rider(number)
        pipeline.hset(state_key(speed.NAME, generation, shard_of(key)), key, encode(state))
    pipeline.execute()
    client.close()


async def _submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
    return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def _nothing() -> None:
    """Does nothing, because no gauge needs a refresh."""


def api(url: str, generation: int) -> Litestar:
    """The API, with the share of recorded answers that is the default."""
    settings = Settings(host=HOST)
    recorder: ServedReadRecorder[Any] = ServedReadRecorder(settings.served_reads_share, len, lambda: None)
    recorder.start()
    parts = ApiParts(
        submit=_submit,
        speed=StateReader(connect_async(url), speed.NAME, lambda: generation),
        past_speed=cast("Any", None),  # nothing here reads the past
        delay_ms=lambda: 40,
        on_served=recorder,
        checks={},
        refresh_metrics=_nothing,
    )
    return build(settings, parts)


@get("/riders/{rider_id:str}/speed", media_type=MediaType.JSON)
async def ready_bytes(rider_id: FromPath[str]) -> Response[bytes]:
    """What the framework and the server need for an answer of the same size."""
    return Response(READY + rider_id.encode() + b'"}', media_type=MediaType.JSON)


READY = b'{"' + b"x" * 300 + b'":"'


def main(what: str, port: int, url: str, generation: int) -> None:
    """Serve until SIGTERM."""
    tune_gc()
    if what == "bare":
        application = Litestar([ready_bytes], logging_config=None, openapi_config=None)
    else:
        fill(url, generation)
        application = api(url, generation)
    serve_http(application, Settings(host=HOST, port=port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
