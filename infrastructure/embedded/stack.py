"""The servers that the settings leave to us: started together, stopped together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from infrastructure.embedded.data_dir import DataDir, read_run_info
from infrastructure.embedded.pid_file import PidFile
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.server import EmbeddedServer
from infrastructure.embedded.service import stop_all
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

log = logging.getLogger(__name__)

# The setting that names an external server, and what we start without it.
EMBEDDED: dict[str, Callable[[Path], EmbeddedServer]] = {
    "postgres_url": Postgres,
    "redis_url": Valkey,
    "kafka_bootstrap": Tansu,
}


class Stack:
    """Embedded servers for every setting in ``needs`` that names no external one."""

    def __init__(self, settings: Settings, data_dir: Path, needs: Collection[str] = tuple(EMBEDDED)) -> None:
        self._settings = settings
        self.servers = {
            setting: make(data_dir)
            for setting, make in EMBEDDED.items()
            if setting in needs and getattr(settings, setting) is None
        }

    def start(self, pids: PidFile) -> Settings:
        """Start them side by side; the settings with their addresses filled in. Raises UserError."""
        for server in self.servers.values():
            server.spawn()
            pids.record(
                {one.name: (one.pid, one.stop_steps[0][0]) for one in self.servers.values() if one.pid is not None}
            )
        for server in self.servers.values():
            server.wait_ready()
        return msgspec.structs.replace(
            self._settings, **{setting: server.url for setting, server in self.servers.items()}
        )

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop them side by side."""
        stop_all(list(self.servers.values()), hurry)


def attach(settings: Settings) -> Settings | None:
    """The settings with the addresses of the ``serve`` that runs on the data directory; None if none does."""
    info = read_run_info(settings.data_dir)
    if info is None:
        return None
    addresses = {setting: getattr(settings, setting) or getattr(info, setting) for setting in EMBEDDED}
    return msgspec.structs.replace(settings, **addresses)


@contextmanager
def servers_for(settings: Settings, needs: Collection[str], *, make: bool = False) -> Iterator[Settings]:
    """Settings whose ``needs`` (names of URL settings) are served: by a running ``serve``, else by ourselves.

    What had to be started is stopped at the end. Raises UserError, also where nothing has ever run, unless
    ``make``.
    """
    if all(getattr(settings, need) is not None for need in needs):
        yield settings
    elif (attached := attach(settings)) is not None:
        yield attached
    else:
        if not make and settings.postgres_url is None and not (settings.data_dir / "postgres").exists():
            # To look must not make anything: a database that was made by `status` would only puzzle.
            raise UserError(
                f"nothing has run in {settings.data_dir} yet: start `python app.py serve`, or name --data-dir"
            )
        with DataDir(settings.data_dir) as data_dir:
            pids = PidFile(data_dir.path)
            pids.end_stale()
            stack = Stack(settings, data_dir.path, needs)
            try:
                yield stack.start(pids)
            finally:
                stack.stop()
                pids.forget()
