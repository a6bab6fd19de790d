"""Keeps services running until a stop signal: restarts a service that ends, later each time it keeps ending."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from infrastructure.embedded.pid_file import PidFile
from infrastructure.embedded.service import Service, last_errors
from infrastructure.errors import UserError
from infrastructure.supervision.signals import StopSignals
from projections.core.retry import RetryDelays

log = logging.getLogger(__name__)

RESTART_DELAYS_S = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
"""The first restart is almost immediate; a crash loop restarts every five seconds at most."""
HEALTHY_AFTER_S = 30.0
"""A service that ran this long had started well: its next end starts a new back-off sequence and is no crash loop."""
WATCH_INTERVAL_S = 0.2
REPAIR_RETRY_INTERVAL_S = 1.0


class RestartBackoff:
    """The delay before the next start of one service. Times are monotonic seconds."""

    def __init__(self, started_at: float) -> None:
        self._delays = RetryDelays(RESTART_DELAYS_S)
        self._started_at = started_at

    def on_started(self, now: float) -> None:
        """The service was started at ``now``."""
        self._started_at = now

    def delay_s(self, now: float) -> float:
        """The service was found ended at ``now``. Returns the seconds to wait before it is restarted."""
        if now - self._started_at >= HEALTHY_AFTER_S:
            self._delays.reset()
        return self._delays.next_s()


class Supervisor:
    """Watches services that are already running, and restarts a service that ends, after a back-off delay.

    ``repairs``: service name -> what must be done after a restart (the in-memory broker loses its topics). A repair
    is retried until it succeeds.
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
        self._backoff = {service.name: RestartBackoff(clock()) for service in services}
        self._start_at: dict[str, float] = {}
        self._repair_at: dict[str, float] = {}
        self._held: set[str] = set()
        self._record()

    def run(self, signals: StopSignals, *also: Callable[[], None]) -> None:
        """Watch until a stop signal. Calls each of ``also`` after each check."""
        while not signals.wait(WATCH_INTERVAL_S):
            self.check()
            for act in also:
                act()

    def hold(self, name: str) -> None:
        """Stop the service and leave it stopped until ``release``. Ignores a name that no service has."""
        for service in self._services:
            if service.name == name:
                self._held.add(name)
                service.stop()

    def release(self, name: str) -> None:
        """Start a held service."""
        for service in self._services:
            if service.name in self._held and service.name == name:
                self._held.remove(name)
                self._start(service, self._clock())

    def restart(self, name: str) -> None:
        """Stop and start the service, and repair it afterwards. The restart is intended, so there is no delay."""
        self.hold(name)
        self.release(name)

    def is_repaired(self, name: str) -> bool:
        """Whether the service runs and no repair of it is pending."""
        alive = any(service.name == name and service.is_alive() for service in self._services)
        return alive and name not in self._repair_at

    def check(self) -> None:
        """Check every service once: note ends, start the services that are due, repair the restarted ones."""
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
        delay_s = self._backoff[service.name].delay_s(now)
        child = service.child
        log.error(
            "%s ended (%s)%s; restarting it in %.1f s; if it keeps ending, see %s",
            service.name,
            _describe_exit(child.returncode if child is not None else None),
            f": {said}" if (said := last_errors(service)) else "",
            delay_s,
            service.log_path,
        )
        return delay_s

    def _start(self, service: Service, now: float) -> None:
        self._start_at.pop(service.name, None)
        self._backoff[service.name].on_started(now)
        try:
            service.spawn()
        except (UserError, OSError) as error:
            log.error("%s cannot be started now (%s); retrying", service.name, error)
            self._start_at[service.name] = now + self._backoff[service.name].delay_s(now)
            return
        log.info("%s was restarted", service.name)
        if service.name in self._repairs:
            self._repair_at[service.name] = now

    def _repair_if_due(self, name: str, now: float) -> None:
        if now < self._repair_at.get(name, float("inf")):
            return
        try:
            self._repairs[name]()
        except Exception as error:  # noqa: BLE001 - a repair that fails for any reason is logged and retried
            log.warning("%s runs again but is not repaired yet (%s); retrying", name, error)
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
            # A full disk must not stop the services that run. A later check writes the file.
            log.error("the process ids cannot be saved: %s; retrying", error)


def _describe_exit(returncode: int | None) -> str:
    if returncode is None:
        return "never started"
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
