"""Keeps services running until a stop is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from infrastructure.embedded.pid_file import PidFile
from infrastructure.embedded.service import Service, last_words
from infrastructure.errors import UserError
from infrastructure.supervision.signals import StopSignals

FIRST_RESTART_DELAY_S = 0.2
MAX_RESTART_DELAY_S = 5.0
# A service that ran this long had started well: its next end is a new story, not a crash loop.
HEALTHY_AFTER_S = 30.0


class Backoff:
    """The pause before the next start of one service. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures = 0
        self._started_at = float("-inf")

    def started(self, now: float) -> None:
        """It was started at ``now``."""
        self._started_at = now

    def pause(self, now: float) -> float:
        """It was found ended at ``now``: seconds to wait before it is started again."""
        self._failures = 0 if now - self._started_at >= HEALTHY_AFTER_S else self._failures
        pause = min(MAX_RESTART_DELAY_S, FIRST_RESTART_DELAY_S * 2.0**self._failures)
        # Bounded, so that a crash loop of months does not overflow the power.
        self._failures = min(self._failures + 1, 16)
        return pause


log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 0.2
REPAIR_RETRY_INTERVAL_S = 1.0


class Supervisor:
    """Watches services that run already; one that ends is started again, after a pause if it keeps ending.

    ``repairs``: by name, what must be done once a service runs again (the in-memory broker forgets its
    topics); tried again until it succeeds.
    """

    def __init__(
        self,
        services: Sequence[Service],
        pids: PidFile,
        repairs: Mapping[str, Callable[[], None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._pids = pids
        self._repairs = dict(repairs or {})
        self._clock = clock
        self._backoff = {service.name: Backoff() for service in services}
        self._start_at: dict[str, float] = {}
        self._repair_at: dict[str, float] = {}
        self._held: set[str] = set()
        for backoff in self._backoff.values():
            backoff.started(clock())
        self._record()

    def run(self, signals: StopSignals, *also: Callable[[], None]) -> None:
        """Watch until a stop signal; each of ``also`` is called after each look."""
        while not signals.wait(WATCH_INTERVAL_S):
            self.look()
            for act in also:
                act()

    def hold(self, name: str) -> None:
        """Stop the service and leave it stopped until ``release``; nothing if it is not one of ours."""
        for service in self._services:
            if service.name == name:
                self._held.add(name)
                service.stop()

    def release(self, name: str) -> None:
        """Start a held service again."""
        for service in self._services:
            if service.name in self._held and service.name == name:
                self._held.remove(name)
                self._start(service, self._clock())

    def restart(self, name: str) -> None:
        """Stop the service and start it again, with the repair that follows; on purpose, so without a pause."""
        self.hold(name)
        self.release(name)

    def is_in_order(self, name: str) -> bool:
        """Whether the service runs and needs no repair any more."""
        alive = any(service.name == name and service.is_alive() for service in self._services)
        return alive and name not in self._repair_at

    def look(self) -> None:
        """Look after every service once: notice an end, start what is due, repair what has come back."""
        for service in self._services:
            name, now = service.name, self._clock()
            if name in self._held:
                continue
            if service.is_alive():
                self._repair_if_due(name, now)
            elif name not in self._start_at:
                self._start_at[name] = now + self._note_end(service, now)
            elif now >= self._start_at[name]:
                self._start(service, now)
        self._record()

    def _note_end(self, service: Service, now: float) -> float:
        pause = self._backoff[service.name].pause(now)
        child = service.child
        log.error(
            "%s ended (%s)%s; starting it again in %.1f s; if it keeps ending, see %s",
            service.name,
            _how(child.returncode if child is not None else None),
            f": {said}" if (said := last_words(service)) else "",
            pause,
            service.log_path,
        )
        return pause

    def _start(self, service: Service, now: float) -> None:
        self._start_at.pop(service.name, None)
        self._backoff[service.name].started(now)
        try:
            service.spawn()
        except (UserError, OSError) as error:
            log.error("%s cannot be started now (%s); trying again", service.name, error)
            self._start_at[service.name] = now + self._backoff[service.name].pause(now)
            return
        log.info("%s was started again", service.name)
        if service.name in self._repairs:
            self._repair_at[service.name] = now

    def _repair_if_due(self, name: str, now: float) -> None:
        if now < self._repair_at.get(name, float("inf")):
            return
        try:
            self._repairs[name]()
        except Exception as error:  # noqa: BLE001 - whatever a repair fails of, it is logged and tried again
            log.warning("%s runs again but is not in order yet (%s); trying again", name, error)
            self._repair_at[name] = now + REPAIR_RETRY_INTERVAL_S
        else:
            self._repair_at.pop(name)

    def _record(self) -> None:
        running = {
            service.name: (service.child.pid, service.stop_steps[0][0])
            for service in self._services
            if service.child is not None and service.is_alive()
        }
        try:
            self._pids.record(running)
        except OSError as error:
            # A full disk: what runs must not be stopped for it. Written at a later look.
            log.error("the ids of the processes cannot be noted: %s", error)


def _how(returncode: int | None) -> str:
    if returncode is None:
        return "never started"
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
