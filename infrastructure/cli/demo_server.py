"""Runs the ``serve`` of a demo: a separate process with its own servers, which ends with the demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import Self

from infrastructure.cli.demo_control import DemoControl
from infrastructure.embedded.child_process import ChildProcess, ProcessSpec
from infrastructure.embedded.data_dir import make_private_directory
from infrastructure.embedded.demo_socket import VARIABLE, DemoListener
from infrastructure.embedded.server import free_port
from infrastructure.errors import UserError
from infrastructure.supervision.readiness import answers_ok
from infrastructure.supervision.service_commands import APP

READY_WITHIN_S = 180.0
"""A start takes about ten seconds, and eight times as long on two cores with twenty runnable processes."""
STOP_WITHIN_S = 30.0
TAIL_LINES = 15


class DemoServer:
    """A running ``serve`` on a free port; ``url`` is its address. ``control`` answers what its page asks."""

    def __init__(self, data_dir: Path) -> None:
        """Start it. Raises UserError if the directory cannot be used."""
        self._data_dir = data_dir.absolute()
        try:
            make_private_directory(self._data_dir)
        except OSError as error:
            raise UserError(f"cannot use the data directory {data_dir}: {error}; choose another") from error
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.control = DemoControl(self._data_dir, self.url)
        try:
            self._listener = DemoListener(self.control.answer)
        except OSError as error:
            raise UserError(f"cannot make a socket for the page: {error}; set TMPDIR to another folder") from error
        self._listener.__enter__()
        self.log_path = self._data_dir / "logs" / "serve.log"
        command = [sys.executable, str(APP), "serve", "--host", "127.0.0.1", "--port", str(port)]
        self._log_began = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._child = ChildProcess(
            ProcessSpec(
                "serve",
                [*command, "--data-dir", str(self._data_dir)],
                self.log_path,
                # The demo ignores the environment's settings and ridelog.toml, so that simulated riders never get into
                # a database that those name.
                {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
                | {VARIABLE: str(self._listener.path)},
                cwd=self._data_dir,
                # serve stops its servers on SIGTERM. If the demo is killed, the kernel sends it: nothing stays behind.
                death_signal=SIGTERM,
            )
        )

    def wait_ready(self, pause: Callable[[float], object], within_s: float = READY_WITHIN_S) -> None:
        """Wait for /health/ready. ``pause`` sleeps for some seconds.

        Raises UserError if ``serve`` ends first or is not ready within ``within_s``.
        """
        every_s = 0.2
        for _ in range(round(within_s / every_s)):
            self.check()
            if self._is_ready():
                return
            pause(every_s)
        raise UserError(f"serve is not ready after {within_s:.0f} s; see {self.log_path}")

    def check(self) -> None:
        """Raises UserError if ``serve`` has ended."""
        if not self._child.is_alive():
            raise UserError(f"serve ended with exit code {self._child.returncode}; see {self.log_path}")

    def log_tail(self) -> str:
        """The last lines that this ``serve`` wrote."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(min(self._log_began, self.log_path.stat().st_size))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])

    def stop(self) -> None:
        """Stop with SIGTERM, and with SIGKILL after STOP_WITHIN_S."""
        self._child.stop(((SIGTERM, STOP_WITHIN_S),))
        self._listener.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        return answers_ok(f"{self.url}/health/ready")
