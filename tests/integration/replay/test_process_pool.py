"""Work in processes of this program: how one of them ends is told as if it had been done here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infrastructure.cli.error_handling import expected_as_user_error
from infrastructure.errors import UserError
from infrastructure.process_pool import WorkerFailed, in_processes
from projections.core.ports import PortUnavailable
from projections.rebuild.catch_up import LogHasHoles


class Unsendable(Exception):
    """Comes back from pickle with too few arguments."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} {where}")


def fail(alive: Callable[[], None], kind: str) -> None:
    alive()
    if kind == "holes":
        raise LogHasHoles("shards [3] have fewer events in the log than its head says")
    if kind == "away":
        raise PortUnavailable("Redis does not answer")
    if kind == "large":
        raise ValueError("x" * 1_000_000)
    raise Unsendable("nobody", "home")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("away", "Redis does not answer; run the same command again"),
        ("unsendable", "Unsendable: nobody home; run the same command again"),
        ("large", "ValueError: x+; run the same command again"),
    ],
)
def test_a_worker_that_failed_says_why(kind: str, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        in_processes("test", fail, [(kind,)], lambda: None)


def test_regression_holes_of_the_log_that_a_worker_met_are_not_run_again() -> None:
    with pytest.raises(UserError, match=r"fewer events .* re-attach the detached partitions"), expected_as_user_error():
        in_processes("test", fail, [("holes",)], lambda: None)
