"""Whether a running ``serve`` keeps a generation up to date, from what its stages report."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.observability.stages import StageReport, read_stages
from infrastructure.user_error import UserError
from projections.generations import Generation

WAIT_S = 60.0
LOOK_EVERY_S = 0.3
FRESH_S = 5.0
"""A report older than this is of a process that has ended, or hangs."""


def wait_followed(engine: Engine, generation: Generation) -> None:
    """Return once a running service keeps ``generation`` up to date, at once if no service runs.

    Else readers would be switched to a generation that stands still. Raises UserError if that service
    has other code, or does not do so within a minute; PortUnavailable.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        reports = _of(generation.projection, engine)
        if not reports or any(_follows(report, generation.number) for report in reports):
            return
        has_the_fold = any(report.progress.detail.get("fold") == generation.fold_digest for report in reports)
        if not has_the_fold or time.monotonic() > deadline:
            raise UserError(
                f"the running `serve` does not take up generation {generation.number} of {generation.projection}; "
                "it is ready and kept: start `serve` with the code of this command, and run the command again"
            )
        time.sleep(LOOK_EVERY_S)


def _of(projection: str, engine: Engine) -> list[StageReport]:
    with unavailable_as_port_error():
        reports = read_stages(engine)
    return [r for r in reports if r.stage.partition("@")[0] == projection and r.age_s < FRESH_S]


def _follows(report: StageReport, number: int) -> bool:
    detail = report.progress.detail
    return detail.get("generation") == number and detail.get("shards", 0) > 0
