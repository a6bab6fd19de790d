"""Records the started processes on disk, so that the next start ends what a killed supervisor left behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM, Signals

import msgspec

from infrastructure.embedded.data_dir import write_private
from infrastructure.embedded.process_identity import end_process, process_start_id
from infrastructure.errors import UserError

log = logging.getLogger(__name__)


class RecordedProcess(msgspec.Struct, frozen=True):
    """One started process. ``start_id``: distinguishes it from a later one with the same pid; ``signal``: ends it."""

    name: str
    pid: int
    start_id: str = msgspec.field(name="mark")
    signal: int = int(SIGTERM)


class PidFile:
    """The processes that run for one data directory, in its ``pids.json``."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "pids.json"
        self._written: list[RecordedProcess] = []

    def record(self, running: Mapping[str, tuple[int, Signals]]) -> None:
        """Save name -> (pid, signal that ends it) of all running processes. Writes only if that has changed."""
        entries = [
            RecordedProcess(name, pid, start_id, int(number))
            for name, (pid, number) in running.items()
            if (start_id := process_start_id(pid)) is not None
        ]
        if entries != self._written:
            write_private(self._path, msgspec.json.encode(entries))
            self._written = entries

    def end_stale(self, timeout_s: float = 10.0) -> list[str]:
        """End the processes that an earlier supervisor left. Returns their names. Raises UserError if one stays."""
        ended = []
        for entry in self._read():
            try:
                if end_process(entry.pid, entry.start_id, Signals(entry.signal), timeout_s):
                    log.warning("ended %s (pid %d), left by a killed serve", entry.name, entry.pid)
                    ended.append(entry.name)
            except (PermissionError, TimeoutError) as error:
                raise UserError(
                    f"{entry.name} (pid {entry.pid}) of an earlier serve still runs and cannot be "
                    f"ended ({error}); stop it as its own user: kill {entry.pid}"
                ) from error
        self.clear()
        return ended

    def clear(self) -> None:
        """Delete the record: none of the processes runs any more."""
        self._path.unlink(missing_ok=True)
        self._written = []

    def _read(self) -> list[RecordedProcess]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[RecordedProcess])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError:
            log.warning("%s is damaged and ignored; if a start fails, check for old processes", self._path)
            return []
