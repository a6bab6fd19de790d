"""A world of payments a test: a database of its own and a provider over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infrastructure.backends import Backends
from infrastructure.settings.settings import Settings
from tests.support.servers.fake_provider import FakeProvider, fake_provider
from tests.support.worlds.payment_world import PaymentWorld


@pytest.fixture
def provider() -> Iterator[tuple[FakeProvider, str]]:
    with fake_provider() as (provider, url):
        yield provider, url
        assert provider.errors == []


@pytest.fixture
def world(postgres_url: str, provider: tuple[FakeProvider, str]) -> Iterator[PaymentWorld]:
    with Backends(Settings(postgres_url=postgres_url), pool_size=24) as backends:
        one = PaymentWorld(backends, *provider)
        yield one
        one.webhook.close()
