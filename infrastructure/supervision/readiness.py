"""When ``serve`` may say that it runs, and that it is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import httpx
import msgspec

from infrastructure.embedded.child_process import until
from infrastructure.embedded.service import Program, last_words
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

API = "api"
MONITOR = "monitor"
READINESS_POLL_INTERVAL_S = 0.5
READY_WITHIN_S = 60.0
PROJECTIONS = "projections"
# Of the stages that /health/ready names, those that are no projection and the program that brings them in order;
# the servers are everybody's.
STAGES = {"tailer": "tailer"}
SERVERS = {"postgres", "redis"}


def program_of(name: str) -> str:
    """Which program a process of this name belongs to: ``projections-speed`` -> ``projections``."""
    return name.partition("-")[0]


class _NotReady(msgspec.Struct):
    stages: dict[str, str]


class Readiness:
    """Asks now and then whether everything is ready, and tells when it is; also, once, when it is not in time."""

    def __init__(
        self, ask: Callable[[], str], tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``ask`` says what is missing, "" if nothing is; ``tell`` is given the same."""
        self._ask = ask
        self._tell = tell
        self._clock = clock
        self._next = clock()
        self._deadline = clock() + READY_WITHIN_S

    def look(self) -> None:
        """Ask if it is time; never waits for longer than one answer."""
        now = self._clock()
        if now < self._next:
            return
        missing = self._ask()
        self._next = now + READINESS_POLL_INTERVAL_S if missing else float("inf")
        if not missing or now >= self._deadline:
            self._deadline = float("inf")
            self._tell(missing)


def http_url(settings: Settings) -> str:
    """Where this machine reaches HTTP, also if it is bound to every address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def wait_live(settings: Settings, programs: Sequence[Program], timeout_s: float = 60.0) -> None:
    """Wait until HTTP answers ``/health/live``. Raises UserError if a program ends first or time is up.

    A program that ends while everything starts is a fault of its set-up, which starting it again cannot cure.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        for program in programs:
            if not program.is_alive():
                said = last_words(program)
                raise UserError(
                    f"{program.name} ended while it started: {said or 'it gave no reason'}; see {program.log_path}"
                )
        if _is_live(f"{http_url(settings)}/health/live"):
            return
        if not until(deadline):
            raise UserError(
                f"{http_url(settings)} does not answer after {timeout_s:.0f} s; see its log in the data directory"
            )


def missing_stages(url: str, running: Collection[str]) -> str:
    """What ``/health/ready`` finds wrong with stages of the ``running`` programs, in words; "" if nothing.

    The stages of others (--only) are not waited for: nobody may have started them yet.
    """
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=1.0, trust_env=False)
        if answer.status_code == httpx.codes.OK:
            return ""
        stages = msgspec.json.decode(answer.content, type=_NotReady).stages
    except (httpx.TransportError, msgspec.DecodeError) as error:
        return f"{url}: {error}"
    bad = {name: words for name, words in stages.items() if words != "ok" and _belongs(name, running)}
    return "; ".join(f"{name}: {words}" for name, words in bad.items())


def _belongs(stage: str, running: Collection[str]) -> bool:
    return stage in SERVERS or STAGES.get(stage, PROJECTIONS) in running


def _is_live(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
