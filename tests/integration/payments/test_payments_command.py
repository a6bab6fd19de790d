"""The command ``payments`` and the line in ``status``, as a person uses them after the provider has refused one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import pytest

from infrastructure.postgres.payment_decisions import PaymentDecision
from infrastructure.status.collect import collect
from tests.support.servers.fake_provider import FakeProvider, ProviderFault
from tests.support.worlds.command_line import run_here
from tests.support.worlds.payment_world import PaymentWorld

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def cli(postgres_url: str, tmp_path: Path) -> Cli:
    def run(*arguments: str) -> CompletedProcess[str]:
        return run_here(["payments", *arguments], {"RIDELOG_POSTGRES_URL": postgres_url}, tmp_path)

    return run


def refuse(provider: FakeProvider, *refused: str) -> None:
    provider.choose = lambda body: ProviderFault(False, 422) if body["entry_id"] in refused else None


def test_a_person_lists_retries_and_skips_what_is_held(world: PaymentWorld, cli: Cli) -> None:
    first, second = world.put("anna", "a", 1), world.put("ben", "b", 2)
    refuse(world.provider, first, second)
    world.hand_over()
    (line,) = (one for one in collect(world.backends.settings).stages if one.stage == "payments")
    assert not line.good
    assert "payments list" in line.advice

    listed = msgspec.json.decode(cli("list", "--json").stdout)
    assert [one["entry_id"] for one in listed] == [first, second]
    assert "status 422" in cli("list").stdout
    assert cli("retry").returncode == 2
    assert cli("skip", first, "--why", " ", "--who", "ruth").returncode == 2

    skipped = cli("skip", first, "--why", "paid by hand", "--who", "ruth")
    assert skipped.stdout.splitlines()[-1] == f"{first}: skipped"
    again = cli("retry", first, second)
    assert again.returncode == 1
    assert f"not held: {first}" in again.stderr
    assert world.states()[second] == "open"
    refuse(world.provider)
    assert world.hand_over() == 1
    assert world.provider.keys() == [second]
    (line,) = (one for one in collect(world.backends.settings).stages if one.stage == "payments")
    assert line.good


def differing(world: PaymentWorld) -> list[str]:
    """Three payments of 500 that were handed over, and that another generation has with other amounts."""
    amounts = {"a": ("anna", 650), "b": ("anna", 480), "c": ("ben", 501)}
    entries = [world.put(rider, name, 10 + n) for n, (name, (rider, _)) in enumerate(amounts.items())]
    assert world.hand_over() == 3
    second = world.begin()
    for n, (name, (rider, amount)) in enumerate(amounts.items()):
        world.put(rider, name, 10 + n, amount, generation=second)
    world.reach(second, 1_000_000)
    world.switch(second)
    world.note()
    return entries


def test_regression_a_decision_about_money_names_its_payments_riders_and_sums_before_it_acts(
    world: PaymentWorld, cli: Cli
) -> None:
    """`payments settle` recorded a difference whose amount it had never named."""
    entries = differing(world)
    shown = cli("settle", *entries, "--why", "paid by hand", "--who", "ruth", "--dry-run").stdout.splitlines()
    assert shown == [
        f"{entries[0]}  rider anna  150 minor units of EUR",
        f"{entries[1]}  rider anna  -20 minor units of EUR",
        f"{entries[2]}  rider ben  1 minor units of EUR",
        "settle the differences of 3 payments of 2 riders: 131 minor units of EUR in all",
    ]
    assert world.handovers.tally().differing == 3, "a dry run records nothing"

    done = cli("settle", *entries[:2], "--why", "paid by hand", "--who", "ruth", "--yes")
    assert done.stdout.splitlines()[2:] == [
        "settle the differences of 2 payments of 1 riders: 130 minor units of EUR in all",
        *(f"{entry}: settled" for entry in entries[:2]),
    ]
    again = cli("settle", *entries, "--why", "paid by hand", "--who", "ruth", "--json")
    assert again.returncode == 1
    assert f"not different: {', '.join(sorted(entries[:2]))}" in again.stderr
    assert msgspec.json.decode(again.stdout) == {
        "decision": "settle",
        "dry_run": False,
        "sums": [{"currency": "EUR", "payments": 1, "amount_minor": 1}],
        "payments": [
            {"entry_id": entries[2], "rider_id": "ben", "currency": "EUR", "amount_minor": 1, "done": True},
        ],
        "not_different": sorted(entries[:2]),
    }
    assert world.handovers.tally().differing == 0


def test_regression_an_amount_that_changes_before_the_answer_is_not_settled(world: PaymentWorld) -> None:
    """What a person had read as 150 was recorded as settled whatever it was by then."""
    paid, *_ = differing(world)
    seen = world.decisions.find(PaymentDecision.SETTLE, [paid])
    world.run("UPDATE payment_handovers SET latest_amount_minor = 99000 WHERE entry_id = :paid", paid=paid)
    assert world.decisions.decide(PaymentDecision.SETTLE, seen, "settled by ruth: by hand") == []
    assert world.decide(PaymentDecision.SETTLE, paid) == [paid]
