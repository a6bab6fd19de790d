"""Couriers that drive orders through their whole life over HTTP during all failures, and remember what was answered."""

from __future__ import annotations

import random
import threading
import time
import uuid
from typing import Any

import httpx

from tests.support.time_limits import scaled_s
from tests.support.worlds.accounting import Identity
from tests.support.worlds.delivery_accounting import SentCommand
from tests.support.worlds.dispatcher import CUSTOMER, RESTAURANT
from tests.support.worlds.ridelog import Ridelog

WITHIN_S = 120.0
GIVES_UP = 0.3
"""The share of unanswered last commands of an order that are not sent again."""


class Courier(threading.Thread):
    """One rider and one dispatcher: orders one after another, at times two at once, with pings between the steps.

    A command is sent with its Idempotency-Key until it is answered; one in five is sent once more. Only the command
    that ends an order may be given up: then the order is left alone, and the command is in the log or not.
    """

    def __init__(self, url: str, rider: str, seed: int, load: OrderLoad) -> None:
        super().__init__(name=rider)
        self.rider = rider
        self._url = url
        self._load = load
        self._chance = random.Random(seed)
        self._orders = 0
        self._pause = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self._url, timeout=10.0) as client:
                while not self._load.finished:
                    self._deliver(client)
                # What is left open has an ETA, and legs that both aggregates must agree on.
                for last in ("place", "assign", "pickup", "arrive"):
                    self._deliver(client, until=last)
        except BaseException as error:  # noqa: BLE001  (re-raised where the test waits)
            self.failure = error
            self._load.notify()

    def _deliver(self, client: httpx.Client, until: str = "") -> None:
        orders = [self._order() for _ in range(1 if until else self._chance.choice([1, 1, 2]))]
        for order in orders:
            self._place(client, order)
        for order in orders if until != "place" else []:
            self._assign(client, order)
        if until in {"place", "assign"}:
            return
        for order in orders:
            self._ride(client, order, until)

    def _order(self) -> str:
        self._orders += 1
        return f"{self.rider}-order-{self._orders}"

    def _place(self, client: httpx.Client, order: str) -> None:
        body = {"order_id": order, "restaurant": RESTAURANT, "customer": CUSTOMER, "preparation_seconds": 60}
        self._command(client, order, "place", body | {"time_zone": "Europe/Berlin", "currency": "EUR"})

    def _assign(self, client: httpx.Client, order: str) -> None:
        self._command(client, order, "assign", {"rider_id": self.rider})
        if self._chance.random() < 0.1:
            self._command(client, order, "unassign", {"reason": "tried again"})
            self._command(client, order, "assign", {"rider_id": self.rider})

    def _ride(self, client: httpx.Client, order: str, until: str) -> None:
        self._ping(client, order)
        if not until and self._chance.random() < 0.1:
            self._command(client, order, "cancel", {}, last=True)
            return
        for verb in ("pickup", "arrive", "complete"):
            self._command(client, order, verb, {}, last=verb == "complete")
            if verb == until:
                return
            if verb != "complete":
                self._ping(client, order)

    def _command(
        self, client: httpx.Client, order: str, verb: str, body: dict[str, Any], *, last: bool = False
    ) -> None:
        key = uuid.UUID(int=self._chance.getrandbits(128), version=4).hex
        path = "/deliveries" if verb == "place" else f"/deliveries/{order}/{verb}"
        self._load.note(SentCommand(order, verb, key, answered=False, recorded=0))
        gives_up = last and self._chance.random() < GIVES_UP
        news: list[bool] = []
        for _ in range(2 if self._chance.random() < 0.2 else 1):
            answer = self._answer(client, path, body, {"Idempotency-Key": key}, gives_up=gives_up)
            if answer is None:
                break
            assert answer.status_code in {200, 201}, (verb, answer.text)
            news.append(answer.status_code == 201 if verb == "place" else answer.json()["recorded"])
        self._load.note(SentCommand(order, verb, key, answered=bool(news), recorded=sum(news)))
        self._pause.wait(self._load.pause_s)

    def _ping(self, client: httpx.Client, order: str) -> None:
        """One ping, and a look at the ETA as a customer does."""
        at_ms, event_id = time.time_ns() // 1_000_000, str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        ping = {
            "rider_id": self.rider,
            "latitude": RESTAURANT["latitude"] + self._chance.random() / 100,
            "longitude": RESTAURANT["longitude"] + self._chance.random() / 100,
            "event_timestamp_ms": at_ms,
            "accuracy_meters": 5,
            "event_id": event_id,
        }
        answer = self._answer(client, "/pings", [ping], {})
        assert answer is not None
        assert answer.status_code == 200, answer.text
        assert answer.json()["rejected"] == []
        self._load.note_ping((self.rider, at_ms, event_id))
        try:
            seen = client.get(f"/deliveries/{order}/eta")
        except httpx.HTTPError:
            return
        # Its read model may be a moment behind the command, or without its server.
        assert seen.status_code in {200, 404, 503}, seen.text

    def _answer(
        self, client: httpx.Client, path: str, body: Any, headers: dict[str, str], *, gives_up: bool = False
    ) -> httpx.Response | None:
        """The first answer that is not a refusal for lack of a server; None if the command is given up before."""
        deadline = time.monotonic() + scaled_s(WITHIN_S)
        while True:
            try:
                answer = client.post(path, json=body, headers=headers)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code != 503:
                return answer
            if gives_up:
                return None
            assert time.monotonic() < deadline, f"{path} is not answered in time"
            self._load.note_retry()
            self._pause.wait(0.1)


