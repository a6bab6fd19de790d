"""A standby tailer takes over when the active one dies or is suspended, whatever that one still does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text

from infrastructure.cdc.relay_checkpoint import RelayCheckpointStore
from infrastructure.observability.stage_reports import STANDBY, read_stages
from infrastructure.settings.settings import Settings
from infrastructure.status.collect import collect
from tests.support.program_process import ProgramProcess, two_tailers, wait_marked
from tests.support.relay.relay_life import assert_whole
from tests.support.relay.relay_load import head_of, with_topics, writing
from tests.support.waiting import eventually


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one:
        yield one


def owner(engine: Engine, settings: Settings) -> int | None:
    """The server process that holds the slot."""
    query = text("SELECT active_pid FROM pg_replication_slots WHERE slot_name = :slot")
    with engine.connect() as connection:
        found: int | None = connection.execute(query, {"slot": settings.slot_name}).scalar_one()
    return found


def killed(
    settings: Settings, engine: Engine, first: ProgramProcess, second: ProgramProcess, recorded: Callable[[], int]
) -> float:
    """kill -9 of the first tailer; the seconds until the second has published an event recorded after the kill.

    They are for the report, and should be below 5.
    """
    wait_marked(settings, engine, recorded())
    first.send(signal.SIGKILL)
    at, reached = time.monotonic(), recorded()
    wait_marked(settings, engine, eventually(lambda: (now := recorded()) > reached and now, what="more is recorded"))
    took_s = time.monotonic() - at
    second.wait_for(engine, "tailer")
    wait_marked(settings, engine, reached + 500)
    assert STANDBY not in [report.stage for report in read_stages(engine)]
    return took_s


def test_a_standby_takes_over_from_a_suspended_tailer_which_takes_over_when_the_standby_is_killed(
    settings: Settings, engine: Engine, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The suspended tailer resumes with old events in flight: all that it can do is to publish them again."""
    with writing(settings) as recorded, two_tailers(settings, engine, tmp_path) as (first, second):
        assert "standby" in [line.stage for line in collect(settings).stages]
        wait_marked(settings, engine, recorded())
        held_by = owner(engine, settings)
        first.send(signal.SIGSTOP)
        eventually(lambda: owner(engine, settings) != held_by, within_s=60, every_s=0.01, what="the server lets go")
        free, reached = time.monotonic(), recorded()
        wait_marked(settings, engine, reached + 1)
        record_property("take_over_s_after_wal_sender_timeout", round(time.monotonic() - free, 2))
        second.wait_for(engine, "tailer")
        first.send(signal.SIGCONT)
        first.wait_for(engine, STANDBY)
        record_property("take_over_s_wal", round(killed(settings, engine, second, first, recorded), 2))
    assert_whole(settings, mark_at_least(settings, engine, reached + 500))


def test_a_polling_standby_takes_over_from_one_that_is_killed(
    settings: Settings, engine: Engine, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = msgspec.structs.replace(settings, relay="polling")
    with writing(settings) as recorded, two_tailers(settings, engine, tmp_path) as (first, second):
        record_property("take_over_s_polling", round(killed(settings, engine, first, second, recorded), 2))
        reached = recorded()
        wait_marked(settings, engine, reached)
    assert_whole(settings, mark_at_least(settings, engine, reached))


def mark_at_least(settings: Settings, engine: Engine, least: int) -> int:
    """The relay checkpoint that the killed tailers have left: at least so high, and of recorded events."""
    mark = RelayCheckpointStore(engine, settings.slot_name).read()
    assert mark is not None
    assert least <= mark.position <= head_of(engine)
    return mark.position
