"""Sends what the simulated world sends, in real time or as fast as the server accepts it: a client of the HTTP API.

The same actions give the same requests in the same order.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid5

from infrastructure.client.client import RidelogClient
from infrastructure.client.messages import CommandReceipt, PostReceipt
from infrastructure.errors import UserError
from infrastructure.simulator.actions import Action, RiderTruth, SentCommand, Upload, UploadKind
from infrastructure.simulator.commands import KEY_NAMESPACE
from infrastructure.simulator.deliveries import Verb


class FleetTotals:
    """Counts of what was sent and of the server's answers. Written by one thread; any thread may read it."""

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.kinds: Counter[UploadKind] = Counter()
        self.commands: Counter[Verb] = Counter()
        """Commands that are recorded: by the request that was answered, or by one before it whose answer was lost."""
        self.repeats = 0
        """Commands that were sent a second time."""
        self.refused: Counter[str] = Counter()
        """Commands that were refused, by code."""
        self.truths: dict[str, RiderTruth] = {}
        """The true state of each rider at the newest ping sent."""
        self.open_orders: dict[str, None] = {}
        """The orders that were placed and have not ended, in the order in which they were placed.

        Another thread copies it with ``list``, which no change interrupts.
        """

    def add_pings(self, uploads: Iterable[Upload], receipt: PostReceipt) -> None:
        """Count one answered request with pings."""
        truths = dict(self.truths)
        for upload in uploads:
            self.sent += len(upload.fixes)
            self.kinds[upload.kind] += len(upload.fixes)
            if upload.kind is not UploadKind.REPEAT:
                truths[upload.rider_id] = upload.fixes[-1].truth
        # The dictionary is replaced, not changed, because the demo reads it from another thread.
        self.truths = truths
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected.update(item.code for item in receipt.rejected)

    def add_command(self, command: SentCommand, receipt: CommandReceipt) -> None:
        """Count one answered command."""
        if receipt.code is not None:
            self.refused[receipt.code] += 1
        elif command.kind is UploadKind.REPEAT:
            self.repeats += 1
        else:
            self.commands[command.verb] += 1
        if command.verb in {Verb.COMPLETE, Verb.CANCEL}:
            self.open_orders.pop(command.order_id, None)

    def placing(self, order_id: str) -> None:
        """An order is about to be placed; it counts as open even if the answer is lost."""
        self.open_orders[order_id] = None

    def summary(self) -> dict[str, Any]:
        """The counts for ``--json``. ``late``: sent in a batch after a time offline; ``repeated``: sent twice."""
        return {
            "sent": self.sent,
            "late": self.kinds[UploadKind.LATE],
            "repeated": self.kinds[UploadKind.REPEAT],
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "orders": self.commands[Verb.PLACE],
            "completed": self.commands[Verb.COMPLETE],
            "cancelled": self.commands[Verb.CANCEL],
            "commands": self.commands.total(),
            "repeated_commands": self.repeats,
            "refused_commands": dict(sorted(self.refused.items())),
        }


TICK_S = 0.05
"""In real time, uploads that are due within one tick share a request, as behind a gateway: 1,000 riders do not need
1,000 requests per second."""

MAX_REQUEST_PINGS = 2_000
"""A request with this many pings is sent even before its tick ends."""

SIMULATION_ENDED = "the simulation ended"


class FleetApi(Protocol):
    """The part of the HTTP API that a simulation needs; ``RidelogClient`` is one."""

    def post_pings(self, pings: Sequence[Mapping[str, Any]], /) -> PostReceipt: ...

    def place_order(self, body: Mapping[str, Any], key: str, /) -> CommandReceipt: ...

    def delivery_command(self, order_id: str, verb: str, body: Mapping[str, Any], key: str, /) -> CommandReceipt: ...


