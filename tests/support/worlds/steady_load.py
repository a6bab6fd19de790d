"""A steady load and a steady reader that run during a test: they must not notice what the test does."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.reports.proofs import whole
from tests.support.time_limits import LONGEST_S
from tests.support.waiting import eventually
from tests.support.worlds.accounting import Identity
from tests.support.worlds.load import some_riders
from tests.support.worlds.ridelog import Ridelog

REQUESTS_PER_S = 20 if whole() else 10
"""Of a steady load. Each is a commit and the work of a dozen projections: at 20 a second most of a core, whatever the
number of its pings."""
HUNG_REQUEST_S = LONGEST_S
"""A request without an answer for so long hangs. A slow answer is none of the faults that these threads look for: with
a limit of 10 s it failed a test whose machine was busy."""


class BackgroundThread:
    """A thread that runs until its ``with`` block ends, where its error is re-raised."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, name=name)

    def run(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001  (re-raised where the test waits)
            self._failure = error

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def every(self, seconds: float) -> Any:
        """Yield at a fixed rate until the end; late turns follow at once."""
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            yield
            due += seconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=HUNG_REQUEST_S)
        assert not self._thread.is_alive(), f"{self._thread.name} did not end"
        if self._failure is not None and error is None:
            raise self._failure


class SteadyLoad(BackgroundThread):
    """Sends ``rate`` pings per second of the given riders, with the current time; remembers what was acknowledged."""

    def __init__(self, ridelog: Ridelog, riders: list[str], rate: int, seed: int) -> None:
        super().__init__("steady load")
        self._ridelog = ridelog
        self._riders = riders
        self._batch = max(1, rate // REQUESTS_PER_S)
        self._chance = random.Random(seed)
        self.acknowledged: set[Identity] = set()
        self.refused = 0

    def run(self) -> None:
        waiting: list[dict[str, Any]] = []
        with httpx.Client(timeout=HUNG_REQUEST_S) as client:
            for _ in self.every(1.0 / REQUESTS_PER_S):
                riders = some_riders(self._riders, self._batch, self._chance)
                waiting += [self._ping(riders) for _ in range(self._batch)]
                try:
                    answer = client.post(f"{self._ridelog.info.http_url}/pings", json=waiting[:5_000])
                except httpx.HTTPError:
                    self.refused += 1
                    continue
                if answer.status_code == 503:
                    self.refused += 1
                    continue
                assert answer.status_code == 200, answer.text
                sent, waiting = waiting[:5_000], waiting[5_000:]
                self.acknowledged |= {(p["rider_id"], p["event_timestamp_ms"], p["event_id"]) for p in sent}

    def _ping(self, riders: Sequence[str]) -> dict[str, Any]:
        return {
            "rider_id": self._chance.choice(riders),
            "latitude": 52.5 + self._chance.random() / 100,
            "longitude": 13.4 + self._chance.random() / 100,
            "event_timestamp_ms": time.time_ns() // 1_000_000,
            "accuracy_meters": 5,
            "event_id": str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
        }


class SteadyReader(BackgroundThread):
    """Makes up to ``rate`` reads per second of served riders; records every failed, empty or non-monotonic answer."""

    def __init__(self, ridelog: Ridelog, riders: list[str], rate: int, seed: int) -> None:
        super().__init__("steady reader")
        self._url = ridelog.info.http_url
        self._riders = riders
        self._every_s = 1.0 / rate
        self._chance = random.Random(seed)
        self._versions: dict[str, int] = {}
        self._pings: dict[str, int] = {}
        self.reads = 0
        self._generations: dict[str, set[int]] = {"speed": set(), "analytics": set()}
        self._latest: dict[str, int] = {}
        self.wrong: list[str] = []

    def generations(self, projection: str) -> set[int]:
        """The generations that answers came from."""
        return self._generations[projection]

    def wait_for_reads(self, more: int) -> None:
        """Wait until ``more`` further reads are answered."""
        goal = self.reads + more
        eventually(lambda: self.reads >= goal or self.ended, within_s=HUNG_REQUEST_S, what=f"{more} reads are answered")

    def wait_for_generation(self, projection: str, number: int) -> None:
        """Wait until the latest answer is from this generation."""
        eventually(
            lambda: self._latest.get(projection) == number or self.ended,
            within_s=HUNG_REQUEST_S,
            what=f"reads are answered from {projection}@{number}",
        )

    def run(self) -> None:
        with httpx.Client(timeout=HUNG_REQUEST_S) as client:
            for _ in self.every(self._every_s):
                rider = self._chance.choice(self._riders)
                # One read in ten is an analytics query, which costs the database much more.
                if self.reads % 10:
                    self._speed(client, rider)
                else:
                    self._analytics(client, rider)
                self.reads += 1

    def _speed(self, client: httpx.Client, rider: str) -> None:
        answer = client.get(f"{self._url}/riders/{rider}/speed", params={"allow_expired": True})
        if answer.status_code != 200:
            self.wrong.append(f"{rider}: {answer.status_code} {answer.text}")
            return
        body = answer.json()
        self._answered_from("speed", body["generation"])
        if body["latitude"] is None or not body["pings_in_window"]:
            self.wrong.append(f"{rider}: empty {body}")
        if body["version"] < self._versions.get(rider, 0):
            self.wrong.append(f"{rider}: version {body['version']} after {self._versions[rider]}")
        self._versions[rider] = body["version"]

    def _analytics(self, client: httpx.Client, rider: str) -> None:
        answer = client.get(f"{self._url}/analytics/riders/{rider}", params={"since": 0, "limit": 1000})
        if answer.status_code != 200:
            self.wrong.append(f"analytics of {rider}: {answer.status_code} {answer.text}")
            return
        body = answer.json()
        self._answered_from("analytics", body["generation"])
        pings = sum(row["pings"] for row in body["items"])
        if pings < max(1, self._pings.get(rider, 0)):
            self.wrong.append(f"analytics of {rider}: {pings} pings after {self._pings.get(rider)}")
        self._pings[rider] = pings

    def _answered_from(self, projection: str, generation: int) -> None:
        self._generations[projection].add(generation)
        self._latest[projection] = generation
