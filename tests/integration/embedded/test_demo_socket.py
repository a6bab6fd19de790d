"""The socket of a demo: its own API may use it, and no other process can offer one."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.embedded.demo_socket import VARIABLE, DemoListener, demo_of_this_process
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

ASK = """
import os
from infrastructure.embedded.demo_socket import demo_of_this_process
ask = demo_of_this_process()
print("no demo" if ask is None else ask({"do": "state"})["said"])
"""
LISTEN = """
from infrastructure.embedded.demo_socket import DemoListener
with DemoListener(lambda request: {"said": "hello"}) as one:
    print(one.path, flush=True)
    input()
"""


def in_child(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env={**os.environ, VARIABLE: str(path)},
        capture_output=True,
        text=True,
        timeout=scaled_s(60),
        check=True,
    )
    return done.stdout.strip()


def test_a_process_that_the_demo_has_started_asks_it() -> None:
    with DemoListener(lambda request: {"said": f"the {request['do']}"}) as listener:
        assert in_child(listener.path) == "the state"


def test_a_socket_of_a_process_that_is_no_ancestor_is_ignored() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LISTEN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        path = Path(child.stdout.readline().strip())
        assert path.exists()
        assert demo_of_this_process({VARIABLE: str(path)}) is None
        assert in_child(path) == "no demo"
    finally:
        child.communicate("\n", timeout=scaled_s(30))
    assert not path.exists()


@pytest.mark.parametrize(("sent", "warnings"), [(b"", 0), (b"{\n", 1)])
def test_a_connection_without_a_request_is_no_fault(
    caplog: pytest.LogCaptureFixture, sent: bytes, warnings: int
) -> None:
    """Regression: each start of the API, which only checks who listens, left a warning in the terminal of the demo."""
    with caplog.at_level(logging.WARNING), DemoListener(lambda request: {}) as listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(scaled_s(60))
            connection.connect(str(listener.path))
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b"", "the listener ends the connection once it has read it"
        assert len(caplog.records) == warnings


def test_without_a_variable_or_with_one_that_names_nothing_there_is_no_demo(tmp_path: Path) -> None:
    assert demo_of_this_process({}) is None
    assert demo_of_this_process({VARIABLE: ""}) is None
    assert demo_of_this_process({VARIABLE: str(tmp_path / "nothing")}) is None
