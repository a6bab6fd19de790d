"""Kills and cuts parts of a running demo, and sees when they are back."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any, Final

import msgspec

from infrastructure.embedded.pid_file import RecordedProcess
from infrastructure.embedded.process_identity import process_start_id
from infrastructure.errors import UserError
from infrastructure.timestamps import now_ms

log = logging.getLogger(__name__)

CUT_S: Final = 10.0
"""How long a server that is cut answers nothing, with its connections open."""
CUTTABLE: Final = ("redis", "kafka")
"""Servers of one process each. Those of Postgres would answer on while their parent is stopped."""
MAX_BREAKS: Final = 50
"""Breaks that are remembered, the newest."""
POLL_S: Final = 0.1
DELAY_S: Final = 0.3
"""Before a break, so that the API can still answer the request for its own end."""
RECOVERED_WITHIN_S: Final = 120.0


class DemoBreak(msgspec.Struct):
    """``how``: `kill` (SIGKILL) or `cut` (stopped for ten seconds). ``back_after_s``: null until all is well again."""

    target: str
    how: str
    at_ms: int
    back_after_s: float | None = None
    problem: str = ""


class DemoBreaks:
    """One break at a time, in a thread.

    ``is_well`` says whether the whole pipeline is, by a measurement later than an instant (epoch milliseconds): one
    of before the break would call the part well again at once.
    """

    def __init__(self, data_dir: Path, is_well: Callable[[int], bool]) -> None:
        self._data_dir = data_dir
        self._is_well = is_well
        self._breaks: deque[DemoBreak] = deque(maxlen=MAX_BREAKS)
        self._running = threading.Lock()

    def targets(self) -> dict[str, RecordedProcess]:
        """The processes that the demo's ``serve`` has started, by name."""
        try:
            entries = msgspec.json.decode((self._data_dir / "pids.json").read_bytes(), type=list[RecordedProcess])
        except (OSError, msgspec.MsgspecError):
            return {}
        return {one.name: one for one in entries}

    def breaks(self) -> list[DemoBreak]:
        """What was broken, the newest last."""
        return list(self._breaks)

    def begin(self, target: str, how: str) -> DemoBreak:
        """Break it in a moment. Raises UserError for what cannot be broken now."""
        found = self.targets().get(target)
        if found is None:
            raise UserError(f"{target!r} does not run now: name one of {', '.join(sorted(self.targets()))}")
        if how not in ("kill", "cut") or (how == "cut" and target not in CUTTABLE):
            raise UserError(f"{target} cannot be {how}: kill any, cut {', '.join(CUTTABLE)}")
        if not self._running.acquire(blocking=False):
            raise UserError("something is broken already: wait until it is back")
        broken = DemoBreak(target, how, now_ms())
        self._breaks.append(broken)
        threading.Thread(target=self._break, args=(found, broken), name="demo-break", daemon=True).start()
        return broken

    def _break(self, process: RecordedProcess, broken: DemoBreak) -> None:
        try:
            time.sleep(DELAY_S)
            began = time.monotonic()
            self._do(process, broken.how)
            came_back_ms: int | None = None
            while came_back_ms is None or not self._is_well(came_back_ms):
                if came_back_ms is None and self._has_come_back(process, broken.how):
                    came_back_ms = now_ms()
                    continue
                if time.monotonic() - began > RECOVERED_WITHIN_S:
                    broken.problem = f"not all is well after {RECOVERED_WITHIN_S:.0f} s: see `status` and the logs"
                    return
                time.sleep(POLL_S)
            broken.back_after_s = time.monotonic() - began
        except OSError as error:
            broken.problem = str(error)
        finally:
            self._running.release()

    def _do(self, process: RecordedProcess, how: str) -> None:
        if process_start_id(process.pid) != process.start_id:
            return  # it has ended by itself, and is being restarted
        if how == "kill":
            os.kill(process.pid, SIGKILL)
            return
        os.kill(process.pid, SIGSTOP)
        try:
            time.sleep(CUT_S)
        finally:
            os.kill(process.pid, SIGCONT)

    def _has_come_back(self, process: RecordedProcess, how: str) -> bool:
        now = self.targets().get(process.name)
        return now is not None and (how == "cut" or now.start_id != process.start_id)


def state_of(breaks: DemoBreaks) -> dict[str, Any]:
    """The targets and breaks as the page shows them."""
    names = sorted(breaks.targets())
    return {
        "targets": [{"name": name, "hows": ["kill", "cut"] if name in CUTTABLE else ["kill"]} for name in names],
        "breaks": [msgspec.to_builtins(one) for one in breaks.breaks()],
    }
