"""Starts programs as forks of one process that has loaded their modules already: each start saves the loading.

A fork becomes a child of the process that asked for it, not of the fork server, so that both are started, watched and
ended like any other child: between the two is a process that ends at once, and the asking process is a subreaper
meanwhile (prctl(2)). Linux only; where it is not supported, or does not answer, programs are executed instead.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self

import msgspec
from setproctitle import setproctitle, setthreadtitle

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec, open_log

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FIRST_ANSWER_TIMEOUT_S = 120.0
"""The first answer waits until the modules are loaded. After so long the programs are executed instead."""
ANSWER_TIMEOUT_S = 5.0
"""Of a later answer: a restart must not wait for a server that was stopped."""
ADOPTED_WITHIN_S = 10.0
"""The process between ends at once: a fork that waits longer for its parent has lost it."""
NOT_ADOPTED_EXIT_CODE = 125


TITLE = "ridelog fork server"
"""Its command line in ``ps``."""


class _Request(msgspec.Struct):
    """What to run: the arguments after the prefix. The log comes with it, as an open file.

    ``title`` and ``name`` are what ``ps`` and ``top`` show.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    title: str
    name: str


class ForkServer:
    """The side that asks. ``prefix``: the beginning of the command lines that forks can run."""

    def __init__(self, connection: socket.socket, pid: int, prefix: Sequence[str]) -> None:
        self.pid = pid
        self._connection = connection
        self._connection.settimeout(FIRST_ANSWER_TIMEOUT_S)
        self._prefix = list(prefix)

    def start(self, spec: ProcessSpec) -> ChildProcess | None:
        """Fork a child that runs ``spec``. None: it has to be executed, because it is no such command, or no answer."""
        command, skipped = list(spec.command), len(self._prefix)
        if command[:skipped] != self._prefix or spec.user is not None:
            return None
        request = _Request(command[skipped:], dict(spec.env), str(spec.cwd), " ".join(command), spec.name)
        with open_log(spec) as log:
            log_start = log.tell()
            try:
                pid = self._ask(msgspec.json.encode(request), log.fileno())
                return ChildProcess.adopt(spec, pid, log_start)
            except OSError as error:
                # Programs are executed from now on: a late answer would be taken for that of another request.
                logger.info("%s is executed: it cannot be forked (%s)", spec.name, error)
                self._connection.close()
                return None

    def _ask(self, request: bytes, log: int) -> int:
        """The pid of a new child of this process. Raises OSError."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(self._connection, [request], [log])
            answer = self._connection.recv(64)
            self._connection.settimeout(ANSWER_TIMEOUT_S)
        finally:
            _prctl(PR_SET_CHILD_SUBREAPER, 0)
        if not answer:
            raise ConnectionResetError("the fork server has ended")
        return int(answer)

    def close(self) -> None:
        """End the fork server, also while it loads. Its forks run on: they are children of this process."""
        self._connection.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fork_server(
    preload: Callable[[], object], run: Callable[[Sequence[str]], NoReturn], prefix: Sequence[str]
) -> ForkServer | None:
    """Fork the server, which calls ``preload``; its forks call ``run`` with the arguments after ``prefix``.

    Returns in this process alone. None where forks are not supported, and in a process with other threads: a fork
    would not have them, and would have the locks that they hold.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return ForkServer(ours, pid, prefix)
    ours.close()
    _end_with(supervisor, signal.SIGKILL)
    # Ctrl-C in a terminal reaches its whole foreground group, and it is the supervisor that ends this process.
    os.setsid()
    # Files that this program inherited would stay open in each program for as long as it runs.
    os.closerange(3, theirs.fileno())
    os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    # The first call finds the command line by the environment of the start, which a fork replaces.
    setproctitle(TITLE)
    preload()
    if len(os.listdir("/proc/self/task")) > 1:
        logger.warning("programs are executed, not forked: a module that was loaded has started a thread")
        os._exit(1)
    # What is loaded now is not scanned again: to scan it would copy it into each fork.
    gc.collect()
    gc.freeze()
    request = _next_fork(theirs, supervisor)
    theirs.close()
    run(request)


def _next_fork(connection: socket.socket, supervisor: int) -> list[str]:
    """Fork once for each request. Returns in the forks alone, with their arguments; ends when the other side closes."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 1)
        if not message:
            os._exit(0)
        request = msgspec.json.decode(message, type=_Request)
        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            if (pid := os.fork()) != 0:
                os.write(writer, b"%d" % pid)
                os._exit(0)
            for descriptor in (reader, writer):
                os.close(descriptor)
            _become(request, descriptors[0], supervisor)
            return request.argv
        os.close(writer)
        os.waitpid(between, 0)
        try:
            connection.send(os.read(reader, 32))
        except OSError:
            # The other side has waited long enough, and executes its programs. The fork finds no parent, and ends.
            os._exit(0)
        for descriptor in (reader, *descriptors):
            os.close(descriptor)


def _become(request: _Request, log: int, supervisor: int) -> None:
    """Give this fork what an executed program has: its log, environment, directory, session and parent."""
    os.setsid()
    deadline = time.monotonic() + ADOPTED_WITHIN_S
    while os.getppid() != supervisor:
        if time.monotonic() > deadline:
            os._exit(NOT_ADOPTED_EXIT_CODE)
        time.sleep(0.001)
    _end_with(supervisor, signal.SIGKILL)
    os.umask(0o077)
    os.chdir(request.cwd)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(request.env)
    setproctitle(request.title)
    setthreadtitle(request.name)


def _end_with(parent: int, death_signal: signal.Signals) -> None:
    """Let this process get ``death_signal`` when its parent ends. Ends it now if that has ended."""
    _prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:
        os._exit(NOT_ADOPTED_EXIT_CODE)


def _prctl(option: int, value: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
