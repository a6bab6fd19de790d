"""Schemas from outside that cost more than their text: refused with words, and no other request waits for them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy import insert

from infrastructure.http.errors import ApiError
from infrastructure.http.schema_registry.serial_worker import SerialWorker
from infrastructure.postgres.schema import schema_versions, schemas
from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.client import EmbeddedRegistry, RegisteredIds, RegistryUnavailable, register_all
from infrastructure.schema_registry.errors import Incompatible
from infrastructure.schema_registry.external import MAX_ANSWER_BYTES, ExternalRegistry
from infrastructure.schema_registry.release_check import check_registry
from infrastructure.schema_registry.store import RegistryStore
from tests.integration.schema_registry.asked import read, refusal
from tests.support.servers.http_server import served
from tests.support.time_limits import scaled_s
from tests.unit.schema_registry.test_schema_bounds import record, union

BOMB = record(15_000)  # half a megabyte


def stored_before(store: RegistryStore, subject: str, schema: str, schema_id: int = 900) -> None:
    """As a version without bounds has left it."""
    with store.engine.begin() as connection:
        connection.execute(insert(schemas).values(id=schema_id, fingerprint=fingerprint(schema), schema=schema))
        connection.execute(insert(schema_versions).values(subject=subject, version=1, schema_id=schema_id))


def test_regression_six_bombs_at_once_are_six_refusals(http: httpx.Client, store: RegistryStore) -> None:
    store.register("s", record(2))
    paths = ["/compatibility/subjects/s/versions", "/compatibility/subjects/s/versions/latest", "/subjects/s"]

    def send(path: str) -> httpx.Response:
        return httpx.post(f"{http.base_url}{path}", json={"schema": BOMB}, timeout=30.0)

    with ThreadPoolExecutor(6) as pool:
        for answer in pool.map(send, [f.lstrip("/") for f in paths * 2]):
            assert refusal(answer) == (422, 42201)
            assert "this registry takes 65,536" in answer.json()["message"]
    assert refusal(http.post("/subjects/s/versions", json={"schema": BOMB})) == (422, 42201)
    assert store.subjects("all") == ["s"]


@pytest.mark.parametrize(
    "more",
    [
        {"references": [[]] * 300_000},
        {"metadata": {"a": [[]] * 300_000}},
        {"ruleSet": [[]] * 300_000},
        {"unheard": [[]] * 300_000},
        {"id": 10**40},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_stands_beside_a_schema_is_not_built(http: httpx.Client, more: dict[str, Any]) -> None:
    answer = http.post("/subjects/s/versions", json={"schema": record(2), **more})
    assert answer.status_code == (200 if "unheard" in more else 422), answer.text
    assert refusal(http.post("/subjects/s/versions", content=b"[" * 5_000))[0] in {400, 422}


def test_a_schema_from_before_the_bounds_is_still_read_found_and_registered_under_its_id(
    http: httpx.Client, store: RegistryStore
) -> None:
    stored_before(store, "old", BOMB)
    assert read(http.get("/schemas/ids/900")) == {"schema": BOMB}
    assert read(http.post("/subjects/old", json={"schema": BOMB}))["id"] == 900
    assert read(http.post("/subjects/old/versions", json={"schema": BOMB}))["id"] == 900
    new = {"schema": record(2)}
    answer = http.post("/subjects/old/versions", json=new)
    assert refusal(answer) == (422, 42201)
    assert "version 1, with which it must be compared" in answer.json()["message"]
    assert refusal(http.post("/compatibility/subjects/old/versions/1", json=new)) == (422, 42201)
    http.put("/config/old", json={"compatibility": "NONE"})
    assert read(http.post("/subjects/old/versions", json=new))["version"] == 2
    # Nor under another subject.
    assert refusal(http.post("/subjects/new/versions", json={"schema": BOMB})) == (422, 42201)


def test_versions_that_are_registered_while_one_is_checked_are_not_passed_over(store: RegistryStore) -> None:
    """The check is made without the lock: what came in between is checked too, in either order."""
    store.register("s", record(1))
    together = threading.Barrier(6)

    def register(number: int) -> bool:
        together.wait(timeout=scaled_s(10))
        fields: list[dict[str, Any]] = [
            {"name": "f0", "type": "int"},
            {"name": "x", "type": ["int", "string"][number % 2], "default": 0},
        ]
        if number % 2:
            fields[1]["default"] = "0"
        fields.append({"name": f"own{number}", "type": "int", "default": 0})
        try:
            store.register("s", json.dumps({"type": "record", "name": "R", "fields": fields}))
        except Incompatible:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(register, range(6)))
    # `x` is an int in all that got in, or a string in all: each was compared with the one before it.
    assert {number % 2 for number, in_time in enumerate(done) if in_time} in ({0}, {1})
    assert len(store.versions("s")) == 1 + sum(done)


def test_invariant_15_requests_that_wait_for_a_check_are_bounded_and_the_next_is_told_to_come_again() -> None:
    async def story() -> None:
        lane, free = SerialWorker(max_waiting=1, max_wait_s=60.0), threading.Event()
        first = asyncio.ensure_future(lane.run(free.wait, 30.0))
        while not lane._lock.locked():
            await asyncio.sleep(0)
        second = asyncio.ensure_future(lane.run(lambda: "done"))
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await lane.run(lambda: "never")
        assert (refused.value.status, refused.value.code) == (503, "registry_busy")
        free.set()
        assert await first
        assert await second == "done"
        hurried, free = SerialWorker(max_waiting=5, max_wait_s=0.01), threading.Event()
        first = asyncio.ensure_future(hurried.run(free.wait, 30.0))
        while not hurried._lock.locked():
            await asyncio.sleep(0)
        with pytest.raises(ApiError):
            await hurried.run(lambda: "never")
        free.set()
        await first

    asyncio.run(story())


def test_schemas_check_names_a_version_that_it_cannot_compare(store: RegistryStore) -> None:
    registry = EmbeddedRegistry(store)
    register_all(registry)
    with store.engine.begin() as connection:
        connection.execute(insert(schemas).values(id=900, fingerprint=fingerprint(BOMB), schema=BOMB))
        subject = {"subject": "com.delivery.events.GpsPing", "version": 4, "schema_id": 900}
        connection.execute(insert(schema_versions).values(**subject))
    broken = [finding for finding in check_registry(registry) if finding.problems]
    assert [(one.contract, one.against) for one in broken] == [("GpsPing 3", "the registry's version 4")]
    assert "this registry takes 65,536" in broken[0].problems[0]
    with pytest.raises(LookupError, match="schema 900 cannot be read"):
        RegisteredIds(registry).schema_of(900)


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield b"[" * 65_536
        await asyncio.sleep(0)


async def _slow() -> AsyncIterator[bytes]:
    for _ in range(200):
        yield b" "
        await asyncio.sleep(0.02)


@pytest.fixture
def hostile() -> Iterator[str]:
    """What a registry by URL may answer."""
    ids = {
        1: {"schema": BOMB, "id": "1", "version": 1},
        2: {"schema": ["no text"], "id": 10**30, "version": True},
    }

    @get("/schemas/ids/{number:int}")
    async def by_id(number: FromPath[int]) -> Any:
        if number == 3:
            return Stream(_endless)
        if number == 4:
            return Stream(_slow)
        if number == 5:
            return Stream(iter([b"[" * 100_000]))
        return ids[number]

    @get("/subjects/{subject:str}/versions")
    async def versions(subject: FromPath[str]) -> Any:
        return {"many": list(range(1, 1_002)), "odd": ["1"], "huge": [10**18], "none": {}, "one": [1]}[subject]

    @get("/subjects/{subject:str}/versions/{number:int}")
    async def one(subject: FromPath[str], number: FromPath[int]) -> Any:
        return ids[number]

    with served(Litestar([by_id, versions, one], openapi_config=None, logging_config=None)) as base:
        yield base


def test_invariant_16_what_an_external_registry_answers_is_bounded_before_it_is_believed(hostile: str) -> None:
    external, hurried = ExternalRegistry(hostile), ExternalRegistry(hostile, answer_within_s=0.3)
    try:
        for number, words in (
            (2, "no schema registry"),
            (3, f"more than {MAX_ANSWER_BYTES:,} bytes"),
            (5, "no schema registry"),
        ):
            with pytest.raises(RegistryUnavailable, match=words):
                external.schema(number)
        with pytest.raises(RegistryUnavailable, match="takes more than"):
            hurried.schema(4)
        assert external.schema(1) == BOMB
        for subject in ("many", "odd", "huge", "none", "one"):
            with pytest.raises(RegistryUnavailable):
                external.versions(subject)
    finally:
        external.close()
        hurried.close()


def test_a_pair_within_the_bounds_that_takes_long_is_answered(http: httpx.Client, store: RegistryStore) -> None:
    store.register("s", union(100, "A"))
    answer = read(http.post("/compatibility/subjects/s/versions?verbose=true", json={"schema": union(100, "B")}))
    assert not answer["is_compatible"]
