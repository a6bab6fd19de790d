"""What floats may depend on: bytes are compared within one fingerprint only."""

from __future__ import annotations

import hashlib
import math
import platform
import struct
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def numeric_fingerprint() -> dict[str, str]:
    """CPU, C library, Python minor, h3 (if installed), and a digest of what the functions of libm really give here."""
    try:
        h3 = version("h3")
    except PackageNotFoundError:
        h3 = ""
    return {
        "cpu": _cpu(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "h3": h3,
        "libm": _libm(),
    }


def _cpu() -> str:
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()} {next(names, platform.processor())}".strip()


def _libm() -> str:
    digest = hashlib.sha256()
    for n in range(1, 2_000):
        x = n / 1_997
        values = (
            math.sin(x * 7),
            math.cos(x * 7),
            math.asin(x % 1.0),
            math.sqrt(x),
            math.exp(-x * 20),
            math.hypot(x, 1),
        )
        digest.update(struct.pack(">6d", *values))
    return digest.hexdigest()[:16]