class OrderLoad:
    """Couriers side by side until ``finish``; the block ends when each has finished what it has begun.

    ``commands`` and ``acknowledged`` pings are what the log has to account for.
    """

    def __init__(self, ridelog: Ridelog, *, seed: int, couriers: int = 4, pause_s: float = 0.03) -> None:
        self.pause_s = pause_s
        self.started_ms = time.time_ns() // 1_000_000
        self.retries = 0
        self.finished = False
        self.acknowledged: set[Identity] = set()
        self._commands: dict[tuple[str, str], SentCommand] = {}
        self._changed = threading.Condition()
        mark = uuid.uuid4().hex[:6]
        url = ridelog.info.http_url
        self._couriers = [Courier(url, f"courier-{mark}-{n}", seed + n, self) for n in range(couriers)]

    @property
    def riders(self) -> list[str]:
        return [each.rider for each in self._couriers]

    @property
    def commands(self) -> list[SentCommand]:
        with self._changed:
            return list(self._commands.values())

    def __enter__(self) -> OrderLoad:
        for courier in self._couriers:
            courier.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finished = True
        for courier in self._couriers:
            courier.join(timeout=scaled_s(180))
            assert not courier.is_alive(), f"{courier.rider} did not come to an end"
        failures = [each.failure for each in self._couriers if each.failure is not None]
        if failures and kind is None:
            raise failures[0]

    def wait_for(self, more: int) -> None:
        """Wait until ``more`` further commands are answered."""
        with self._changed:
            wanted = self._answered() + more
            assert self._changed.wait_for(
                lambda: self._answered() >= wanted or self._failed(), timeout=scaled_s(WITHIN_S)
            )

    def note(self, command: SentCommand) -> None:
        with self._changed:
            self._commands[command.order_id, command.key] = command
            self._changed.notify_all()

    def note_ping(self, ping: Identity) -> None:
        with self._changed:
            self.acknowledged.add(ping)

    def note_retry(self) -> None:
        with self._changed:
            self.retries += 1

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _answered(self) -> int:
        return sum(each.answered for each in self._commands.values())

    def _failed(self) -> bool:
        return any(each.failure is not None for each in self._couriers)
