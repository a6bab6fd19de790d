"""A client that keeps sending during all failures, and remembers what was acknowledged."""

from __future__ import annotations

import math
import random
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import httpx

from tests.support.reports.proofs import whole
from tests.support.time_limits import scaled_s
from tests.support.worlds.accounting import Identity
from tests.support.worlds.ridelog import Ridelog

RIDERS_OF_A_REQUEST = None if whole() else 2
FEW_PINGS = 20
"""In ``make test`` the pings of a request of few are of so many riders, and so in one or two partitions, not in most.

For each fetch that finds a record, the embedded broker lists all batches of its partition: 0.7 ms of CPU for a record
after 100 batches, 3.7 ms after 4,000, for each of a dozen consumers. Batches of few pings in each partition are what a
load of many small requests costs most.
"""
SOON_S = 2.0
"""A fault begins when ``wait_for`` returns. So long after that, batches are still sent at full pace."""


def some_riders(riders: Sequence[str], pings: int, chance: random.Random) -> Sequence[str]:
    """The riders of the next request, which has so many pings: RIDERS_OF_A_REQUEST of them if it has few, or all."""
    count = RIDERS_OF_A_REQUEST
    if count is None or count >= len(riders) or pings >= FEW_PINGS:
        return riders
    return chance.sample(riders, count)


class Load:
    """Posts seeded pings of a few riders in batches. A batch is sent until it is acknowledged; one in ten is repeated.

    Ends after ``pings``, or after the number given to ``finish``. ``pace_s`` is the interval between batches; late
    batches, for example after an outage, are sent at once. ``long_pace_s`` is the interval while a fault lasts, from
    SOON_S after ``wait_for`` until ``finish``: in half a minute hundreds of batches prove no more than dozens, and each
    costs a commit and the work of every projection.
    """

    def __init__(
        self,
        ridelog: Ridelog,
        *,
        seed: int,
        pings: float = math.inf,
        riders: int = 20,
        batch: int = 25,
        pace_s: float = 0.0,
        long_pace_s: float | None = None,
        began_s_ago: float = 10_000,
    ) -> None:
        """Event times start ``began_s_ago`` and are 200 ms apart: a long load must not reach the future."""
        self._ridelog = ridelog
        self._chance = random.Random(seed)
        self._pings = pings
        """Endless by default: a load that ends by itself would leave the remaining faults without load."""
        self._batch = batch
        self._pace_s = pace_s
        self._long_pace_s = pace_s if long_pace_s is None else long_pace_s
        self._long_from = math.inf
        mark = uuid.uuid4().hex[:6]
        self._riders = [f"load-{mark}-{number}" for number in range(riders)]
        self._start_ms = time.time_ns() // 1_000_000 - int(began_s_ago * 1_000)
        self.acknowledged: set[Identity] = set()
        self.retries = 0
        self._reached = threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._pings = 0
        self._thread.join(timeout=scaled_s(180))
        assert not self._thread.is_alive(), "the load did not come to an end"
        if self._failure is not None:
            raise self._failure

    def wait_for(self, pings: int) -> None:
        """Wait until ``pings`` pings are acknowledged."""
        with self._reached:
            assert self._reached.wait_for(
                lambda: len(self.acknowledged) >= pings or self._failure, timeout=scaled_s(120)
            )
        self._long_from = time.monotonic() + SOON_S

    def finish(self, more: int) -> None:
        """End when ``more`` further pings are acknowledged."""
        self._pings = len(self.acknowledged) + more

    def _run(self) -> None:
        pause, number, due = threading.Event(), 0, time.monotonic()
        try:
            with httpx.Client(timeout=10.0) as client:
                while number < self._pings:
                    riders = some_riders(self._riders, self._batch, self._chance)
                    pings = [self._ping(riders, number + n) for n in range(self._batch)]
                    self._send(client, pings)
                    if self._chance.random() < 0.1:
                        self._send(client, pings)
                    number += self._batch
                    is_long = math.isinf(self._pings) and time.monotonic() > self._long_from
                    due += self._long_pace_s if is_long else self._pace_s
                    pause.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:  # noqa: BLE001  (re-raised where the test waits)
            self._failure = error
            with self._reached:
                self._reached.notify_all()

    def _ping(self, riders: Sequence[str], number: int) -> dict[str, Any]:
        late_ms = self._chance.choice([0, 0, 0, 30_000])
        return {
            "rider_id": self._chance.choice(riders),
            "latitude": 52.5 + self._chance.random() / 100,
            "longitude": 13.4 + self._chance.random() / 100,
            "event_timestamp_ms": self._start_ms + number * 200 - late_ms,
            "accuracy_meters": 5,
            "event_id": str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
        }

    def _send(self, client: httpx.Client, pings: list[dict[str, Any]]) -> None:
        deadline = time.monotonic() + scaled_s(120)
        pause = threading.Event()
        while True:
            try:
                answer = client.post(f"{self._ridelog.info.http_url}/pings", json=pings)
            except (httpx.HTTPError, AssertionError):
                answer = None
            if answer is not None and answer.status_code == 200:
                break
            # 503 while a server is unavailable, no connection while the API is. Anything else is a failure.
            assert answer is None or answer.status_code == 503, answer.text
            assert time.monotonic() < deadline, "the pings are not acknowledged in time"
            self.retries += 1
            pause.wait(0.1)
        body = answer.json()
        assert body["accepted"] + body["duplicates"] == len(pings), body
        with self._reached:
            self.acknowledged |= {(p["rider_id"], p["event_timestamp_ms"], p["event_id"]) for p in pings}
            self._reached.notify_all()
