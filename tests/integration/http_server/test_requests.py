"""Requests as clients of other languages, proxies and attackers send them: the server answers each correctly."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.http.recording_api import RecordingApi, next_answer
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import CASES, H2C, LIVE, PING, TE, TLS, WEBSOCKET, WireCase, chunked, head, post
from tests.support.servers.http_server import served
from tests.support.time_limits import scaled_s

API = RecordingApi()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(API.application()) as one:
        yield one


@pytest.fixture
def api() -> RecordingApi:
    """The API behind ``url``, with nothing recorded."""
    API.recorded.clear()
    return API


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_request_gets_a_correct_answer(url: str, case: WireCase) -> None:
    with Wire(url) as wire:
        wire.send(*case.segments)
        for right in case.right:
            answer = next_answer(wire, expects_100=100 in right)
            assert answer.status in right, answer
            if answer.status >= 400:
                assert b'"code"' in answer.body, "an error has the common form"
        if case.stays:
            after = wire.send(LIVE).answer()
            assert after is not None
            assert (after.status, after.body) == (200, b'{"status":"live"}')
        elif case.stays is not None:
            assert wire.answer() is None


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, TLS], ids=["h2c", "websocket", "tls"])
def test_regression_a_post_that_offers_an_upgrade_is_recorded(url: str, api: RecordingApi, offer: bytes) -> None:
    """Java's HttpClient offers h2c on each POST. Its body was lost, or, if it arrived later, read as a request."""
    with Wire(url) as wire:
        for segments in ((post(offer),), (head(offer, len(PING)), PING), (head(offer + TE), chunked(PING))):
            answer = wire.send(*segments).answer()
            assert answer is not None
            assert b'"accepted":1' in answer.body
    assert len(api.recorded) == 3


def test_a_trailer_changes_no_header_of_a_request_in_progress(url: str) -> None:
    with Wire(url) as wire:
        trailer = b"Content-Encoding: br\r\nAuthorization: Bearer x\r\n"
        answer = wire.send(head(TE), chunked(PING, trailer)).answer()
    assert answer is not None
    assert answer.status == 200


def test_an_error_is_answered_after_all_earlier_requests(url: str) -> None:
    with Wire(url) as wire:
        found = wire.send(post() + LIVE + b"\x00\r\n\r\n").answers()
    assert [answer.status for answer in found] == [200, 200, 400]
    assert b'"accepted":1' in found[0].body


def test_an_error_within_a_body_is_the_answer_to_its_request(url: str, api: RecordingApi) -> None:
    """Otherwise the handler would wait 30 s for the rest of the body."""
    began = time.monotonic()
    with Wire(url) as wire:
        found = wire.send(head(TE), b"5\r\nabcde\r\nxyz\r\n").answers()
    assert [answer.status for answer in found] == [400]
    assert b"malformed_request" in found[0].body
    assert time.monotonic() - began < 10
    assert api.recorded == []


def test_a_client_that_sends_all_of_a_refused_body_reads_the_refusal(url: str) -> None:
    """A socket that is closed with unread data is reset, and the client loses the answer."""
    size = 20 * 1024 * 1024
    with Wire(url) as wire:
        wire.send(head(b"", size) + b" " * size)
        assert next_answer(wire).status == 413
        assert next_answer(wire.send(LIVE)).status == 200, "the body was read: the connection goes on"


def test_regression_a_header_of_69_mb_stops_no_other_request(url: str) -> None:
    """It took 38 s, in which no other request was answered. Now its sender can also read why it is rejected."""
    sender = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: ')\n"
        "try:\n"
        "    for _ in range(69 * 16): s.sendall(b'x' * 65536)\n"
        "except OSError: pass\n"
        "print(s.recv(100).split(b' ')[1].decode())\n"
    )
    other = subprocess.Popen([sys.executable, "-c", sender, url.rpartition(":")[2]], stdout=subprocess.PIPE)
    slowest = 0.0
    while other.poll() is None:
        began = time.monotonic()
        with Wire(url) as wire:
            assert next_answer(wire.send(LIVE)).status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert other.communicate()[0].strip() == b"431"
    assert slowest < scaled_s(2.0)
