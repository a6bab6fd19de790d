"""Verdicts are read at most once in ten seconds, and an unavailable Postgres is said with what to do."""

from __future__ import annotations

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

    verdicts = Verdicts(read, lambda: now)
    assert {verdicts.newest().items[0].state for _ in range(50)} == {"1 checked"}
    now += READ_INTERVAL_S
    assert verdicts.newest().items[0].state == "2 checked"


def test_one_advice_makes_all_not_good() -> None:
    lines = [StatusLine("parity", "1 different", None, advice="run verify-parity"), StatusLine("eta drift", "", None)]
    found = Verdicts(lambda: lines).newest()
    assert (found.good, [one.advice for one in found.items]) == (False, ["run verify-parity", ""])


def test_an_unavailable_store_is_a_503_and_the_next_read_tries_again() -> None:
    broken = True

    def read() -> list[StatusLine]:
        if broken:
            raise PortUnavailable("no route to the server")
        return []

    verdicts = Verdicts(read)
    with pytest.raises(ApiError, match="no route") as refused:
        verdicts.newest()
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    broken = False
    assert verdicts.newest().items == []
