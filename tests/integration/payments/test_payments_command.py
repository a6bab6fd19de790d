"""The command ``payments`` and the line in ``status``, as a person uses them after the provider has refused one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import pytest

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

    assert cli("skip", first, "--why", "paid by hand", "--who", "ruth").stdout == f"{first}: skipped\n"
    again = cli("retry", first, second)
    assert again.returncode == 1
    assert f"not held: {first}" in again.stderr
    assert world.states()[second] == "open"
    refuse(world.provider)
    assert world.hand_over() == 1
    assert world.provider.keys() == [second]
    (line,) = (one for one in collect(world.backends.settings).stages if one.stage == "payments")
    assert line.good
