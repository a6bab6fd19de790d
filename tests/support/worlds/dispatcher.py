"""A client of ``/deliveries``, and what the topics have of its orders."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from domain.events.contracts import Codec
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from tests.support.kafka.consumer_probe import arrived
from tests.support.reports.openapi_description import undescribed
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

RESTAURANT = {"latitude": 52.52, "longitude": 13.405}
CUSTOMER = {"latitude": 52.531, "longitude": 13.412}
STEPS = ("assign", "pickup", "arrive", "complete")


class Dispatcher:
    """A client of ``/deliveries``; every answer has to be the described one."""

    def __init__(self, ridelog: Ridelog, order: str, rider: str) -> None:
        self.http, self.order, self.rider = ridelog.http, order, rider
        self._description: dict[str, Any] = ridelog.http.get("/schema/openapi.json").json()

    def place(self, *, key: str | None = None, **changes: Any) -> httpx.Response:
        body = {
            "order_id": self.order,
            "restaurant": RESTAURANT,
            "customer": CUSTOMER,
            "time_zone": "Europe/Berlin",
            "currency": "EUR",
        }
        return self._checked("/deliveries", self.http.post("/deliveries", json={**body, **changes}, headers=_key(key)))

    def step(self, verb: str, *, key: str | None = None, order: str | None = None, **body: Any) -> httpx.Response:
        if verb == "assign":
            body.setdefault("rider_id", self.rider)
        path = f"/deliveries/{order or self.order}/{verb}"
        return self._checked(f"/deliveries/{{order_id}}/{verb}", self.http.post(path, json=body, headers=_key(key)))

    def steps(self, *verbs: str) -> dict[str, Any]:
        """Steps that are all recorded. Returns the delivery after the last one."""
        answer: dict[str, Any] = {}
        for verb in verbs:
            response = self.step(verb)
            answer = response.json()
            assert (response.status_code, answer.pop("recorded")) == (200, True), (verb, response.text)
        return answer

    def get(self) -> dict[str, Any]:
        answer = self.http.get(f"/deliveries/{self.order}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        # Of the rider's stream, and so of another projection, which may be a moment behind.
        found.pop("completion")
        return found

    def _checked(self, template: str, answer: httpx.Response) -> httpx.Response:
        assert undescribed(self._description, "post", template, answer) == [], answer.text
        return answer


def _key(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.json()["detail"]
    return answer.status_code, answer.json()["code"]


def records(ridelog: Ridelog, topic: str, key: str, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": ridelog.info.kafka_bootstrap, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(8)])
    found: list[Message] = []

    def enough() -> bool:
        found.extend(m for m in arrived(consumer, 0.5) if m.error() is None and m.key() == key.encode())
        return len(found) >= count

    try:
        eventually(enough, within_s=30, what=f"{count} records of {key} on {topic}")
    finally:
        consumer.close()
    return found


def decoded(ridelog: Ridelog, messages: list[Message]) -> list[tuple[str, dict[str, Any]]]:
    engine = reader_engine(ridelog.info.postgres_url)
    try:
        codec = Codec(schema_ids(Settings(postgres_url=ridelog.info.postgres_url), engine))
        found = []
        for message in messages:
            kind, value = dict(message.headers() or ())["eventType"], message.value()
            assert isinstance(kind, bytes)
            assert isinstance(value, bytes)
            found.append((kind.decode(), dict(codec.decode(value))))
        return found
    finally:
        engine.dispose()
