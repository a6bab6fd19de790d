"""Decides when ``serve`` may report that it runs, and that it is ready."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Sequence

import httpx
import msgspec

from infrastructure.embedded.child_process import until
from infrastructure.embedded.service import Program, last_errors
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

API = "api"
MONITOR = "monitor"
PROJECTIONS = "projections"
PROJECTION_TASK = "projection_task"
"""Runs one requested task; the name of its module in ``processes``."""
READINESS_POLL_INTERVAL_S = 0.5
READY_WITHIN_S = 60.0
"""After so long ``serve`` reports once what is still missing, and goes on waiting."""
STAGES = {"tailer": "tailer", "city": "city", "payments": "payments", "flink": "flink"}
"""Stage of ``/health/ready`` -> the program that runs it. Every other stage is a server or a projection."""
SERVERS = {"postgres", "redis"}
"""Stages of ``/health/ready`` that every program needs."""
LIVENESS_POLL_INTERVAL_S = 0.1
LIVE_WITHIN_S = 180.0
"""Bounds the start of a program that hangs. A start takes about ten seconds, and eight times as long on two cores with
twenty runnable processes."""
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate, for URLs without TLS. By default, httpx reads all certificates of the machine for each poll:
30 ms of CPU, while the programs that are polled need it for their start."""


def program_of(name: str) -> str:
    """Which program a process of this name belongs to: ``projections-speed`` -> ``projections``."""
    return name.partition("-")[0]


class _NotReady(msgspec.Struct):
    stages: dict[str, str]


class Readiness:
    """Polls whether everything is ready. Reports once when it is, and once when it is not ready in time."""

    def __init__(
        self,
        find_missing: Callable[[], str],
        on_report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``find_missing`` returns what is missing, "" if nothing is; ``on_report`` receives that text."""
        self._find_missing = find_missing
        self._on_report = on_report
        self._clock = clock
        self._next = clock()
        self._deadline = clock() + READY_WITHIN_S

    def check(self) -> None:
        """Poll if it is due. Never waits for longer than one answer."""
        now = self._clock()
        if now < self._next:
            return
        missing = self._find_missing()
        self._next = now + READINESS_POLL_INTERVAL_S if missing else float("inf")
        if not missing or now >= self._deadline:
            self._deadline = float("inf")
            self._on_report(missing)


def wait_live(settings: Settings, programs: Sequence[Program], timeout_s: float = LIVE_WITHIN_S) -> None:
    """Wait until HTTP answers ``/health/live``. Raises UserError if a program ends first or time is up.

    A program that ends during the start has a faulty set-up, which a restart cannot cure.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        for program in programs:
            if not program.is_alive():
                said = last_errors(program)
                raise UserError(
                    f"{program.name} ended while it started: {said or 'it gave no reason'}; see {program.log_path}"
                )
        if answers_ok(f"{settings.local_url}/health/live"):
            return
        if not until(deadline, LIVENESS_POLL_INTERVAL_S):
            raise UserError(
                f"{settings.local_url} does not answer after {timeout_s:.0f} s; see its log in the data directory"
            )


def missing_stages(url: str, running: Collection[str], elsewhere: Collection[str] = ()) -> str:
    """What ``/health/ready`` reports as wrong with the stages of the ``running`` programs; "" if nothing.

    Stages of programs that run elsewhere (--only), and projections that are followed ``elsewhere`` (by Flink), are not
    waited for: they may not have been started yet.
    """
    try:
        answer = _get(f"{url}/health/ready", timeout_s=1.0)
        if answer.status_code == httpx.codes.OK:
            return ""
        stages = msgspec.json.decode(answer.content, type=_NotReady).stages
    except (httpx.TransportError, msgspec.DecodeError) as error:
        return f"{url}: {error}"
    bad = {
        name: fault
        for name, fault in stages.items()
        if fault != "ok" and name not in elsewhere and _belongs(name, running)
    }
    return "; ".join(f"{name}: {fault}" for name, fault in bad.items())


def _belongs(stage: str, running: Collection[str]) -> bool:
    return stage in SERVERS or STAGES.get(stage, PROJECTIONS) in running


def answers_ok(url: str, timeout_s: float = 2.0) -> bool:
    """Whether this machine's HTTP answers a GET with 200 within ``timeout_s`` seconds."""
    try:
        return _get(url, timeout_s).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _get(url: str, timeout_s: float) -> httpx.Response:
    return httpx.get(url, timeout=timeout_s, trust_env=False, verify=_NO_AUTHORITIES)
