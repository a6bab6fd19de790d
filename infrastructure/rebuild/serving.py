"""Whether a running ``serve`` keeps a generation up to date, from what its stages report."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.observability.stages import StageReport, read_stages
from infrastructure.observability.watchdog import STUCK_AFTER_S
from infrastructure.user_error import UserError
from projections.generations import Generation

WAIT_S = 60.0
LOOK_EVERY_S = 0.3
FRESH_S = 5.0
"""A worker that follows reports every second: an older report does not show that it still does."""
GONE_AFTER_S = STUCK_AFTER_S + 10.0
"""One in trouble reports only after each attempt, which may take long and begins up to 5 s after the one before; of one
that hangs its process tells after STUCK_AFTER_S. Only who is silent for longer serves no more."""


def wait_followed(engine: Engine, generation: Generation) -> None:
    """Return once a running service keeps ``generation`` up to date, at once if no service runs.

    Else readers would be switched to a generation that stands still. Raises UserError if that service
    has other code, or does not do so within a minute; PortUnavailable. Of a service on another machine that has just
    ended only its silence tells, after GONE_AFTER_S.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        serving = _serving(generation.projection, engine)
        if not serving or any(_follows(report, generation.number) for report in serving):
            return
        has_the_fold = any(report.progress.detail.get("fold") == generation.fold_digest for report in serving)
        if not has_the_fold or time.monotonic() > deadline:
            raise UserError(
                f"the running `serve` does not take up generation {generation.number} of {generation.projection}; "
                "it is ready and kept: start `serve` with the code of this command, and run the command again"
            )
        time.sleep(LOOK_EVERY_S)


def _serving(projection: str, engine: Engine) -> list[StageReport]:
    with unavailable_as_port_error():
        reports = read_stages(engine)
    of_it = [r for r in reports if r.stage.partition("@")[0] == projection]
    return [r for r in of_it if r.alive and r.age_s < GONE_AFTER_S]


def _follows(report: StageReport, number: int) -> bool:
    detail = report.progress.detail
    return report.age_s < FRESH_S and detail.get("generation") == number and detail.get("shards", 0) > 0
