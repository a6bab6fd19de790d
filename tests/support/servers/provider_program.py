"""A payment provider as a process of its own: it books each Idempotency-Key once, on disk before it answers.

``python -m tests.support.servers.provider_program FOLDER PORT DELAY_S`` runs it until it is killed; it answers DELAY_S
after its record. ``ledger.jsonl`` in FOLDER has one line a booked key, with the body as it came; a line that a kill cut
off was never answered, and is dropped.
``requests.jsonl`` has one line a request, so that a test can count them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infrastructure.payments.webhook import signature
from infrastructure.settings.payment_provider import secret_bytes
from tests.support.servers.fake_provider import MAX_CLOCK_DIFFERENCE_S, SECRET


def whole_lines(file: Path) -> list[str]:
    """The lines that end in a newline; what follows was cut off."""
    if not file.exists():
        return []
    return [line.decode() for line in file.read_bytes().split(b"\n")[:-1]]


class DurableLedger:
    """What is booked. ``book`` returns only after the line is on disk."""

    def __init__(self, folder: Path) -> None:
        ledger = folder / "ledger.jsonl"
        lines = whole_lines(ledger)
        self._booked = {json.loads(line)["key"]: json.loads(line)["body"] for line in lines}
        # A torn last line would join the next one.
        ledger.write_bytes(b"".join(line.encode() + b"\n" for line in lines))
        self._file = ledger.open("ab", buffering=0)
        self._requests = (folder / "requests.jsonl").open("ab", buffering=0)
        self._lock = threading.Lock()

    def book(self, key: str, body: str) -> int:
        """The status of the answer: 200 for a new key, 409 for a known one, 422 if it came with another body."""
        with self._lock:
            self._requests.write(json.dumps({"key": key}).encode() + b"\n")
            before = self._booked.get(key)
            if before is not None:
                return 409 if before == body else 422
            self._file.write(json.dumps({"key": key, "body": body}).encode() + b"\n")
            os.fdatasync(self._file.fileno())
            self._booked[key] = body
            return 200


class _LedgerHandler(BaseHTTPRequestHandler):
    ledger: DurableLedger
    delay_s: float
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        key, sent_s = self.headers["idempotency-key"], int(self.headers["webhook-timestamp"])
        signed = signature(secret_bytes(SECRET), self.headers["webhook-id"], sent_s, raw)
        is_genuine = self.headers["webhook-signature"] == signed and abs(time.time() - sent_s) <= MAX_CLOCK_DIFFERENCE_S
        status = self.ledger.book(key, raw.decode()) if is_genuine else 401
        time.sleep(self.delay_s)
        self.send_response(status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_args: Any) -> None:
        """Says nothing."""


def main() -> None:
    """Serve until the process is killed."""
    ledger = DurableLedger(Path(sys.argv[1]))
    handler = type("Handler", (_LedgerHandler,), {"ledger": ledger, "delay_s": float(sys.argv[3])})
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()


if __name__ == "__main__":
    main()
