"""A registry of the test's own, over HTTP and through Confluent's own client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from litestar import Litestar
from sqlalchemy import Engine

from infrastructure.http.schema_registry.router import registry_router
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.store import RegistryStore
from tests.support.servers.http_server import served


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> RegistryStore:
    return RegistryStore(engine)


@pytest.fixture
def http(store: RegistryStore) -> Iterator[httpx.Client]:
    application = Litestar([registry_router(store)], openapi_config=None, logging_config=None)
    with served(application) as base, httpx.Client(base_url=f"{base}/registry", timeout=30.0) as client:
        yield client


@pytest.fixture
def client(http: httpx.Client) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": str(http.base_url).rstrip("/")})
