"""kill -9 of the payments process, and of the provider, in mid hand-over: no payment is lost, none is booked twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest

from infrastructure.backends import Backends
from infrastructure.observability.stage_reports import newest, read_stages
from infrastructure.settings.settings import Settings
from tests.support.program_process import ProgramProcess
from tests.support.reports.proofs import whole
from tests.support.servers.fake_provider import SECRET, FakeProvider, ProviderFault, fake_provider
from tests.support.servers.provider_process import provider_process
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.payment_world import PaymentWorld, entry_of, put_riders

KILLS = 20 if whole() else 2
RIDERS, EACH = 20, 30 if whole() else 6
DELAY_S = 0.05
"""Of each answer of the provider: without it, a fast machine has handed over everything before the kills."""


@pytest.fixture
def started() -> Iterator[list[ProgramProcess]]:
    each: list[ProgramProcess] = []
    yield each
    for one in each:
        one.process.kill()
        one.process.wait(scaled_s(20))


@pytest.mark.proof
def test_payments_survive_kills_while_answers_are_lost_and_another_process_waits(
    postgres_url: str, tmp_path: Path, started: list[ProgramProcess]
) -> None:
    chance = random.Random(16)
    with fake_provider() as (provider, url):
        settings = Settings(data_dir=tmp_path, postgres_url=postgres_url, payments_url=url, payments_secret=SECRET)
        with Backends(settings) as backends:
            world = PaymentWorld(backends, provider, url)
            for number in range(EACH):
                for rider in range(RIDERS):
                    world.put(f"rider-{rider}", f"{rider}/{number}", 1 + number * RIDERS + rider, 100 + number)
            provider.delay_s = DELAY_S
            provider.choose = lambda body: ProviderFault(True, 0) if chance.random() < 0.1 else None

            def start() -> ProgramProcess:
                one = ProgramProcess(settings, "payments", tmp_path / f"payments-{len(started)}.log")
                started.append(one)
                return one

            start()
            for kill in range(KILLS):
                some = (kill + 1) * RIDERS * EACH // (KILLS + 2)
                eventually(
                    lambda: len(provider.keys()) >= some,  # noqa: B023
                    within_s=60,
                    every_s=0.01,
                    what=f"{some} are handed over",
                )
                waiting = start()
                started[-2].process.kill()
                started[-2].process.wait(scaled_s(20))
                assert len(provider.keys()) < RIDERS * EACH, "the process had handed over everything before the kill"
                waiting.wait_for(backends.engine, "payments")
            eventually(
                lambda: len(world.states()) == RIDERS * EACH and set(world.states().values()) == {"done"},
                within_s=60,
                what="all are handed over",
            )
            assert newest(read_stages(backends.engine))["payments"].connected
            assert provider.requests > RIDERS * EACH
            for rider in range(RIDERS):
                booked = [(body["entry_id"], body["amount_minor"]) for body in provider.of(f"rider-{rider}")]
                assert booked == [(entry_of(f"{rider}/{number}"), 100 + number) for number in range(EACH)]
            assert provider.errors == []
            started[-1].send(SIGTERM)
            assert started[-1].process.wait(scaled_s(30)) == 0
            assert SECRET not in "".join(one.log.read_text() for one in started)
            world.webhook.close()


@pytest.mark.proof
def test_payments_survive_kills_of_the_provider_whose_record_is_on_disk(
    postgres_url: str, tmp_path: Path, started: list[ProgramProcess]
) -> None:
    """A provider that is killed between its record and its answer gets the same request again, and knows the key."""
    with provider_process(tmp_path / "provider", DELAY_S) as provider:
        settings = Settings(
            data_dir=tmp_path, postgres_url=postgres_url, payments_url=provider.url, payments_secret=SECRET
        )
        with Backends(settings) as backends:
            world = PaymentWorld(backends, FakeProvider(), provider.url)
            put_riders(world, RIDERS, EACH)
            started.append(ProgramProcess(settings, "payments", tmp_path / "payments.log"))
            for kill in range(KILLS):
                some = (kill + 1) * RIDERS * EACH // (KILLS + 2)
                eventually(
                    lambda: len(provider.booked()) >= some,  # noqa: B023
                    within_s=60,
                    every_s=0.01,
                    what=f"{some} are booked",
                )
                provider.kill_and_restart()
            eventually(
                lambda: set(world.states().values()) == {"done"} and len(world.states()) == RIDERS * EACH,
                within_s=120,
                what="all are handed over",
            )
            booked = provider.booked()
            assert len(booked) == RIDERS * EACH
            assert provider.requests() > RIDERS * EACH, "no kill met a payment between its record and its answer"
            for rider in range(RIDERS):
                of_rider = [body["entry_id"] for body in booked if body["rider_id"] == f"rider-{rider}"]
                assert of_rider == [entry_of(f"{rider}/{number}") for number in range(EACH)]
            assert world.handovers.tally().held == 0
            world.webhook.close()
