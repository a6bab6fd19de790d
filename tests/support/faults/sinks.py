"""Faults of the sinks: restarts, wipes, an older state, slow writes."""

from __future__ import annotations

import shutil
from random import Random

from sqlalchemy import text

from tests.support.faults.fault import Fault
from tests.support.faults.world import APACHE, World, pause

SLOW_S = 4.0


def restart(world: World, _chance: Random) -> None:
    world.valkey.restart()


def wipe(world: World, _chance: Random) -> None:
    with world.redis() as client:
        client.flushall()


def rewind(world: World, chance: Random) -> None:
    """Restore its files of one to three seconds ago."""
    home, kept = world.valkey.home, world.folder / "older-dump"
    world.valkey.stop()
    shutil.copytree(home, kept)
    world.valkey.start()
    pause(1.0 + 2 * chance.random())
    world.valkey.kill()
    shutil.rmtree(home)
    kept.rename(home)
    world.valkey.start()


def slow(world: World, _chance: Random) -> None:
    """Block writes to Redis and lock the analytics tables."""
    with world.redis() as client, world.engine.begin() as connection:
        client.execute_command("CLIENT", "PAUSE", int(SLOW_S * 1000), "WRITE")
        connection.execute(text("LOCK TABLE rider_hours IN ACCESS EXCLUSIVE MODE"))
        pause(SLOW_S)


SINK_FAULTS = [
    Fault("restart of Redis", "stopped cleanly, then restarted", restart),
    Fault("wipe of Redis", "FLUSHALL", wipe),
    Fault("rewind of Redis", "its files are replaced by older ones", rewind, small=APACHE),
    Fault("slow sinks", f"Redis accepts no write and the analytics tables are locked, for {SLOW_S:.0f} s", slow),
]
