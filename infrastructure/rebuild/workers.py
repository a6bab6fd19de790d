"""Fills a generation by shards in parallel processes; progress is read from the fences, which are the checkpoints."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from domain.identifiers import SHARDS
from infrastructure.processes.common import tame_collector
from infrastructure.rebuild.world import open_world, projection_named
from infrastructure.settings import Settings
from projections.filler import Filler
from projections.folding import Decode
from projections.patience import Patience
from projections.ports import Log, Sink
from projections.protocol import Projection

LOOK_EVERY_S = 0.2

Look = Callable[[], None]
"""Called now and then while the work goes on, to show how far it is."""


class WorkerFailed(Exception):
    """A worker process ended before its shards were filled; the message says why. What it stored is kept."""


class FoldHere:
    """Fills in this process, for small logs and for projections that the catalogue has not."""

    def __init__(self, projection: Projection[Any], log: Log, decode: Decode, patience: Patience) -> None:
        self._projection = projection
        self._log = log
        self._decode = decode
        self._patience = patience

    def fill(self, sink: Sink, shards: Sequence[int], targets: Mapping[int, int], look: Look) -> None:
        """Bring ``shards`` to their targets."""
        filler = Filler(self._projection, self._log, sink, self._decode, shards)

        def attempt() -> None:
            filler.open(targets)
            while filler.step():
                look()

        self._patience.call(attempt)


class FoldInProcesses:
    """Fills by ``workers`` processes of this program, each with shards of its own."""

    def __init__(self, settings: Settings, projection: Projection[Any], workers: int) -> None:
        self._settings = settings
        self._name = projection.name
        self._workers = workers

    def fill(self, generation: int, targets: Mapping[int, int], look: Look) -> None:
        """Bring all shards to their targets. Raises WorkerFailed."""
        context = multiprocessing.get_context("spawn")
        running: list[tuple[BaseProcess, Connection]] = []
        for number in range(self._workers):
            ours, theirs = context.Pipe(duplex=False)
            shards = [shard for shard in range(SHARDS) if shard % self._workers == number]
            arguments = (theirs, os.getpid(), self._settings, self._name, generation, shards, dict(targets))
            process: BaseProcess = context.Process(target=_work, args=arguments, name=f"rebuild-{number}", daemon=True)
            process.start()
            theirs.close()
            running.append((process, ours))
        try:
            while any(process.is_alive() for process, _ in running):
                look()
                _wait([process for process, _ in running])
                _raise_failed(running)
            _raise_failed(running)
        finally:
            for process, pipe in running:
                process.kill()
                process.join()
                pipe.close()


def _wait(processes: Sequence[BaseProcess]) -> None:
    multiprocessing.connection.wait([process.sentinel for process in processes if process.is_alive()], LOOK_EVERY_S)


def _raise_failed(running: Sequence[tuple[BaseProcess, Connection]]) -> None:
    for process, pipe in running:
        if process.exitcode not in (None, 0):
            said = pipe.recv() if pipe.poll() else f"it ended with {process.exitcode}"
            raise WorkerFailed(f"{process.name}: {said}; run the same command again: it goes on where this one ended")


def _work(
    pipe: Connection,
    parent: int,
    settings: Settings,
    name: str,
    generation: int,
    shards: list[int],
    targets: dict[int, int],
) -> None:
    """In the worker's process."""
    tame_collector()
    projection = projection_named(name)

    def alive() -> None:
        # A rebuild that was killed must not go on behind the back of the one that is started next.
        if os.getppid() != parent:
            os._exit(3)

    try:
        with open_world(settings) as world:
            here = FoldHere(projection, world.log, world.decode, Patience(lambda words: None))
            here.fill(world.stores.sink(projection, generation), shards, targets, alive)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error
