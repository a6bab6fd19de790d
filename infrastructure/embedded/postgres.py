"""The embedded PostgreSQL: logical WAL, durable, reachable only by the user who started it."""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGINT, SIGQUIT
from urllib.parse import quote

import psycopg2

from infrastructure.embedded import postgres_cluster as files
from infrastructure.embedded.child_process import ProcessSpec, until
from infrastructure.embedded.server import EmbeddedServer, ServerError, fits_socket, free_port

OPTIONS = {
    "wal_level": "logical",
    "max_replication_slots": "64",
    "max_wal_senders": "64",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    # A tailer that stays down must not fill the disk: beyond this size its slot is invalidated, and the tailer reads
    # the events that it missed from the event store.
    "max_slot_wal_keep_size": "10GB",
    "log_replication_commands": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "unix_socket_permissions": "0700",
}


class Postgres(EmbeddedServer):
    """One server with the database and the superuser ``ridelog``.

    It listens on a Unix socket in a 0700 directory, where the kernel identifies the client's user (peer) and no
    password exists that could leak. If the path is too long for a socket, it listens on loopback with a generated
    password.
    """

    name = "postgres"
    setting = "RIDELOG_POSTGRES_URL"
    # Fast shutdown, then immediate: the next start recovers from the WAL.
    stop_steps = ((SIGINT, 15.0), (SIGQUIT, 5.0))

    def __init__(self, data_dir: Path, options: dict[str, str] | None = None) -> None:
        super().__init__(data_dir)
        self._options = OPTIONS | (options or {})
        self._run_dir = data_dir / "run" / "postgres"
        self._port = None if fits_socket(self._run_dir / ".s.PGSQL.5432") else free_port()
        self._user = files.server_user(data_dir / "postgres")
        self._password: str | None = None

    @property
    def url(self) -> str:
        """The URL, in the form that libpq and SQLAlchemy read."""
        return self.database_url("ridelog")

    def database_url(self, database: str) -> str:
        """The URL of another database of this server. Raises ServerError before the first start over TCP."""
        if self._port is None:
            return f"postgresql://ridelog@/{database}?host={quote(str(self._run_dir), safe='')}"
        self._password = self._password or files.password(self.data_dir)
        return f"postgresql://ridelog:{self._password}@127.0.0.1:{self._port}/{database}"

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait as for every server (recovery after a crash may take a while), then create the database."""
        super().wait_ready(timeout_s)
        files.create_database(self.database_url("postgres"), "ridelog")

    def _prepare(self) -> ProcessSpec:
        try:
            files.traversable_directory(self.data_dir, self._user)
            home = files.create_cluster(self.data_dir, self._user, self.log_path)
            files.traversable_directory(self._run_dir.parent, self._user)
            files.private_directory(self._run_dir, self._user)
            files.write_access_rules(home, self._user, over_tcp=self._port is not None)
        except OSError as error:
            # In some containers root lacks rights of root and cannot change the owner of a file.
            raise ServerError(f"PostgreSQL's files cannot be prepared: {error}; {files.ADVICE}") from error
        self._wait_for_orphans(home)
        where = {"listen_addresses": "", "unix_socket_directories": str(self._run_dir), "port": "5432"}
        if self._port is not None:
            where = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self._port)}
        command = [files.program("postgres"), "-D", str(home)]
        for name, value in (self._options | where).items():
            command += ["-c", f"{name}={value}"]
        return files.spec(self.name, command, self.log_path, home, self._user)

    def _wait_for_orphans(self, home: Path) -> None:
        # Backends of a killed postmaster end on their own within moments. Until then a start fails.
        deadline = time.monotonic() + 10.0
        while orphans := files.processes_in(home):
            if not until(deadline):
                raise ServerError(
                    f"another PostgreSQL (pid {', '.join(map(str, orphans))}) uses {home}; stop it with: kill -INT PID"
                )
        files.remove_stale_lock(home)

    def _is_ready(self) -> bool:
        try:
            psycopg2.connect(self.database_url("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True
