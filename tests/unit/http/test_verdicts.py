"""Verdicts are read at most once in ten seconds, and an unavailable Postgres is said with what to do."""

from __future__ import annotations

import asyncio

import pytest

from infrastructure.http.errors import ApiError
from infrastructure.http.verdicts import READ_INTERVAL_S, Verdicts
from infrastructure.status.lines import StatusLine
from projections.core.ports import PortUnavailable


def test_many_pages_cost_as_much_as_one() -> None:
    reads = 0
    now = 100.0

    def read() -> list[StatusLine]:
        nonlocal reads
        reads += 1
        return [StatusLine("parity", f"{reads} checked", None)]

    async def run() -> None:
        nonlocal now
        verdicts = Verdicts(read, lambda: now)
        found = await asyncio.gather(*(verdicts.newest() for _ in range(50)))
        assert {one.items[0].state for one in found} == {"1 checked"}
        now += READ_INTERVAL_S
        assert (await verdicts.newest()).items[0].state == "2 checked"

    asyncio.run(run())


def test_one_advice_makes_all_not_good() -> None:
    lines = [StatusLine("parity", "1 different", None, advice="run verify-parity"), StatusLine("eta drift", "", None)]
    found = asyncio.run(Verdicts(lambda: lines).newest())
    assert (found.good, [one.advice for one in found.items]) == (False, ["run verify-parity", ""])


def test_regression_an_unavailable_store_is_a_503_that_is_kept_for_the_interval_too() -> None:
    reads = 0
    now = 100.0

    def read() -> list[StatusLine]:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise PortUnavailable("no route to the server")
        return []

    async def run() -> None:
        nonlocal now
        verdicts = Verdicts(read, lambda: now)
        for _ in range(2):
            with pytest.raises(ApiError, match="no route") as refused:
                await verdicts.newest()
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
        now += READ_INTERVAL_S
        assert (await verdicts.newest()).items == []
        assert reads == 2

    asyncio.run(run())
