"""A fake of one of ridelog's programs, run by path: ``fake_server.py NAME [PORT]``.

With a port it answers every GET with 200, as the API does on ``/health/live``. SIGTERM ends it.
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class AlwaysOkHandler(BaseHTTPRequestHandler):
    """Answers every GET with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def main(argv: list[str]) -> None:
    """Run until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if len(argv) > 1:
        HTTPServer(("127.0.0.1", int(argv[1])), AlwaysOkHandler).serve_forever()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
