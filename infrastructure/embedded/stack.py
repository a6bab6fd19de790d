"""Starts and stops together the embedded servers that stand in for external ones."""

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

EMBEDDED: dict[str, Callable[[Path], EmbeddedServer]] = {
    "postgres_url": Postgres,
    "redis_url": Valkey,
    "kafka_bootstrap": Tansu,
}
"""Setting that names an external server -> the embedded server that is started without it."""


class Stack:
    """The embedded servers for those settings in ``needs`` that name no external server."""

    def __init__(self, settings: Settings, data_dir: Path, needs: Collection[str] = tuple(EMBEDDED)) -> None:
        self._settings = settings
        self.servers = {
            setting: make(data_dir)
            for setting, make in EMBEDDED.items()
            if setting in needs and getattr(settings, setting) is None
        }

    def start(self, pids: PidFile) -> Settings:
        """Start the servers in parallel. Returns the settings with their addresses filled in. Raises UserError."""
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

    def stop(self, is_urgent: Callable[[], bool] = lambda: False) -> None:
        """Stop the servers in parallel."""
        stop_all(list(self.servers.values()), is_urgent)


def attach(settings: Settings) -> Settings | None:
    """The settings with the addresses of the ``serve`` that runs on the data directory; None if none does."""
    info = read_run_info(settings.data_dir)
    if info is None:
        return None
    addresses = {setting: getattr(settings, setting) or getattr(info, setting) for setting in EMBEDDED}
    return msgspec.structs.replace(settings, **addresses)


@contextmanager
def servers_for(settings: Settings, needs: Collection[str], *, create: bool = False) -> Iterator[Settings]:
    """Settings in which each of ``needs`` (names of URL settings) has a server: of a running ``serve`` or started here.

    Servers that were started here are stopped at the end. Raises UserError, also if nothing has ever run in the data
    directory, unless ``create``.
    """
    if all(getattr(settings, need) is not None for need in needs):
        yield settings
    elif (attached := attach(settings)) is not None:
        yield attached
    else:
        if not create and settings.postgres_url is None and not (settings.data_dir / "postgres").exists():
            # A command that only reads must not create anything: a database that `status` created would be confusing.
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
                pids.clear()
