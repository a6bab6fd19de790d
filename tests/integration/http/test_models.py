"""``/models`` over real HTTP and a registry in Postgres: which one serves, and the figures of a card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Engine

from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.http.application import ApiParts, build
from infrastructure.http.models import ModelReads, models_router
from infrastructure.postgres.engine import reader_engine
from infrastructure.settings.settings import Settings
from tests.support.eta.small_models import digest_in, model_files
from tests.support.servers.http_server import served
from tests.support.worlds.recorded_events import nothing

SLOW, QUICK = model_files("slow", 2.0), model_files("quick", 0.5)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def http(engine: Engine) -> Iterator[httpx.Client]:
    absent = cast("Any", None)
    routers = [models_router(ModelReads(ModelRegistry(engine)), interval_s=0.0)]
    parts = ApiParts(absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=routers)
    with served(build(Settings(), parts)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_the_baseline_serves_until_a_model_is_promoted(http: httpx.Client, engine: Engine) -> None:
    (baseline,) = http.get("/models").json()["items"]
    assert (baseline["name"], baseline["role"], baseline["created_at_ms"]) == ("baseline", "serving", None)
    registry = ModelRegistry(engine)
    registry.promote(registry.add(SLOW, "ann"), "ann")
    registry.shadow(registry.add(QUICK, "ann"), "ann")
    items = http.get("/models").json()["items"]
    assert [(one["name"], one["role"]) for one in items] == [("baseline", ""), ("slow", "serving"), ("quick", "shadow")]
    assert items[1]["served_etas"] == 0


def test_a_card_has_the_figures_of_the_manifest(http: httpx.Client, engine: Engine) -> None:
    digest = ModelRegistry(engine).add(SLOW, "ann")
    assert digest == digest_in(SLOW)
    card = http.get(f"/models/{digest[:12]}").json()
    assert (card["digest"], card["name"], card["role"]) == (digest, "slow", "")
    assert set(card["bounds"]) <= set(card["inputs"])
    assert {"evaluation", "training", "training_set"} <= card.keys()


def test_an_unknown_digest_is_refused_with_what_to_do(http: httpx.Client, engine: Engine) -> None:
    registry = ModelRegistry(engine)
    for files in (SLOW, QUICK):
        registry.add(files, "ann")
    for start in ("zzz", "%25", "x" * 300):
        answer = http.get(f"/models/{start}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
        assert "GET /models" in answer.json()["detail"]
