"""A fake of a Flink cluster's REST interface, in a thread of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeFlink:
    """Answers GET by path; POST and PATCH are recorded, and PATCH cancels a job at once."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.sent: list[tuple[str, str, Any]] = []
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(cluster.answers.get(self.path.partition("?")[0]))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                cluster.sent.append(("POST", self.path, body))
                self._answer({"request-id": "r1"})

            def do_PATCH(self) -> None:
                cluster.sent.append(("PATCH", self.path, None))
                cluster.cancel(self.path.partition("?")[0].removeprefix("/jobs/"))
                self._answer({})

            def log_message(self, *arguments: object) -> None:
                """No line on standard error."""

            def _answer(self, found: Any) -> None:
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(b"" if found is None else json.dumps(found).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def cancel(self, job_id: str) -> None:
        """List the job as one that was cancelled."""
        jobs = self.answers.get("/jobs/overview", {}).get("jobs", ())
        for job in jobs:
            if job["jid"] == job_id:
                job["state"] = "CANCELED"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def fake_flink() -> Iterator[FakeFlink]:
    """The fake, answering until the end of the context."""
    one = FakeFlink()
    threading.Thread(target=one.server.serve_forever, daemon=True).start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()


def listed_job(job_id: str, name: str, state: str, started_ms: int) -> dict[str, Any]:
    """A job as ``/jobs/overview`` lists it."""
    return {"jid": job_id, "name": name, "state": state, "start-time": started_ms, "tasks": {}}
