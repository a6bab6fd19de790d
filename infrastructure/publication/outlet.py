"""Publishing with an answer: what this returns from is on the topic."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from infrastructure.kafka.port import OutRecord, Publisher, PublishError
from projections.ports import PortUnavailable

log = logging.getLogger("ridelog.publication")

BATCH_RECORDS = 2_000
"""Handed over, and waited for, at once (invariant 15)."""
ACKNOWLEDGED_S = 10.0
"""How long a batch may take; then the broker counts as away."""


class Outlet:
    """One topic. Opens its publisher when there is something to publish, and anew after every failure."""

    def __init__(
        self,
        open_publisher: Callable[[], Publisher],
        identity: Callable[[], str],
        *,
        batch_records: int = BATCH_RECORDS,
        acknowledged_s: float = ACKNOWLEDGED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_publisher
        self.identity = identity
        """Asks the broker which topic bears the name now; another one after it was made again."""
        self._batch = batch_records
        self._acknowledged_s = acknowledged_s
        self._clock = clock
        self._publisher: Publisher | None = None
        self._tokens = itertools.count(1)

    def publish(self, records: Iterable[OutRecord]) -> int:
        """Their number, when all are acknowledged.

        Raises PortUnavailable; then any of them may be published, now or a little later, or none.
        """
        left, published = iter(records), 0
        while batch := list(itertools.islice(left, self._batch)):
            try:
                self._deliver(batch)
            except PublishError as error:
                self.close()
                raise PortUnavailable(f"Kafka: {error}") from error
            except PortUnavailable:
                self.close()
                raise
            published += len(batch)
        return published

    def close(self) -> None:
        """Drop what is under way: after a failure it is published again, by another publisher."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            left = publisher.close(0.0)
            if left:
                log.warning("%d records were not acknowledged and are published again", left)

    def _deliver(self, records: Sequence[OutRecord]) -> None:
        if self._publisher is None:
            self._publisher = self._open()
        publisher, token = self._publisher, next(self._tokens)
        deadline = self._clock() + self._acknowledged_s
        taken = publisher.publish(token, records)
        while taken < len(records):
            # A full queue, or a topic that is not known yet: reports are served, then the rest is handed over.
            self._in_time(deadline)
            publisher.acknowledged(0.01)
            taken += publisher.publish(token, records[taken:])
        publisher.seal(token)
        while token not in publisher.acknowledged(0.1):
            self._in_time(deadline)

    def _in_time(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise PortUnavailable(f"Kafka: {self._acknowledged_s:.0f} s without acknowledgement")
