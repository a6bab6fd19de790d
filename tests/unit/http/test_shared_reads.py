"""Pages that poll share one read and its outcome, and wait for it in no thread that another request needs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.errors import HANDLERS, ApiError
from infrastructure.http.models import models_router
from infrastructure.http.parked import parked_router
from infrastructure.http.shared_reads import MAX_KEPT_READS, SharedReads
from infrastructure.http.verdicts import Verdicts, verdicts_route
from projections.core.ports import PortUnavailable
from tests.unit.http.test_past_threads import REQUESTS, status_of

INTERVAL_S = 10.0


class SlowRead:
    """A read that ends when the test says so, and then finds no server."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.count = 0

    def __call__(self, *_: object) -> Any:
        self.count += 1
        self.began.set()
        self.may_end.wait(30)
        raise PortUnavailable("no server")

    def card(self, *_: object) -> Any:
        try:
            return self()
        except PortUnavailable as error:
            raise ApiError(503, "unavailable", str(error)) from error

    all = page = digest = card


def verdicts(read: SlowRead) -> HTTPRouteHandler:
    return verdicts_route(Verdicts(read))


def models(read: SlowRead) -> Router:
    return models_router(cast("Any", read))


def parked(read: SlowRead) -> Router:
    return parked_router(cast("Any", read))


@pytest.mark.parametrize(
    ("path", "route"),
    [("/verdicts", verdicts), ("/models", models), ("/models/0123", models), ("/parked", parked)],
)
def test_regression_polls_that_wait_leave_the_threads_to_the_health_checks(
    path: str, route: Callable[[SlowRead], HTTPRouteHandler | Router]
) -> None:
    read = SlowRead()
    application = Litestar([route(read)], exception_handlers=HANDLERS, openapi_config=None)

    async def run() -> list[int]:
        polls = [asyncio.ensure_future(status_of(application, path)) for _ in range(REQUESTS)]
        try:
            while not read.began.is_set():
                await asyncio.sleep(0)
            # As /health/ready does: its checks would time out, and the node would be taken out of service.
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "ok"), 30) == "ok"
        finally:
            read.may_end.set()
        # The failure is kept too: the next poll does not read again.
        return [*await asyncio.gather(*polls), await status_of(application, path)]

    assert asyncio.run(run()) == [503] * (REQUESTS + 1)
    assert read.count == 1


class OneModel:
    """A registry of one model with a plot. ``plots``: how often the plot was read."""

    whole = "0123456789abcdef" * 4

    def __init__(self) -> None:
        self.plots = 0

    def digest(self, start: str) -> str:
        assert self.whole.startswith(start)
        return self.whole

    def plot(self, digest: str, _name: str) -> bytes:
        self.plots += 1
        assert digest == self.whole
        return b"a plot"


def test_regression_a_plot_is_kept_once_however_its_digest_is_shortened() -> None:
    """Given a plot of 1 MiB that is asked for by 64 starts of its digest, then 64 copies would be 64 MiB."""
    model = OneModel()
    application = Litestar([models_router(cast("Any", model), INTERVAL_S)], exception_handlers=HANDLERS)
    starts = [model.whole[:count] for count in range(1, 65)]

    async def run() -> list[int]:
        return [await status_of(application, f"/models/{start}/plots/calibration.png") for start in starts]

    assert asyncio.run(run()) == [200] * 64
    assert model.plots == 1


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_outcome_is_kept_for_the_interval_by_what_was_asked_until_it_is_forgotten() -> None:
    clock = Clock()
    reads: SharedReads[int] = SharedReads(INTERVAL_S, clock)
    found = iter(range(10))

    async def run() -> list[int]:
        answers = [await reads.get("a", lambda: next(found)) for _ in range(3)]
        answers.append(await reads.get("b", lambda: next(found)))
        clock.now_s += INTERVAL_S
        answers.append(await reads.get("a", lambda: next(found)))
        reads.forget()
        return [*answers, await reads.get("a", lambda: next(found))]

    assert asyncio.run(run()) == [0, 0, 0, 1, 2, 3]


def test_a_client_that_leaves_does_not_end_the_read_of_the_others() -> None:
    may_end = threading.Event()
    reads: SharedReads[bool] = SharedReads(INTERVAL_S)

    async def run() -> bool:
        leaving, staying = (asyncio.ensure_future(reads.get("a", lambda: may_end.wait(30))) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        may_end.set()
        return await staying

    assert asyncio.run(run())


def test_invariant_15_kept_reads_are_bounded_and_too_many_that_wait_are_refused() -> None:
    may_end = threading.Event()
    reads: SharedReads[bool] = SharedReads(INTERVAL_S)

    async def run() -> None:
        waiting = [asyncio.ensure_future(reads.get(n, lambda: may_end.wait(30))) for n in range(MAX_KEPT_READS)]
        try:
            await asyncio.sleep(0)
            with pytest.raises(ApiError, match="other reads wait") as refused:
                await reads.get("one more", may_end.is_set)
            assert refused.value.status == 503
        finally:
            may_end.set()
        await asyncio.gather(*waiting)
        assert await reads.get("one more", may_end.is_set)

    asyncio.run(run())
