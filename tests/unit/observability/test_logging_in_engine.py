"""A process whose engine turns standard error into log records writes no log there: it would never end."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from infrastructure.observability.logging import configure_in_engine


class EngineHandler(logging.Handler):
    """The handler of an engine, which has a channel of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class RecordingStderr(io.StringIO):
    """Standard error as PyFlink replaces it: each text becomes a log record."""

    def write(self, text: str) -> int:
        logging.getLogger().error(text)
        return len(text)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The root logger; its handlers and level are restored at the end."""
    found = logging.getLogger()
    handlers, level = list(found.handlers), found.level
    monkeypatch.setattr("sys.stderr", RecordingStderr())
    yield found
    found.handlers[:] = handlers
    found.setLevel(level)


def test_a_record_goes_once_to_the_handler_of_the_engine_with_its_fields(root: logging.Logger) -> None:
    root.handlers[:] = [engine := EngineHandler()]
    configure_in_engine("INFO", "text", "flink-speed")
    logging.getLogger("ridelog.projections").warning("shard reset", extra={"shard": 3})
    (line,) = engine.lines
    assert line.endswith("WARNING flink-speed: shard reset shard=3")


def test_a_process_whose_engine_has_set_no_handler_logs_nothing_and_goes_on(root: logging.Logger) -> None:
    root.handlers.clear()
    configure_in_engine("INFO", "json", "flink-speed")
    logging.getLogger("ridelog.projections").error("shard reset")
    assert [type(handler) for handler in root.handlers] == [logging.NullHandler]
