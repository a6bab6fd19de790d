"""Runs ``serve`` with fake programs in a process of its own, and observes its pids, announcements and end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from infrastructure.embedded.pid_file import RecordedProcess
from infrastructure.embedded.process_identity import process_start_id
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


class ServeProcess:
    """One running ``serve`` with fake programs."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
        env |= {"RIDELOG_DATA_DIR": str(data_dir), "RIDELOG_PORT": "0"}
        env |= {f"RIDELOG_{name.upper()}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.servers.fake_serve"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until it reports readiness. Raises AssertionError with its output otherwise."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate(timeout=scaled_s(30))[1])

    def running(self) -> dict[str, RecordedProcess]:
        """The processes that it has recorded, by name."""
        entries = msgspec.json.decode((self.data_dir / "pids.json").read_bytes(), type=list[RecordedProcess])
        return {entry.name: entry for entry in entries}

    def replacement(self, of: RecordedProcess) -> RecordedProcess:
        """The process that was started in place of ``of``."""

        def found() -> RecordedProcess | None:
            entry = self.running().get(of.name)
            return None if entry == of else entry

        entry = eventually(found, what=f"{of.name} is restarted")
        assert entry is not None
        return entry


@contextmanager
def serving(data_dir: Path, **settings: str) -> Iterator[ServeProcess]:
    """A ``serve`` that is ready. It is stopped at the end unless the test has stopped it."""
    one = ServeProcess(data_dir, **settings)
    try:
        one.wait_ready()
        yield one
    finally:
        one.process.terminate()
        try:
            one.process.communicate(timeout=scaled_s(40))
        finally:
            one.process.kill()


def all_ended(entries: dict[str, RecordedProcess]) -> bool:
    """Whether none of these processes runs any more."""
    return all(process_start_id(entry.pid) != entry.start_id for entry in entries.values())
