"""A call to the provider ends at its limit, however slowly the provider answers. Over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from typing import Final

import pytest

from infrastructure.payments.handing_over import BOOKED_AFTER_S
from infrastructure.payments.provider import AnswerKind, Payment, ProviderAnswer
from infrastructure.payments.webhook import CALL_TIMEOUT_S, WebhookProvider
from tests.support.servers.fake_provider import SECRET
from tests.support.servers.loopback_http import LoopbackServer, QuietHandler

DRIP_S: Final = 0.05
LIMIT_S: Final = 1.0
"""Of a call in these tests. Each byte comes far sooner, so that no limit of one read ends it."""
PAYMENT: Final = Payment("e", "p", "adjustment", "anna", "o", "to_customer", "EUR", 120, "2026-W48", 1_000, 7)


class Drip(QuietHandler):
    """Sends ``head`` at once and then ``rest`` again and again, slowly, until the client hangs up."""

    head: bytes
    rest: bytes
    hung_up: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(self.head)
        try:
            while not self.hung_up.wait(DRIP_S):
                self.wfile.write(self.rest)
        except OSError:
            self.hung_up.set()


@contextmanager
def dripping(head: bytes, rest: bytes) -> Iterator[tuple[str, threading.Event]]:
    """The address of such a provider, and the event of its client's hang-up."""
    hung_up = threading.Event()
    handler: type[BaseHTTPRequestHandler] = type("OneDrip", (Drip,), {"head": head, "rest": rest, "hung_up": hung_up})
    with LoopbackServer(handler, "dripping") as server:
        try:
            yield server.origin, hung_up
        finally:
            hung_up.set()


def handed_over(url: str) -> ProviderAnswer:
    with closing(WebhookProvider(url, SECRET, lambda: 1_000.0, call_timeout_s=LIMIT_S)) as provider:
        return provider.hand_over(PAYMENT)


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["a status line", "a header", "headers", "interim answers"],
)
def test_regression_a_call_without_an_answer_ends_at_its_limit(head: bytes, rest: bytes) -> None:
    """Only each read was bounded: this call never returned, and held up its rider and the end of the process."""
    with dripping(head, rest) as (url, hung_up):
        answer = handed_over(url)
        # The provider sees that no one waits for its answer.
        assert hung_up.wait(30.0)
    # h11 may reject such bytes before the limit: both mean that the payment is handed over again, with the same key.
    assert (answer.kind, answer.status) == (AnswerKind.RETRY, 0)
    assert answer.reason.startswith("no answer: ")


def test_a_body_that_never_ends_changes_nothing_of_a_clear_status() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nab", b"") as (url, hung_up):
        answer = handed_over(url)
        assert (answer.kind, answer.status, answer.digest) == (AnswerKind.DONE, 200, sha256(b"ab").hexdigest())
        hung_up.set()


@pytest.mark.parametrize(
    ("status", "kind"), [("200 OK", AnswerKind.DONE), ("422 No", AnswerKind.REFUSED), ("503 Busy", AnswerKind.RETRY)]
)
@pytest.mark.parametrize(
    "rest",
    [b"Content-Length: 100\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nno length\r\n"],
    ids=["too short", "no chunk"],
)
def test_regression_a_broken_body_changes_nothing_of_a_clear_status(status: str, kind: AnswerKind, rest: bytes) -> None:
    """Each such answer counted as none: what a provider had refused was sent again for ever, and held by no person."""

    class Broken(QuietHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(f"HTTP/1.1 {status}\r\n".encode() + rest)
            self.close_connection = True

    with LoopbackServer(Broken, "broken") as server:
        answer = handed_over(server.origin)
    assert (answer.kind, answer.status) == (kind, int(status[:3]))


def test_a_body_that_drips_ends_at_the_limit_too() -> None:
    with dripping(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n", b"a") as (url, hung_up):
        answer = handed_over(url)
        assert hung_up.wait(30.0)
    assert (answer.kind, answer.status, answer.retry_after_s) == (AnswerKind.RETRY, 503, 7.0)


def test_a_slow_call_holds_up_no_other_one() -> None:
    """Riders are handed over at the same time, over one provider."""

    class Answering(QuietHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Idempotency-Key"] == "slow":
                other_is_done.wait(60.0)
            self.send_response(204)
            self.end_headers()

    other_is_done = threading.Event()
    answers: dict[str, ProviderAnswer] = {}

    def hand_over(entry_id: str) -> Callable[[], None]:
        return lambda: answers.update({entry_id: provider.hand_over(PAYMENT._replace(entry_id=entry_id))})

    with (
        LoopbackServer(Answering, "answering") as server,
        closing(WebhookProvider(server.origin, SECRET, lambda: 1_000.0, call_timeout_s=60.0)) as provider,
    ):
        slow = threading.Thread(target=hand_over("slow"))
        slow.start()
        hand_over("other")()
        assert set(answers) == {"other"}
        other_is_done.set()
        slow.join()
    assert {answer.kind for answer in answers.values()} == {AnswerKind.DONE}


def test_a_conflict_counts_as_booked_only_after_every_earlier_call_has_ended() -> None:
    assert CALL_TIMEOUT_S < BOOKED_AFTER_S
