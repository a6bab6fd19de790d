"""Where a command that talks to the API looks for it: ``--url``, the running ``serve``, then host and port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.http.fake_api import fake_api
from tests.support.worlds.command_line import run_here
from tests.support.worlds.imports import LINES

COMMANDS = {
    "import-pings": ("import-pings", "track.csv"),
    "simulate": ("simulate", "--riders", "2", "--fast", "--duration", "60"),
}


@pytest.fixture(params=sorted(COMMANDS))
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "track.csv").write_text("\n".join(LINES))
    return COMMANDS[request.param]


@pytest.mark.parametrize("origin", ["environment", "file"])
def test_without_a_running_serve_the_settings_host_and_port_name_the_server(
    tmp_path: Path, arguments: tuple[str, ...], origin: str
) -> None:
    """It was 127.0.0.1:8000, whatever the settings said."""
    env: dict[str, str] = {}
    with fake_api() as api:
        port = api.url.rsplit(":", 1)[1]
        if origin == "file":
            (tmp_path / "ridelog.toml").write_text(f'host = "0.0.0.0"\nport = {port}\n')
        else:
            env = {"RIDELOG_PORT": port}
        done = run_here(arguments, env, tmp_path)
    assert done.returncode == 0, done.stderr
    assert api.pings


def test_a_named_server_is_used_whatever_the_settings_say(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with fake_api() as api:
        done = run_here((*arguments, "--url", api.url), {"RIDELOG_PORT": "1"}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert api.pings


def test_port_0_names_no_server_before_serve_runs(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_here(arguments, {"RIDELOG_PORT": "0"}, tmp_path)
    assert done.returncode == 1
    assert "no serve runs on" in done.stderr
    assert "--url" in done.stderr
