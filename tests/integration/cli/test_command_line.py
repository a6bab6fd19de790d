"""The command line from outside: useful help, one line per error, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg2
import pytest

from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.worlds.command_line import run_here


def from_outside(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python app.py`` in its own process and directory, with these settings and no others."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        cwd=cwd,
        env=env | _environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled_s(60),
    )


def ridelog(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same in the test's process, which has imported everything already."""
    return run_here(arguments, _environment(settings), cwd)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"RIDELOG_{name.upper()}": value for name, value in settings.items()} | {"COLUMNS": "120", "NO_COLOR": "1"}


def test_help_names_the_commands_and_the_first_step(tmp_path: Path) -> None:
    done = from_outside("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("serve", "migrate", "config", "python app.py serve", "ridelog.toml"):
        assert word in done.stdout
    assert " process " not in done.stdout, "it is for the supervisor, not for users"


def test_the_help_of_demo_names_its_data_directory(tmp_path: Path) -> None:
    assert "[default: .ridelog/demo]" in ridelog("demo", "--help", cwd=tmp_path).stdout


def test_status_where_nothing_has_run_reports_that_and_creates_nothing(tmp_path: Path) -> None:
    done = ridelog("status", cwd=tmp_path)
    assert done.returncode == 1
    assert f"nothing has run in {tmp_path / '.ridelog'} yet" in done.stderr
    assert "python app.py serve" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_config_show_hides_secrets_and_is_also_json(tmp_path: Path) -> None:
    (tmp_path / "ridelog.toml").write_text("port = 9000\n")
    settings = {"tokens": "admin=hunter2", "postgres_url": "postgresql://u:hunter2@db/x"}
    done = ridelog("config", "show", cwd=tmp_path, **settings)
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    shown = json.loads(ridelog("config", "show", "--json", cwd=tmp_path, **settings).stdout)
    assert shown["port"] == {"value": 9000, "description": "HTTP port; 0 takes a free one"}
    assert shown["postgres_url"]["value"] == "postgresql://db/x"
    assert shown["data_dir"]["value"] == str(tmp_path / ".ridelog")


def test_config_show_describes_every_setting(tmp_path: Path) -> None:
    done = ridelog("config", "show", cwd=tmp_path)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["port"].split(maxsplit=2)[2] == "HTTP port; 0 takes a free one"
    shown = json.loads(ridelog("config", "show", "--json", cwd=tmp_path).stdout)
    assert set(shown) == set(lines)
    for name, one in shown.items():
        assert one["description"], name
        assert lines[name].endswith(one["description"])


@pytest.mark.parametrize("arguments", [("sevre",), ("serve", "--prot", "1"), ("serve", "--only", "api,tialer")])
def test_wrong_usage_ends_with_2_and_a_hint(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = ridelog(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_error_of_the_user_is_one_line_and_ends_with_1(tmp_path: Path) -> None:
    done = from_outside("config", "show", cwd=tmp_path, prot="1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: unknown setting RIDELOG_PROT; the closest known one is RIDELOG_PORT; "
        "`python app.py config show` shows them all\n"
    )


def test_migrate_upgrades_an_external_database_and_reports_when_it_is_up_to_date(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    first = ridelog("migrate", "--json", cwd=tmp_path, postgres_url=empty_postgres_url)
    assert first.returncode == 0, first.stderr
    went = json.loads(first.stdout)
    assert went["before"] is None
    assert went["after"]
    again = ridelog("migrate", cwd=tmp_path, postgres_url=empty_postgres_url)
    assert "up to date" in again.stdout
    assert not (tmp_path / ".ridelog").exists()


def test_migrate_starts_and_stops_the_embedded_database_for_itself(tmp_path: Path) -> None:
    done = from_outside("migrate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "from revision none" in done.stdout
    assert not (tmp_path / ".ridelog" / "pids.json").exists()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(dbname="ridelog", user="ridelog", host=str(tmp_path / ".ridelog" / "run" / "postgres"))


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("postgres_url", "postgresql://u:hunter2@127.0.0.1:1/x"),
        ("redis_url", "redis://:hunter2@127.0.0.1:1/0"),
        ("kafka_bootstrap", "127.0.0.1:1"),
    ],
)
def test_serve_refuses_an_external_server_that_is_unavailable(tmp_path: Path, setting: str, url: str) -> None:
    done = ridelog("serve", "--port", "0", cwd=tmp_path, **{setting: url})
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert f"RIDELOG_{setting.upper()}" in error
    assert "hunter2" not in done.stderr


def test_serve_refuses_an_external_database_that_is_behind(tmp_path: Path, empty_postgres_url: str) -> None:
    done = ridelog("serve", "--port", "0", cwd=tmp_path, postgres_url=empty_postgres_url)
    assert done.returncode == 1
    assert "run `python app.py migrate`" in done.stderr.splitlines()[-1]


def test_a_python_without_the_packages_gets_one_line_with_the_command_to_run(tmp_path: Path) -> None:
    # -S omits site-packages: like the system's Python in a new clone.
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "app.py"), "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled_s(60),
    )
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert "make install" in error
    assert ".venv/bin/python app.py" in error


def test_off_loopback_with_tokens_the_open_broker_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    settings = {"tokens": "admin=hunter2-hunter2-hunter2", "postgres_url": "postgresql://127.0.0.1:1/x"}
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0")
    refused = ridelog(*arguments, cwd=tmp_path, **settings)
    assert refused.returncode == 1
    assert "--allow-open-broker" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "nothing was started"
    # Accepted, it goes on as far as the database, which is not there.
    accepted = ridelog(*arguments, "--allow-open-broker", cwd=tmp_path, **settings)
    assert "--allow-open-broker" not in accepted.stderr
    assert "embedded Kafka broker has no login" in accepted.stderr
    assert "correct RIDELOG_POSTGRES_URL" in accepted.stderr
