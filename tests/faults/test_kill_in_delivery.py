"""kill -9 of each process in mid delivery: no command is lost or doubled, and every order is right and paid once."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from domain.features.payouts.ids import completed_id, uuid_text
from infrastructure.supervision.readiness import program_of
from tests.support.reports.proofs import whole
from tests.support.servers.fake_provider import SECRET
from tests.support.servers.provider_process import ProviderProcess, provider_process
from tests.support.waiting import eventually
from tests.support.worlds.accounting import Account, differing_riders, last_seqs, missing_in_kafka, read_log
from tests.support.worlds.order_load import OrderLoad
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running
from tests.support.worlds.shown_orders import account_for_orders, orders_of, wrong_orders

INSTANTS = 20 if whole() else 1
PROGRAMS = ("api", "tailer", "projections", "city", "postgres", "redis", "kafka", "payments")
BEFORE, AFTER = 60, 40
"""Commands: the kill is after one of the first BEFORE, and AFTER further ones are answered after the restart."""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with provider_process(tmp_path_factory.mktemp("provider")) as one:
        yield one


@pytest.fixture(scope="module")
def ridelog(tmp_path_factory: pytest.TempPathFactory, provider: ProviderProcess) -> Iterator[Ridelog]:
    folder = tmp_path_factory.mktemp("faults") / "data"
    with running(folder, payments_url=provider.url, payments_secret=SECRET) as one:
        yield one


@pytest.mark.proof
@pytest.mark.parametrize("instant", range(INSTANTS))
@pytest.mark.parametrize("name", PROGRAMS)
def test_commands_survive_a_kill_in_mid_delivery(
    ridelog: Ridelog, provider: ProviderProcess, name: str, instant: int
) -> None:
    chance = random.Random(f"delivery/{name}/{instant}")
    before = {stream: last_seqs(ridelog, stream) for stream in ("Rider", "Delivery")}
    with OrderLoad(ridelog, seed=chance.randrange(1 << 30)) as load:
        load.wait_for(chance.randrange(1, BEFORE))
        ridelog.kill(name)
        load.wait_for(AFTER)
    found = account_for_orders(ridelog, load)
    assert len(orders_of(load, found)) >= 16
    eventually(lambda: not wrong_orders(ridelog, load, found), within_s=60, every_s=0.2, what="every order is right")

    completed = {order for order, of in orders_of(load, found).items() if of.status == "completed"}
    legs = {uuid_text(completed_id(order, leg)) for order in completed for leg in ("to_restaurant", "to_customer")}
    eventually(
        lambda: legs <= paid_by(ridelog, load).keys() and booked_of(provider, load) == paid_by(ridelog, load),
        within_s=60,
        every_s=0.5,
        what="every payout is booked",
    )

    account = read_log(ridelog)
    assert all(account.identities[ping] == 1 for ping in load.acknowledged)
    eventually(lambda: not differing_riders(ridelog, account), within_s=60, every_s=0.2, what="every rider is right")
    if name != "kafka":
        # The embedded broker keeps its log in memory: the projections fill what it lost from the event store.
        for stream, since in before.items():
            wait_published(ridelog, account, since, stream)


def paid_by(ridelog: Ridelog, load: OrderLoad) -> dict[str, int]:
    """Amounts by entry of the load's riders, as the API shows them; for one of 0 no provider is called."""
    found: dict[str, int] = {}
    for rider in load.riders:
        answer = ridelog.http.get("/payouts", params={"rider_id": rider, "limit": 1_000})
        body = answer.json()
        assert body["next"] is None
        for payout in body["items"]:
            found |= {entry["entry_id"]: entry["amount_minor"] for entry in (payout, *payout["adjustments"])}
    return {entry: amount for entry, amount in found.items() if amount}


def booked_of(provider: ProviderProcess, load: OrderLoad) -> dict[str, int]:
    """What the provider has booked for the load's riders; ``booked`` finds a key that is booked twice."""
    riders = set(load.riders)
    return {body["entry_id"]: body["amount_minor"] for body in provider.booked() if body["rider_id"] in riders}


def wait_published(ridelog: Ridelog, account: Account, since: dict[int, int], stream: str) -> None:
    eventually(
        lambda: not missing_in_kafka(ridelog, account, since, stream=stream), within_s=60, what=f"{stream} is in Kafka"
    )


def test_every_process_of_serve_is_killed(ridelog: Ridelog) -> None:
    assert {program_of(name) for name in ridelog.processes()} == set(PROGRAMS)
