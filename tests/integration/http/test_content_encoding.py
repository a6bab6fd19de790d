"""Bodies with a Content-Encoding, over real HTTP: after a 400 a log shipper or a phone drops its batch."""

from __future__ import annotations

import gzip
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import httpx
import pytest

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.http.content_coding import MAX_GZIP_MEMBERS
from infrastructure.settings.settings import Settings
from tests.support.servers.http_server import served

LIMIT = 8 * 1024 * 1024
PINGS = [
    {"rider_id": f"r{n}", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1_700_000_000_000 + n}
    for n in range(200)
]
PLAIN = json.dumps(PINGS).encode()


async def submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
    return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def nothing() -> None:
    """No gauge needs a refresh."""


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    absent = cast("Any", None)  # no test here reads a speed
    application = build(Settings(), ApiParts(submit, absent, absent, lambda: None, lambda _read: None, {}, nothing))
    with served(application) as url, httpx.Client(base_url=url, trust_env=False, timeout=30.0) as client:
        yield client


def raw_deflate(data: bytes) -> bytes:
    """Deflate as some senders understand it: without the header of zlib."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def post(http: httpx.Client, body: bytes | Iterator[bytes], *encodings: str) -> httpx.Response:
    return http.post("/pings", content=body, headers=[("content-encoding", encoding) for encoding in encodings])


def in_parts(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
        ("identity, gzip", gzip.compress),
    ],
)
def test_regression_an_encoded_body_is_decoded(
    http: httpx.Client, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """The answer was 400 malformed_json."""
    for body in (pack(PLAIN), in_parts(pack(PLAIN), 1), in_parts(pack(PLAIN), 999)):
        answer = post(http, body, encoding)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 200), answer.text


def test_gzip_of_several_members_is_decoded(http: httpx.Client) -> None:
    """``cat`` of several files gives such a body, and some writers make a member of each flush."""
    half = len(PLAIN) // 2
    body = gzip.compress(PLAIN[:half]) + gzip.compress(b"") + gzip.compress(PLAIN[half:])
    for sent in (body, in_parts(body, 7)):
        assert post(http, sent, "gzip").json()["accepted"] == 200


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_invariant_15_the_bound_is_on_the_inflated_size(http: httpx.Client, pack: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if pack is gzip.compress else "deflate"
    exactly = PLAIN + b" " * (LIMIT - len(PLAIN))
    assert post(http, pack(exactly), encoding).status_code == 200
    for body in (exactly + b" ", b" " * (100 * 1024 * 1024)):
        packed = pack(body)
        assert len(packed) < LIMIT
        began = time.monotonic()
        answer = post(http, packed, encoding)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert time.monotonic() - began < 5.0


def test_a_compressed_body_above_the_bound_is_rejected_too(http: httpx.Client) -> None:
    assert post(http, gzip.compress(os.urandom(LIMIT)), "gzip").status_code == 413


WHOLE = gzip.compress(PLAIN)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", PLAIN),
        ("gzip", b""),
        ("gzip", WHOLE[:1]),
        ("gzip", WHOLE[:-1]),
        ("gzip", WHOLE[:-20]),
        ("gzip", WHOLE[:200] + b"\xff\xff\xff" + WHOLE[203:]),
        ("gzip", WHOLE[:-8] + bytes(4) + WHOLE[-4:]),  # another checksum
        ("gzip", WHOLE + b"[]"),
        ("deflate", PLAIN),
        ("deflate", b""),
        ("deflate", b"x"),
        ("deflate", WHOLE),
        ("deflate", zlib.compress(PLAIN)[:-1]),
        ("deflate", zlib.compress(PLAIN) + zlib.compress(PLAIN)),
        ("deflate", raw_deflate(PLAIN)[:-1]),
    ],
)
def test_a_damaged_body_is_400_and_says_so(http: httpx.Client, encoding: str, body: bytes) -> None:
    answer = post(http, body, encoding)
    assert (answer.status_code, answer.json()["code"]) == (400, "damaged_content_encoding"), answer.text
    assert f"not the {encoding} that Content-Encoding says" in answer.json()["detail"]
    assert http.get("/health/live").status_code == 200


def test_invariant_15_members_without_content_are_bounded(http: httpx.Client) -> None:
    empty = gzip.compress(b"")
    body = empty * (MAX_GZIP_MEMBERS - 1)
    assert post(http, body + gzip.compress(PLAIN), "gzip").status_code == 200
    began = time.monotonic()
    answer = post(http, empty * (LIMIT // len(empty)), "gzip")
    assert (answer.status_code, answer.json()["code"]) == (400, "damaged_content_encoding")
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    "encodings", [("br",), ("zstd",), ("compress",), ("gzip, gzip",), ("gzip", "gzip"), ("gzip, br",), ("gzip;q=1",)]
)
def test_an_unsupported_coding_is_415_and_names_the_supported_ones(
    http: httpx.Client, encodings: tuple[str, ...]
) -> None:
    answer = post(http, PLAIN, *encodings)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"
