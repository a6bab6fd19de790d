"""Silences kafka-python while a call runs whose failure its caller reports."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

KAFKA_PYTHON = logging.getLogger("kafka")


class _Silence:
    """Counts the active users of ``silent_kafka_python``. When the last one ends, the previous level is restored."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.level = logging.NOTSET


_silence = _Silence()


@contextmanager
def silent_kafka_python() -> Iterator[None]:
    """Silence kafka-python during the block, for calls whose failure is raised and reported once by the caller."""
    with _silence.lock:
        if not _silence.users:
            _silence.level = KAFKA_PYTHON.level
            KAFKA_PYTHON.setLevel(logging.CRITICAL + 1)
        _silence.users += 1
    try:
        yield
    finally:
        with _silence.lock:
            _silence.users -= 1
            if not _silence.users:
                KAFKA_PYTHON.setLevel(_silence.level)
