"""What many tests on real servers need: a connection to a fresh database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from infrastructure.postgres.engine import writer_engine


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """Connections that may append, to a migrated database of this test alone."""
    engine = writer_engine(postgres_url)
    yield engine
    engine.dispose()
