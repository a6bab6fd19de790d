"""Identifies a process by its pid and start time, because pids are reused."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from signal import Signals

import psutil


def process_start_id(pid: int) -> str | None:
    """A text that identifies the process among all processes ever; None if it does not run (a zombie does not).

    On Linux it is the boot id and the start in clock ticks, which a change of the wall clock does not affect.
    """
    if sys.platform != "linux":
        return _portable_start_id(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The process name in parentheses may itself contain spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{fields[19]}"


def _portable_start_id(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None


def end_process(pid: int, start_id: str, gentle: Signals, timeout_s: float = 10.0) -> bool:
    """End the process with this pid *and* start id: by ``gentle``, then SIGKILL. Each gets ``timeout_s``.

    Returns False if the process has ended or the pid belongs to another one. Raises PermissionError if it may not be
    signalled, TimeoutError if not even SIGKILL ends it.
    """
    # Open the handle before the start id is compared: from then on the handle cannot mean another process.
    handle = _open_handle(pid)
    if handle is None:
        return False
    try:
        if process_start_id(pid) != start_id:
            return False
        for number in (gentle, Signals.SIGKILL):
            _send(handle, pid, number)
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if process_start_id(pid) != start_id:
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
