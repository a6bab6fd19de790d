"""Work shared out to processes of this program, which end with the command that started them, however that ends."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from projections.rebuild.catch_up import LogHasHoles

POLL_INTERVAL_S = 0.2
MAX_ERROR_CHARS = 8_000
"""Of what a worker says of its end."""

CONTEXT = multiprocessing.get_context("spawn")

Look = Callable[[], None]
"""Called now and then while the work goes on, to show how far it is."""

Work = Callable[..., None]
"""A function of a module: ``work(alive, *arguments)``; it calls ``alive`` now and then."""


def tune_gc() -> None:
    """Run the cyclic collector rarely: a batch makes thousands of tuples and no cycles, and being looked through for
    them costs more than decoding it (measured: 4 of 6 µs a consumed record)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


class WorkerFailed(Exception):
    """A worker process ended before its part was done; the message says why. What it stored is kept."""


def in_processes(name: str, work: Work, parts: Sequence[tuple[Any, ...]], look: Look) -> None:
    """Run ``work`` on each of ``parts``, one process each. Raises WorkerFailed, LogHasHoles."""
    running: list[tuple[BaseProcess, Connection]] = []
    for number, arguments in enumerate(parts):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process: BaseProcess = CONTEXT.Process(
            target=_in_worker, args=(theirs, os.getpid(), work, arguments), name=f"{name}-{number}", daemon=True
        )
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
    multiprocessing.connection.wait([process.sentinel for process in processes if process.is_alive()], POLL_INTERVAL_S)


def _raise_failed(running: Sequence[tuple[BaseProcess, Connection]]) -> None:
    for process, pipe in running:
        if process.exitcode not in (None, 0):
            said = pipe.recv() if pipe.poll() else f"it ended with {process.exitcode}"
            if isinstance(said, LogHasHoles):
                raise said  # to run the same command again changes nothing
            raise WorkerFailed(f"{process.name}: {said}; run the same command again: it goes on where this one ended")


def _in_worker(pipe: Connection, parent: int, work: Work, arguments: tuple[Any, ...]) -> None:
    tune_gc()

    def alive() -> None:
        # A command that was killed must not go on behind the back of the one that is started next.
        if os.getppid() != parent:
            os._exit(3)

    try:
        work(alive, *arguments)
    except Exception as error:
        # Read once this process has ended: more than a pipe holds would let both wait for each other.
        pipe.send(error if isinstance(error, LogHasHoles) else f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
        raise SystemExit(1) from error
