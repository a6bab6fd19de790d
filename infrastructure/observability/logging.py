"""Structured logs: one line per record, as JSON or as text, with the fields that a call adds by ``extra``."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from infrastructure.observability.visible_text import visible, visible_lines
from infrastructure.settings.redaction import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _instant(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return visible(redact(json.dumps(line, default=str, ensure_ascii=False)))


class TextFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        text = f"{_instant(record)} {record.levelname:7} {self._process}: {record.getMessage()} {fields}".rstrip()
        # Text from a client or a server must not start a line of its own, nor control the terminal that shows the log.
        text = visible(redact(text))
        return f"{text}\n{visible_lines(redact(self.formatException(record.exc_info)))}" if record.exc_info else text


def _formatter(form: str, process: str) -> logging.Formatter:
    return JsonFormatter(process) if form == "json" else TextFormatter(process)


def configure(level: str, form: str, process: str) -> None:
    """Send all logs of this process to standard error, which the supervisor redirects to a file."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(form, process))
    logging.getLogger().handlers[:] = [handler]
    _set_levels(level)


def configure_in_engine(level: str, form: str, process: str) -> None:
    """Send all logs of this process to the handlers that its engine has set, as in a Python worker of Flink.

    PyFlink makes a log record of each text that is written to standard error. A handler that writes there would call
    itself until Python's recursion limit: Beam's answer to the bundle fails too then, and Flink waits for it without
    end.
    """
    # Without any handler, the one of last resort would write to standard error.
    handlers = logging.getLogger().handlers or [logging.NullHandler()]
    for handler in handlers:
        handler.setFormatter(_formatter(form, process))
    logging.getLogger().handlers[:] = handlers
    _set_levels(level)


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(level)
    # At INFO these log each single request or connection.
    for noisy in ("httpx", "httpcore", "kafka", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")
    # At WARNING it logs that a consumer without a group commits no offsets, which is intended.
    logging.getLogger("kafka.coordinator.consumer").setLevel("ERROR")
