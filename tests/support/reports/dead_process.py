"""A process that has ended, with the name that its stage reports use."""

from __future__ import annotations

import subprocess
import sys

from infrastructure.observability.stage_reports import instance_of
from tests.support.time_limits import scaled_s


def ended() -> str:
    """The name of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    instance = instance_of(process.pid)
    process.communicate(timeout=scaled_s(30))
    return instance
