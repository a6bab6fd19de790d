"""The library's Subscription, which polls the log: a NOTIFY can be lost, a growing position cannot."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

_BATCH_EVENTS = 500
_MAX_POLL_INTERVAL_S = 0.5


class PollingSubscription(Subscription[ApplicationRecorder]):
    """Yields notifications in order. At the head it waits for more, until it is stopped."""

    def __init__(self, recorder: ApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder, gt, topics)
        self._pending: list[Notification] = []
        self._stopped = threading.Event()

    def stop(self) -> None:
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        wait_s = 0.01
        while not self._stopped.is_set() and not self._pending:
            found = self._recorder.select_notifications(
                self._last_notification_id or 0, _BATCH_EVENTS, topics=self._topics, inclusive_of_start=False
            )
            self._pending = list(reversed(found))
            if not found:
                self._stopped.wait(wait_s)
                wait_s = min(2 * wait_s, _MAX_POLL_INTERVAL_S)
        if self._stopped.is_set():
            raise StopIteration
        notification = self._pending.pop()
        self._last_notification_id = notification.id
        return notification
