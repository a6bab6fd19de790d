"""Invariant 14 on real servers: everything that remembers a log detects that it was restored or replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from infrastructure.postgres.migrations import upgrade
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from infrastructure.status.lines import StatusLine
from tests.support.servers.restorable import RestorableServers, identities, pings, restorable_servers
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.worlds.accounting import account_for
from tests.support.worlds.ridelog import Ridelog, ridelog


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[RestorableServers]:
    with restorable_servers(tmp_path) as one:
        yield one


def post(one: Ridelog, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Send until it is answered, as phones do."""

    def answered() -> dict[str, Any] | None:
        answer = one.http.post("/pings", json=list(items))
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    body = eventually(answered, within_s=60, every_s=0.2, what="the pings are answered")
    assert body is not None
    return body


def status(servers: dict[str, str]) -> dict[str, StatusLine]:
    return {line.stage: line for line in collect(Settings(**servers)).stages}  # type: ignore[arg-type]


def all_published(servers: RestorableServers) -> None:
    eventually(lambda: not servers.not_in_topic(), within_s=60, every_s=0.5, what="the topic holds the whole log")


def test_invariant_14_restored_under_a_running_serve_and_overtaken_before_any_check_then_replaced(
    servers: RestorableServers, tmp_path: Path
) -> None:
    with ridelog(tmp_path / "data", ROOT, **servers.settings) as one:
        kept, lost = pings("kept", 300), pings("lost", 200, riders=20)
        post(one, kept)
        account_for(one, identities(kept))
        servers.back_up("backup")
        assert post(one, lost)["accepted"] == len(lost)
        account_for(one, identities(kept) | identities(lost))
        before = servers.head()

        stopped = [entry.pid for name in ("api", "projections") for entry in one.processes_of(name).values()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        servers.restore("backup")
        others = servers.record(pings("others", 400))
        assert servers.head() > before
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

        recorded = identities(kept) | others
        account = account_for(one, recorded)
        assert set(account.identities) == recorded  # nothing that the restore has lost is left anywhere
        all_published(servers)
        # Phones resend what was lost: the API has cached that it was recorded, and at which position.
        assert post(one, lost)["accepted"] == len(lost)
        account_for(one, recorded | identities(lost))
        all_published(servers)

        line = status(servers.settings)["log"]
        assert "restored" in line.state
        assert "docs/backup.md" in line.advice
        restored = one.ask("restored")
        assert restored.returncode == 1
        assert "speed@1" in restored.stdout
        assert "locations@1" in restored.stdout
        assert one.ask("restored", "--accept").returncode == 0
        assert status(servers.settings)["log"].good

    # Another log, with the same Redis and the same topics.
    another = servers.settings | {"postgres_url": servers.postgres.database_url("another"), "slot_name": "another"}
    servers.create_database("another")
    upgrade(another["postgres_url"])
    with ridelog(tmp_path / "data", ROOT, **another) as one:
        fresh = pings("another", 150, riders=30)
        assert post(one, fresh)["accepted"] == len(fresh)
        account = account_for(one, identities(fresh))
        assert set(account.identities) == identities(fresh)
        assert "restored or replaced" in status(another)["log"].state
        assert "the fence belongs to another log" in one.ask("restored").stdout


def test_invariant_14_restored_while_nothing_runs(servers: RestorableServers, tmp_path: Path) -> None:
    kept, lost = pings("kept", 200), pings("lost", 100, riders=20)
    with ridelog(tmp_path / "data", ROOT, **servers.settings) as one:
        post(one, kept)
        account_for(one, identities(kept))
        servers.back_up("backup")
        post(one, lost)
        account_for(one, identities(kept) | identities(lost))
    servers.restore("backup")
    line = status(servers.settings)["speed"]
    assert "shards do not match the log" in line.state
    assert "`serve` refolds them" in line.advice
    assert one.ask("restored", "--accept").returncode == 1, "what is not repaired cannot be accepted"
    with ridelog(tmp_path / "data", ROOT, **servers.settings) as one:
        account = account_for(one, identities(kept))
        assert set(account.identities) == identities(kept)
        assert one.ask("restored", "--accept").returncode == 0