class FleetRunner:
    """One simulation run. Any thread may read ``totals`` while it runs."""

    def __init__(self, api: FleetApi, on_request: Callable[[FleetTotals, float], None] = lambda *_: None) -> None:
        """``on_request(totals, simulated seconds)`` is called after each answer, in the thread that runs."""
        self.totals = FleetTotals()
        self._api = api
        self._on_request = on_request

    def real_time(self, actions: Iterable[Action], stop: threading.Event, clock: Callable[[], float]) -> FleetTotals:
        """Send each action when it is due, until there are no more or ``stop`` is set. Second 0 is now.

        ``clock`` is monotonic, in seconds. After the server was unavailable, overdue actions are sent at once. Raises
        UserError as the API does.
        """
        began = clock()
        due: list[Action] = []
        size = 0
        for action in actions:
            at_s = math.ceil(action.send_at_s / TICK_S) * TICK_S
            if due and (at_s > clock() - began or size >= MAX_REQUEST_PINGS):
                self._send(due)
                due, size = [], 0
            if stop.wait(max(0.0, began + at_s - clock())):
                return self.totals
            due.append(action)
            size += _pings(action)
        self._send(due)
        return self.totals

    def fast(self, actions: Iterable[Action], stop: threading.Event) -> FleetTotals:
        """Send all actions in their order, without waiting. Raises UserError as the API does."""
        due: list[Action] = []
        size = 0
        for action in actions:
            if stop.is_set():
                return self.totals
            due.append(action)
            size += _pings(action)
            if size >= MAX_REQUEST_PINGS:
                self._send(due)
                due, size = [], 0
        self._send(due)
        return self.totals

    def cancel_open_orders(self) -> None:
        """Cancel the orders that this run leaves behind: else their riders would carry them in the next run too.

        A rider has at most 20 legs. Raises UserError as the API does.
        """
        for order_id in list(self.totals.open_orders):
            key = str(uuid5(KEY_NAMESPACE, f"{order_id}/{SIMULATION_ENDED}"))
            body = {"reason": SIMULATION_ENDED}
            receipt = self._api.delivery_command(order_id, Verb.CANCEL.value, body, key)
            if receipt.code in {"unknown_delivery", "wrong_status"}:
                # The run was interrupted before an answer: the order was never placed, or is over.
                self.totals.open_orders.pop(order_id, None)
                continue
            command = SentCommand(0.0, order_id, Verb.CANCEL, UploadKind.LIVE, 0, key, body)
            self.totals.add_command(command, receipt)

    def _send(self, actions: Sequence[Action]) -> None:
        """Send in the given order: pings up to the next command in one request, then the command."""
        uploads: list[Upload] = []
        for action in actions:
            if isinstance(action, Upload):
                uploads.append(action)
                continue
            self._post(uploads)
            uploads = []
            self._command(action)
        self._post(uploads)

    def _post(self, uploads: Sequence[Upload]) -> None:
        if uploads:
            receipt = self._api.post_pings([fix.ping for upload in uploads for fix in upload.fixes])
            self.totals.add_pings(uploads, receipt)
            self._on_request(self.totals, uploads[-1].send_at_s)

    def _command(self, command: SentCommand) -> None:
        if command.verb is Verb.PLACE:
            self.totals.placing(command.order_id)
            receipt = self._api.place_order(command.body, command.key)
        else:
            receipt = self._api.delivery_command(command.order_id, command.verb.value, command.body, command.key)
        self.totals.add_command(command, receipt)
        self._on_request(self.totals, command.send_at_s)


def _pings(action: Action) -> int:
    return len(action.fixes) if isinstance(action, Upload) else 0


JOIN_TIMEOUT_S = 35.0
"""Longer than one request may take: the end of a run waits for the request that is under way."""


class BackgroundFleet:
    """Sends actions in real time in a thread, while the context is open; at its end it cancels the open orders."""

    def __init__(self, actions: Iterable[Action], client: RidelogClient, open_orders: Iterable[str] = ()) -> None:
        """``open_orders`` were placed before, by other means."""
        self.runner = FleetRunner(client)
        for order_id in open_orders:
            self.runner.totals.placing(order_id)
        self._actions = actions
        self._client = client
        self._stop = threading.Event()
        self._error: UserError | None = None
        # A daemon thread, so that a server that never answers cannot keep the process running.
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
        self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self.runner.real_time(self._actions, self._stop, time.monotonic)
            self.runner.cancel_open_orders()
        except UserError as error:
            self._error = error
