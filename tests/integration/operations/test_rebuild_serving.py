"""Which services count as serving: a rebuild must not switch readers to a generation that does not advance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, event

from infrastructure.errors import UserError
from infrastructure.observability.stage_reports import StageProgress
from infrastructure.operations.rebuild import ENDED_AFTER_S, wait_until_followed
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation
from projections.speed import SPEED
from tests.support.reports.dead_process import ended
from tests.support.reports.reported_stages import insert_report

FOLD = fold_digest(SPEED)
NEW = Generation(SPEED.name, 2, SPEED.fold_version, FOLD, active=False, state="ready")
ELSEWHERE = "another-host:1:2:3"
BACKING_OFF_S = 9.0
"""Age of the last report of a worker whose last attempt took 4 s and that waits 5 s before the next."""


def reported(engine: Engine, age_s: float, instance: str = ELSEWHERE, stage: str = "speed@2", **detail: Any) -> None:
    progress = StageProgress(state="running" if "shards" in detail else "ConsumerUnusable: down", detail=detail)
    with engine.begin() as connection:
        insert_report(connection, stage, instance, age_s, msgspec.json.encode(progress).decode())


def test_regression_a_retrying_service_still_serves(engine: Engine) -> None:
    reported(engine, BACKING_OFF_S, generation=2, fold=FOLD)
    polls = 0

    def on_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal polls
        if statement.startswith("SELECT") and "FROM stages" in statement:
            polls += 1
            if polls == 2:
                reported(engine, 0, generation=2, fold=FOLD, shards=64)

    event.listen(engine, "before_cursor_execute", on_statement)
    wait_until_followed(engine, NEW)
    assert polls >= 2, "the first poll did not count it as serving"


def test_regression_a_retrying_service_with_other_code_is_not_ignored(engine: Engine) -> None:
    reported(engine, BACKING_OFF_S, generation=1, fold="of other code", stage="speed")
    with pytest.raises(UserError, match="does not take up generation 2 of speed"):
        wait_until_followed(engine, NEW)


def test_an_old_report_does_not_show_that_a_worker_follows(engine: Engine) -> None:
    reported(engine, BACKING_OFF_S, generation=2, fold="", shards=64)
    with pytest.raises(UserError):
        wait_until_followed(engine, NEW)


@pytest.mark.parametrize(("here", "age_s"), [(True, 0.0), (False, ENDED_AFTER_S)])
def test_a_service_that_has_ended_or_is_silent_for_long_does_not_serve(
    engine: Engine, here: bool, age_s: float
) -> None:
    reported(engine, age_s, ended() if here else ELSEWHERE, generation=1, fold="of other code")
    wait_until_followed(engine, NEW)


def test_a_service_of_another_projection_is_not_waited_for(engine: Engine) -> None:
    reported(engine, 0, stage="analytics", generation=1, fold="of other code")
    wait_until_followed(engine, NEW)
