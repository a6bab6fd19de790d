"""A program that starts commands through a fork server and reports, as a JSON line, what became of each.

``python -m … FOLDER``: the commands are in this file (``run``).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import psutil

from infrastructure.embedded.child_process import ChildProcess, ProcessSpec
from infrastructure.embedded.fork_server import TITLE, ForkServer, fork_server
from infrastructure.embedded.pid_file import PidFile
from infrastructure.embedded.service import Program, ServiceCommand
from infrastructure.supervision.supervisor import Supervisor
from tests.support.waiting import eventually

LOADED: list[str] = []
PREFIX = (sys.executable, "-c", "raise SystemExit('executed')")


def preload() -> None:
    LOADED.append("modules")


def run(arguments: Sequence[str]) -> NoReturn:
    """What a fork does: it writes what it has to its log, and ends by its argument."""
    word = arguments[0]
    print(json.dumps(_found()), flush=True)
    if word == "wait":
        signal.pause()
    sys.exit(7 if word == "fail" else 0)


def _found() -> dict[str, Any]:
    return {
        "loaded": LOADED,
        "environment": dict(os.environ),
        "cwd": os.getcwd(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "pid": os.getpid(),
        "umask": os.umask(0o077),
        "input": os.path.realpath("/proc/self/fd/0"),
        "open": [os.readlink(link) for fd in range(3, 64) if os.path.lexists(link := f"/proc/self/fd/{fd}")],
    }


def spec(folder: Path, *command: str) -> ProcessSpec:
    name = command[-1]
    return ProcessSpec(name, command, folder / f"{name}.log", {"NAME": name}, folder)


def report(child: ChildProcess, *, wait: bool = True) -> dict[str, Any]:
    ended = child.wait(20.0) if wait else not child.is_alive()
    command, name = ([], "") if ended else (psutil.Process(child.pid).cmdline(), psutil.Process(child.pid).name())
    log = child.spec.log_path.read_bytes()[child.log_start :].decode()
    return {"pid": child.pid, "ended": ended, "code": child.returncode, "command": command, "log": log, "name": name}


def main(folder: Path) -> None:
    forks = fork_server(preload, run, PREFIX)
    assert forks is not None
    found: dict[str, Any] = {"pid": os.getpid()}
    with forks:
        for word in ("end", "fail", "end"):
            child = forks.start(spec(folder, *PREFIX, word))
            assert child is not None
            found[word] = report(child)
        waiting = forks.start(spec(folder, *PREFIX, "wait"))
        assert waiting is not None
        other = spec(folder, sys.executable, "-c", "pass")
        found["other command"] = forks.start(other) is None
        found["restarted"] = restarted(forks, folder)
        _lose(forks)
        found["without the server"] = forks.start(spec(folder, *PREFIX, "late")) is None
    log = folder / "wait.log"
    eventually(lambda: b"}" in log.read_bytes(), what="the fork has reported")
    found["wait"] = report(waiting, wait=False)
    print(json.dumps(found), flush=True)
    if sys.stdin.readline() == "stop\n":
        waiting.stop()
        print(json.dumps({"code": waiting.returncode}), flush=True)


def restarted(forks: ForkServer, folder: Path) -> dict[str, Any]:
    """What a supervised program writes to its log before it is killed, and once it is restarted."""
    program = Program(ServiceCommand("again", [*PREFIX, "wait"], {"NAME": "again"}), folder, folder, forks)
    program.spawn()
    supervisor = Supervisor([program], PidFile(folder))

    def lines(count: int) -> list[str]:
        supervisor.check()
        said = program.log_path.read_text().splitlines() if program.log_path.exists() else []
        return said if len(said) == count else []

    eventually(lambda: lines(1), what="the program runs")
    assert program.child is not None
    program.child.send(signal.SIGKILL)
    said = eventually(lambda: lines(2), what="the program is restarted")
    program.stop()
    return {"log": [json.loads(line) for line in said]}


def _lose(forks: ForkServer) -> None:
    """End the server, as the kernel does that has no memory left."""
    [server] = [one for one in psutil.Process().children() if one.pid == forks.pid]
    assert " ".join(server.cmdline()).strip() == TITLE
    server.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
