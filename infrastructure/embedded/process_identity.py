"""Which process a pid means: pids are reused, so a recorded one counts only with the time of its start."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from signal import Signals

import psutil


def process_start_id(pid: int) -> str | None:
    """A text that no other process ever has; None if no such process runs (a zombie does not).

    On Linux boot id and clock ticks, which a stepping wall clock cannot change.
    """
    if sys.platform != "linux":
        return _portable_mark(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[19]}"


def _portable_mark(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None


def end_process(pid: int, mark: str, gentle: Signals, patience_s: float = 10.0) -> bool:
    """End the process with this pid *and* mark: ``gentle``, then SIGKILL. False if it is another one or gone.

    Raises PermissionError if it may not be signalled, TimeoutError if not even SIGKILL ends it.
    """
    # The handle is taken before the mark is compared: from then on the pid cannot come to mean another.
    handle = _open_handle(pid)
    if handle is None:
        return False
    try:
        if process_start_id(pid) != mark:
            return False
        for number in (gentle, Signals.SIGKILL):
            _send(handle, pid, number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                if process_start_id(pid) != mark:
                    return True
                time.sleep(0.02)
    finally:
        if handle >= 0:
            os.close(handle)
    raise TimeoutError(f"pid {pid} does not end")


def _open_handle(pid: int) -> int | None:
    if sys.platform != "linux":
        return -1 if psutil.pid_exists(pid) else None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _send(handle: int, pid: int, number: Signals) -> None:
    try:
        if sys.platform == "linux":
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return
