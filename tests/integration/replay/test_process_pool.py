"""Work in parallel processes: a failure of one is raised as if the work had run in this process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from infrastructure.cli.error_handling import expected_as_user_error
from infrastructure.errors import UserError
from infrastructure.process_pool import WorkerFailed, WorkerHeartbeat, run_in_processes
from projections.core.ports import PortUnavailable
from projections.rebuild.catch_up import LogHasGaps


class Unsendable(Exception):
    """Cannot be unpickled: it is called with too few arguments."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} {where}")


def fail(heartbeat: Callable[[], None], kind: str) -> None:
    heartbeat()
    if kind == "gaps":
        raise LogHasGaps("shards [3] have fewer events in the log than its head says")
    if kind == "unavailable":
        raise PortUnavailable("Redis does not answer")
    if kind == "large":
        raise ValueError("x" * 1_000_000)
    raise Unsendable("not", "sendable")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("unavailable", "Redis does not answer; run the same command again"),
        ("unsendable", "Unsendable: not sendable; run the same command again"),
        ("large", "ValueError: x+; run the same command again"),
    ],
)
def test_a_failed_worker_reports_why(kind: str, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        run_in_processes("test", fail, [(kind,)], lambda: None)


def test_regression_holes_in_the_log_that_a_worker_finds_are_permanent() -> None:
    with pytest.raises(UserError, match=r"fewer events .* re-attach the detached partitions"), expected_as_user_error():
        run_in_processes("test", fail, [("gaps",)], lambda: None)


def count(heartbeat: WorkerHeartbeat, upto: int) -> None:
    for number in range(1, upto + 1):
        heartbeat(number)


def test_all_messages_of_a_worker_arrive_in_order() -> None:
    received: dict[int, list[int]] = {0: [], 1: []}
    run_in_processes("test", count, [(3,), (50_000,)], lambda: None, lambda part, n: received[part].append(n))
    assert received == {0: [1, 2, 3], 1: list(range(1, 50_001))}


def end_at_once(heartbeat: WorkerHeartbeat) -> None:
    heartbeat("started")
    os._exit(9)


def test_a_worker_that_ends_without_a_reason_is_a_failure() -> None:
    with pytest.raises(WorkerFailed, match="it ended with 9"):
        run_in_processes("test", end_at_once, [()], lambda: None)
