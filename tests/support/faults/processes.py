"""Processes that are killed, suspended or doubled."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from signal import SIGTERM

from infrastructure.observability.stage_reports import STANDBY, instance_of, read_stages
from projections.catalogue import PROJECTIONS
from tests.support.faults.fault import Fault
from tests.support.faults.world import APACHE, EMBEDDED, World, frozen, pause
from tests.support.program_process import ProgramProcess
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

SLEEP_S = 12.0
"""Longer than the session of a consumer (6 s), wal_sender_timeout, the time-out of an idle transaction and that of a
client of Redis or HTTP (10 s each)."""


def kill(name: str, world: World, _chance: Random) -> None:
    world.kill(name)


def sleep(name: str, world: World, _chance: Random) -> None:
    world.freeze(name, SLEEP_S)


@contextmanager
def beside(world: World, program: str) -> Iterator[ProgramProcess]:
    """Run one more ``program`` next to those of ``serve``, and kill it at the end."""
    log = Path(world.folder) / f"second-{program}.log"
    one = ProgramProcess(world.settings, program, log)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait(scaled_s(20))


def two_tailers(world: World, _chance: Random) -> None:
    """A second tailer waits; the first is killed, so that the second takes over; then the second is killed."""
    with beside(world, "tailer") as second:
        second.wait_for(world.engine, STANDBY)
        world.kill("tailer")
        second.wait_for(world.engine, "tailer")


def _shards_of(world: World, *pids: int) -> dict[str, int]:
    """Projection -> number of shards that these processes report."""
    mine = {instance_of(pid) for pid in pids}
    reports = [r for r in read_stages(world.engine) if r.instance in mine and r.connected]
    return {r.stage: int(r.progress.detail.get("shards", 0)) for r in reports}


def _shares(world: World, pid: int) -> bool:
    shards = _shards_of(world, pid)
    return all(shards.get(name, 0) > 0 for name in PROJECTIONS)


def zombie_consumer(world: World, _chance: Random) -> None:
    """Two consumers share the partitions; one is suspended past its session, the other takes all, the first resumes."""
    with beside(world, "projections") as second:
        eventually(lambda: _shares(world, second.process.pid), within_s=90, what="the second has partitions")
        first = world.pids("projections")
        with frozen([second.process.pid]):
            eventually(lambda: _have_all(world, first), within_s=90, what="the first has them all again")
        pause(1.0)


def _have_all(world: World, pids: Sequence[int]) -> bool:
    shards = _shards_of(world, *pids)
    return all(shards.get(name, 0) == 64 for name in PROJECTIONS)


def rebalances(world: World, chance: Random) -> None:
    """A second consumer joins and leaves in order, at any moment of the first one's work."""
    with beside(world, "projections") as second:
        eventually(lambda: _shares(world, second.process.pid), within_s=90, what="the second has partitions")
        pause(chance.random())
        second.send(SIGTERM)
        second.process.wait(scaled_s(30))


def _broker(name: str) -> str:
    """The broker of a fault in ``make test``: both are used, each fault with the one whose client it affects most."""
    return APACHE if name in {"tailer", "projections"} else EMBEDDED


NAMES = ("api", "tailer", "projections", "postgres", "redis", "kafka")
PROCESS_FAULTS = [
    *(
        Fault(
            f"kill -9 of {name}",
            "killed, then restarted",
            functools.partial(kill, name),
            wipes=(EMBEDDED,) if name == "kafka" else (),
            small=_broker(name),
        )
        for name in NAMES
    ),
    *(
        Fault(
            f"SIGSTOP of {name}",
            f"with its children, for {SLEEP_S:.0f} s, longer than every time-out",
            functools.partial(sleep, name),
            small=_broker(name),
        )
        for name in NAMES
    ),
    Fault(
        "two tailers",
        "a second one waits; the first is killed, then the second",
        two_tailers,
        small=APACHE,
    ),
    Fault(
        "zombie consumer",
        "of two consumers one sleeps past its session, the other takes its partitions, the sleeper wakes",
        zombie_consumer,
        small=APACHE,
    ),
    Fault("rebalance in mid-batch", "a second consumer joins and leaves", rebalances),
]
