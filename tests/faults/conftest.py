"""One running ridelog for all faults: each starts with the log that the previous faults have left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running


@pytest.fixture(scope="module")
def ridelog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ridelog]:
    with running(tmp_path_factory.mktemp("faults") / "data") as one:
        yield one
