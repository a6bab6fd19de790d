"""When ``serve`` may say that it is ready."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from infrastructure.embedded.process import until
from infrastructure.settings import Settings
from infrastructure.supervision.service import Program, last_words
from infrastructure.user_error import UserError

API = "api"


def http_url(settings: Settings) -> str:
    """Where this machine reaches HTTP, also if it is bound to every address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def wait_live(settings: Settings, programs: Sequence[Program], timeout_s: float = 60.0) -> None:
    """Wait until the API answers ``/health/live``. Raises UserError if a program ends first or time is up.

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
        if all(program.name != API for program in programs) or _is_live(f"{http_url(settings)}/health/live"):
            return
        if not until(deadline):
            raise UserError(f"{API} does not answer after {timeout_s:.0f} s; see its log in the data directory")


def _is_live(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
