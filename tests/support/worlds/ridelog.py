"""The complete ridelog as a user runs it: `python app.py serve` in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx
import msgspec

from infrastructure.embedded.data_dir import RunInfo, read_run_info
from infrastructure.embedded.pid_file import RecordedProcess
from infrastructure.supervision.readiness import program_of
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.command_line import run_here


class Ridelog:
    """A running ``serve`` of the checkout ``folder``. ``http`` is a client of its API until ``stop``."""

    def __init__(self, data_dir: Path, folder: Path = ROOT, **settings: str) -> None:
        self.data_dir = data_dir
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
        self.env |= {"RIDELOG_DATA_DIR": str(data_dir), "RIDELOG_PORT": "0"}
        self.env |= {f"RIDELOG_{name.upper()}": value for name, value in settings.items()}
        self._log = (data_dir.parent / f"{data_dir.name}.serve.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "serve"], cwd=folder, env=self.env, stdout=self._log, stderr=self._log
        )
        self.started_at = time.monotonic()
        self.http = httpx.Client(timeout=30.0)

    def wait_ready(self, within_s: float = 60.0, path: str = "/health/ready") -> None:
        """Wait until ``path`` answers 200. Raises AssertionError with the output of ``serve`` if it ends first."""

        def is_ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(Path(self._log.name).read_text())
            info = read_run_info(self.data_dir)
            if info is None:
                return False
            self.http.base_url = httpx.URL(info.http_url)
            try:
                return self.http.get(path).status_code == 200
            except httpx.HTTPError:
                return False

        eventually(is_ready, within_s=within_s, what=f"serve is ready; see {self._log.name}")

    @property
    def info(self) -> RunInfo:
        info = read_run_info(self.data_dir)
        assert info is not None
        return info

    def processes(self) -> dict[str, RecordedProcess]:
        """The processes that the supervisor has recorded, by name."""
        entries = msgspec.json.decode((self.data_dir / "pids.json").read_bytes(), type=list[RecordedProcess])
        return {entry.name: entry for entry in entries}

    def processes_of(self, program: str) -> dict[str, RecordedProcess]:
        """The processes of one program, by name; the projections have several."""
        return {name: entry for name, entry in self.processes().items() if program_of(name) == program}

    def kill(self, program: str) -> None:
        """Kill all processes of a program with SIGKILL; wait until ``serve`` has restarted them."""
        before = self.processes_of(program)
        for entry in before.values():
            os.kill(entry.pid, SIGKILL)

        def restarted() -> bool:
            now = self.processes_of(program)
            return all(now.get(name) not in (entry, None) for name, entry in before.items())

        eventually(restarted, within_s=60, what=f"{program} is restarted")

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command next to this ``serve``, in the test's process; only for code of this checkout."""
        assert self.folder == ROOT
        return run_here(arguments, self.env, self.folder)

    def cli(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run another command next to this ``serve``, in a separate process, as a user does."""
        return subprocess.run(
            [sys.executable, "app.py", *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=scaled_s(timeout_s),
            check=False,
        )

    def post(self, pings: Any, **options: Any) -> dict[str, Any]:
        """``POST /pings``, which must be answered with 200."""
        answer = self.http.post("/pings", json=pings, **options)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def speed(self, rider_id: str, **query: Any) -> dict[str, Any] | None:
        """The rider's speed, None if unknown."""
        answer = self.http.get(f"/riders/{rider_id}/speed", params=query)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def speed_at(self, rider_id: str, position: int, **query: Any) -> dict[str, Any]:
        """The rider's speed once everything up to its event at ``position`` is folded."""

        def found() -> dict[str, Any] | None:
            speed = self.speed(rider_id, **query)
            return speed if speed is not None and speed["position"] >= position else None

        speed = eventually(found, within_s=60, what=f"{rider_id} reaches position {position}")
        assert speed is not None
        return speed

    def stop(self) -> int:
        """Stop with SIGTERM, as a service manager does. Returns the exit code."""
        self.http.close()
        self.process.terminate()
        try:
            return self.process.wait(timeout=scaled_s(40))
        finally:
            self.process.kill()
            self._log.close()


@contextmanager
def ridelog(data_dir: Path, folder: Path = ROOT, **settings: str) -> Iterator[Ridelog]:
    """A ``serve`` that is ready."""
    one = Ridelog(data_dir, folder, **settings)
    try:
        one.wait_ready()
        yield one
    finally:
        one.stop()
