"""Starts, kills and restarts the payment provider of ``provider_program``, and reads what it has booked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infrastructure.embedded.server import free_port
from tests.support.servers.provider_program import whole_lines
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually


class ProviderProcess:
    """One provider with its record on disk; it keeps its port and its record through kills.

    ``delay_s``: the time between its record and its answer, in which a kill leaves a payment booked and not answered.
    """

    def __init__(self, folder: Path, delay_s: float = 0.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._delay_s = delay_s
        self._port = free_port()
        self.kills = 0
        self._process = self._start()

    @property
    def url(self) -> str:
        """Where payments are handed over to."""
        return f"http://127.0.0.1:{self._port}/payouts"

    def kill_and_restart(self) -> None:
        """SIGKILL, whatever it is doing; then another process with the same record."""
        self.stop()
        self.kills += 1
        self._process = self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def booked(self) -> list[dict[str, Any]]:
        """The bodies in the order in which they were booked, one a key."""
        lines = [json.loads(line) for line in whole_lines(self._folder / "ledger.jsonl")]
        assert len({line["key"] for line in lines}) == len(lines), "a key was booked twice"
        bodies: list[dict[str, Any]] = [json.loads(line["body"]) for line in lines]
        assert all(body["entry_id"] == line["key"] for body, line in zip(bodies, lines, strict=True))
        return bodies

    def requests(self) -> int:
        """How many requests came, repeated ones included."""
        return len(whole_lines(self._folder / "requests.jsonl"))

    def _start(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "tests.support.servers.provider_program"]
        command = [*program, str(self._folder), str(self._port), str(self._delay_s)]
        with (self._folder / "log").open("ab") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)

        def listens() -> bool:
            assert process.poll() is None, (self._folder / "log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._port)) == 0

        eventually(listens, within_s=60, what="the provider listens")
        return process


@contextmanager
def provider_process(folder: Path, delay_s: float = 0.0) -> Iterator[ProviderProcess]:
    """A provider that runs until the block ends."""
    one = ProviderProcess(folder, delay_s)
    try:
        yield one
    finally:
        one.stop()
