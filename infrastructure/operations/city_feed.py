"""Keeps the newest city snapshot in an API process, so that no request waits for it."""

from __future__ import annotations

import logging
import threading

from infrastructure.postgres.city_snapshots import DamagedCity, PostgresCitySnapshots
from projections.core.ports import PortUnavailable, SinkRejected
from read_models.city.content import UnreadableCityContent, decode
from read_models.city.snapshot import CitySnapshot

log = logging.getLogger("ridelog.city")

POLL_INTERVAL_S = 1.0


class CityFeed:
    """Polls the newest snapshot in a thread. While none can be read, the last one stays, and gets stale."""

    def __init__(self, cities: PostgresCitySnapshots, interval_s: float = POLL_INTERVAL_S) -> None:
        self._cities = cities
        self._interval_s = interval_s
        self._newest: CitySnapshot | None = None
        self._refused = ""
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="city-feed", daemon=True)

    def newest(self) -> CitySnapshot | None:
        """The newest snapshot that was read; None before the first. Never waits."""
        return self._newest

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def poll(self) -> None:
        """Take over the newest snapshot if it is another one.

        Raises PortUnavailable, SinkRejected; DamagedCity and UnreadableCityContent for bytes that are not to be used.
        """
        found, held = self._cities.newest(), self._newest
        # By digest too: a database that was restored to an older state gives the same numbers again.
        if found is None:
            # Invariant 14: what is held is of another log, since this one has no snapshot yet.
            self._newest = None
            return
        if held is not None and (held.number, held.digest) == (found.number, found.digest):
            return
        data = self._cities.content(found)
        if data is not None:
            self._newest = CitySnapshot(found.number, found.digest, decode(data))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.poll()
                self._refused = ""
            except (PortUnavailable, SinkRejected) as error:
                # At INFO only: the stages themselves report the unavailable server.
                log.info("the city snapshot is not refreshed for now: %s", error)
            except (DamagedCity, UnreadableCityContent) as error:
                if str(error) != self._refused:
                    log.error("a city snapshot is not used, the one before it stays: %s", error)
                self._refused = str(error)
            except Exception:
                # The thread must survive any error: every answer needs a snapshot.
                log.exception("the city snapshot cannot be refreshed")
            self._stop.wait(self._interval_s)
