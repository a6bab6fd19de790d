"""Finds the one line that says why a job on Flink failed, in a stack trace or in the output of Flink's client. Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_SHOWN_CHARS = 2_000
KAFKA_ADVICE: Final = (
    "check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CLIENT_KEY in the environment of JobManager and TaskManagers, and "
    "the files of RIDELOG_KAFKA_BOOTSTRAP at `flink submit`: docs/flink.md"
)
_PYTHON_ERROR = re.compile(r"(?!org\.|java\.|javax\.|py4j\.)[\w.]*[A-Z]\w+: ")
"""The last line of a traceback. Java's own errors in it are the causes below it."""
_PROGRAM_ENDED = "Python process exits with code"
_CAUSE = "Caused by: "
_FRAMES = ("at ", "... ")
_KAFKA_REJECTS = re.compile(
    r"kafka\S*\.(sasl|ssl)AuthenticationException|SSLHandshakeException|LoginException|JAAS config"
    r"|kafka\S*\.(InvalidConfiguration|Config)Exception: .*(PEM|private key|ssl|sasl)",
    re.IGNORECASE,
)
"""Kafka's client in Java names no setting of ours. It gets the name of a variable that is not set as its value."""
_QUOTED = re.compile(r"for key '.*' in JAAS config")
"""Of a password with a double quote that has no backslash before it, Kafka's client quotes what follows."""


def reason_of(output: str) -> str:
    """The last error of the Python program, else Java's innermost cause, else the output without Java's frames.

    A login or a certificate that Kafka's client or broker rejects comes with the settings to check.
    """
    lines = [line for text in output.splitlines() if (line := text.strip()) and not line.startswith(_FRAMES)]
    program = [line for line in lines if _PYTHON_ERROR.match(line)]
    causes = [line for line in lines if line.startswith(_CAUSE) and _PROGRAM_ENDED not in line]
    found = "\n".join(program[-1:] or causes[-1:] or lines)[-MAX_SHOWN_CHARS:].removeprefix(_CAUSE)
    found = _QUOTED.sub("in JAAS config", found)
    if not program and _KAFKA_REJECTS.search(output):
        found += f" ({KAFKA_ADVICE})"
    return found or "it gave no reason"
