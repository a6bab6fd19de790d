"""A simulation beside something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from infrastructure.client.ridelog_client import RidelogClient
from infrastructure.simulator.phone import Upload
from infrastructure.simulator.runner import Runner
from infrastructure.user_error import UserError

JOIN_WITHIN_S = 35.0
"""Longer than one request may take: the end of a run waits for the one that is under way."""


class Background:
    """Sends uploads in real time, in a thread, from enter to exit."""

    def __init__(self, uploads: Iterable[Upload], client: RidelogClient) -> None:
        self.runner = Runner(client.post_pings)
        self._uploads = uploads
        self._client = client
        self._stop = threading.Event()
        self._error: UserError | None = None
        # A daemon, so that a server that never answers cannot keep the whole process.
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)

    def check(self) -> None:
        """Raises UserError if the run has failed."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._client.interrupt()
        self._thread.join(JOIN_WITHIN_S)

    def _run(self) -> None:
        try:
            self.runner.real_time(self._uploads, self._stop, time.monotonic)
        except UserError as error:
            self._error = error
