"""kill -9 of each process while orders are delivered: no command is lost or doubled, and every order is right."""

from __future__ import annotations

import random

import pytest

from infrastructure.supervision.readiness import program_of
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.accounting import Account, differing_riders, last_seqs, missing_in_kafka, read_log
from tests.support.worlds.order_load import OrderLoad
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.shown_orders import account_for_orders, orders_of, wrong_orders

INSTANTS = 20 if whole() else 1
PROGRAMS = ("api", "tailer", "projections", "city", "postgres", "redis", "kafka")
BEFORE, AFTER = 60, 40
"""Commands: the kill is after one of the first BEFORE, and AFTER further ones are answered after the restart."""


@pytest.mark.proof
@pytest.mark.parametrize("instant", range(INSTANTS))
@pytest.mark.parametrize("name", PROGRAMS)
def test_commands_survive_a_kill_in_mid_delivery(ridelog: Ridelog, name: str, instant: int) -> None:
    chance = random.Random(f"delivery/{name}/{instant}")
    before = {stream: last_seqs(ridelog, stream) for stream in ("Rider", "Delivery")}
    with OrderLoad(ridelog, seed=chance.randrange(1 << 30)) as load:
        load.wait_for(chance.randrange(1, BEFORE))
        ridelog.kill(name)
        load.wait_for(AFTER)
    found = account_for_orders(ridelog, load)
    assert len(orders_of(load, found)) >= 16
    eventually(lambda: not wrong_orders(ridelog, load, found), within_s=60, every_s=0.2, what="every order is right")

    account = read_log(ridelog)
    assert all(account.identities[ping] == 1 for ping in load.acknowledged)
    eventually(lambda: not differing_riders(ridelog, account), within_s=60, every_s=0.2, what="every rider is right")
    if name != "kafka":
        # The embedded broker keeps its log in memory: the projections fill what it lost from the event store.
        for stream, since in before.items():
            wait_published(ridelog, account, since, stream)


def wait_published(ridelog: Ridelog, account: Account, since: dict[int, int], stream: str) -> None:
    eventually(
        lambda: not missing_in_kafka(ridelog, account, since, stream=stream), within_s=60, what=f"{stream} is in Kafka"
    )


def test_every_process_of_serve_is_killed(ridelog: Ridelog) -> None:
    assert {program_of(name) for name in ridelog.processes()} == set(PROGRAMS)
