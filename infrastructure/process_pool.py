"""Runs work in parallel processes of this program, which end with the command that started them, however that ends."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from projections.rebuild.catch_up import LogHasGaps

POLL_INTERVAL_S = 0.2
MAX_ERROR_CHARS = 8_000
"""Longest error text that a worker sends."""
ORPHAN_EXIT_CODE = 3

CONTEXT = multiprocessing.get_context("spawn")

OnTick = Callable[[], None]
"""Called at intervals while the work runs, to show progress."""

Work = Callable[..., None]
"""A module-level function, called as ``work(heartbeat, *arguments)``; it calls ``heartbeat`` at intervals."""

OnMessage = Callable[[int, Any], None]
"""Called with the number of a part and what its worker passed to ``heartbeat``, in the order of sending."""


class WorkerHeartbeat(Protocol):
    """Ends the worker if its command has ended; else sends ``message`` to the command, unless it is None."""

    def __call__(self, message: object = None) -> None: ...


def tune_gc() -> None:
    """Run the cyclic garbage collector rarely.

    A batch creates thousands of tuples and no cycles. Scanning them costs more than decoding the batch (measured: 4 of
    the 6 µs of a consumed record).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


class WorkerFailed(Exception):
    """A worker process ended before its part was done; the message says why. What it stored is kept."""


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


class _Failure(NamedTuple):
    """Last message of a worker that failed."""

    reason: LogHasGaps | str


def run_in_processes(
    name: str,
    work: Work,
    parts: Sequence[tuple[Any, ...]],
    on_tick: OnTick,
    on_message: OnMessage = lambda part, message: None,
) -> None:
    """Run ``work`` on each of ``parts``, in one process each. Raises WorkerFailed, LogHasGaps."""
    workers: list[_Worker] = []
    try:
        for number, arguments in enumerate(parts):
            workers.append(_start(f"{name}-{number}", work, arguments))
        open_pipes = {worker.pipe: number for number, worker in enumerate(workers)}
        failures: dict[int, _Failure] = {}
        while True:
            # Before the pipes are read: all that an ended process has sent is then in its pipe.
            running = [worker.process.sentinel for worker in workers if worker.process.is_alive()]
            for pipe, number in list(open_pipes.items()):
                if not _receive(pipe, number, failures, on_message):
                    del open_pipes[pipe]
            _raise_failed(workers, failures)
            if not running:
                return
            on_tick()
            multiprocessing.connection.wait([*running, *open_pipes], POLL_INTERVAL_S)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


def _start(name: str, work: Work, arguments: tuple[Any, ...]) -> _Worker:
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process: BaseProcess = CONTEXT.Process(
        target=_run_worker, args=(theirs, os.getpid(), work, arguments), name=name, daemon=True
    )
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _receive(pipe: Connection, number: int, failures: dict[int, _Failure], on_message: OnMessage) -> bool:
    """Read all messages that are in the pipe; False once its worker has closed it."""
    while True:
        try:
            if not pipe.poll():
                return True
            message = pipe.recv()
        except (EOFError, OSError):
            return False  # the worker has ended, perhaps in the middle of a message
        if isinstance(message, _Failure):
            failures[number] = message
        else:
            on_message(number, message)


def _raise_failed(workers: Sequence[_Worker], failures: dict[int, _Failure]) -> None:
    for number, (process, _) in enumerate(workers):
        failure = failures.get(number)
        if failure is None and process.exitcode in (None, 0):
            continue
        reason = f"it ended with {process.exitcode}" if failure is None else failure.reason
        if isinstance(reason, LogHasGaps):
            raise reason  # permanent: running the same command again would not help
        raise WorkerFailed(f"{process.name}: {reason}; run the same command again: what is done is kept")


def _run_worker(pipe: Connection, parent: int, work: Work, arguments: tuple[Any, ...]) -> None:
    tune_gc()

    def heartbeat(message: object = None) -> None:
        # The workers of a killed command must not run next to those of the next command.
        if os.getppid() != parent:
            os._exit(ORPHAN_EXIT_CODE)
        if message is not None:
            pipe.send(message)

    try:
        work(heartbeat, *arguments)
    except Exception as error:
        # As text: an exception of any class may fail to pickle, or to unpickle in the command.
        text = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
        pipe.send(_Failure(error if isinstance(error, LogHasGaps) else text))
        raise SystemExit(1) from error
