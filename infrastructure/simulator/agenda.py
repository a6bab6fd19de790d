"""The agenda of a simulation: what happens at which second. Discrete events in order of time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from infrastructure.simulator.actions import Action

Act = Callable[[], None]


class Agenda:
    """Runs acts in order of their time; of the same time, in the order in which they were scheduled."""

    def __init__(self, on_sent: Callable[[Action], None] = lambda action: None) -> None:
        """``on_sent`` is called with each action when its time has come."""
        self.now_s = 0.0
        self._on_sent = on_sent
        self._acts: list[tuple[float, int, bool, Act]] = []
        self._count = count()
        self._sent: list[Action] = []

    def at(self, at_s: float, act: Act, *, last: bool = False) -> None:
        """Schedule ``act``. ``last``: it also runs in ``finish``, because something that has happened needs it."""
        heapq.heappush(self._acts, (max(at_s, self.now_s), next(self._count), last, act))

    def send(self, action: Action) -> None:
        """Schedule the sending of ``action``."""

        def sent() -> None:
            self._sent.append(action)
            self._on_sent(action)

        self.at(action.send_at_s, sent, last=True)

    def run_until(self, end_s: float) -> None:
        """Run everything that is scheduled before ``end_s``; then it is ``end_s``."""
        while self._acts and self._acts[0][0] < end_s:
            self.now_s, _, _, act = heapq.heappop(self._acts)
            act()
        self.now_s = end_s

    def finish(self) -> None:
        """Run only what ``last`` marks, to the end."""
        while self._acts:
            at_s, _, last, act = heapq.heappop(self._acts)
            if last:
                self.now_s = at_s
                act()

    def take_sent(self) -> list[Action]:
        """The actions that were sent since the previous call, in the order of sending."""
        sent, self._sent = self._sent, []
        return sent
