"""A large body of ``POST /pings`` costs the event loop little, whatever it contains; invalid JSON is a 400."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import pytest

from infrastructure.http.errors import ApiError
from infrastructure.http.ping_body import MAX_PING_BYTES, SMALL_BODY_BYTES, large_items, small_items
from tests.unit.http.test_request_body import LIMIT, PING, PingsEndpoint

KEYS = b"{" + b",".join(b'"%06x":1' % number for number in range(690_000)) + b',"n":NaN}'
NAN_PING = PING.replace(b"52.5", b"NaN")


def posted(body: bytes) -> tuple[int, dict[str, Any], float, float]:
    """Status, answer, CPU seconds of the event loop's thread, and their share of the CPU seconds of the process."""

    async def run() -> tuple[int, dict[str, Any], float, float]:
        endpoint = PingsEndpoint()
        began, began_in_all = time.thread_time(), time.process_time()
        status, answer, _ = await endpoint.post(body)
        busy_s = time.thread_time() - began
        return status, answer, busy_s, busy_s / (time.process_time() - began_in_all)

    # A garbage collection for other tests would count for the thread in which it happens.
    gc.disable()
    try:
        return asyncio.run(run())
    finally:
        gc.enable()


def test_regression_many_keys_and_one_nan_do_not_stop_the_event_loop() -> None:
    assert len(KEYS) < LIMIT
    status, answer, busy_s, _ = posted(KEYS)
    assert (status, answer["code"]) == (400, "malformed_json")
    began = time.thread_time()
    json.loads(KEYS)
    assert busy_s < (time.thread_time() - began) / 2  # more than the whole of it, when it was decoded on the loop


def test_a_large_body_of_pings_is_decoded_outside_the_event_loop() -> None:
    status, answer, _, share = posted(b"[" + b",".join([PING] * 9_999 + [NAN_PING]) + b"]")
    assert (status, answer["accepted"], len(answer["rejected"])) == (200, 9_999, 1)
    assert (answer["rejected"][0]["index"], answer["rejected"][0]["code"]) == (9_999, "invalid_coordinates")
    assert share < 0.5


def test_only_the_ping_of_too_many_bytes_is_rejected() -> None:
    fat = PING[:-1] + b', "more": "' + b"x" * MAX_PING_BYTES + b'"}'
    status, answer, *_ = posted(b"[" + b",".join([fat] * 4 + [PING]) + b"]")
    assert (status, answer["accepted"]) == (200, 1)
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(n, "invalid_type") for n in range(4)]
    status, answer, *_ = posted(b" " * SMALL_BODY_BYTES + NAN_PING)
    assert (status, [one["code"] for one in answer["rejected"]]) == (200, ["invalid_coordinates"])
    # As the only one of the request it is also one rejected item.
    alone = PING[:-1] + b', "more": "' + b"x" * SMALL_BODY_BYTES + b'"}'
    status, answer, *_ = posted(alone)
    assert (status, [one["code"] for one in answer["rejected"]]) == (200, ["invalid_type"])


ITEMS: tuple[bytes, ...] = (
    PING,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"12",
    b"9" * 600,
    b"9" * 5_000,
    b'"a \\" , ] string"',
    b'"\\ud800"',
    b"[1, [2], {}]",
    b'{"a": 1, "a": 2}',
    b"null",
    b"true",
    b'{"long": "' + b"y" * 3_000 + b'"}',
)


def outcome(body: bytes, max_items: int, *, large: bool) -> Any:
    try:
        found = (large_items if large else small_items)(body, max_items)
    except ApiError as error:
        return error.status, error.code
    return repr(found)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b" , ".join(ITEMS) + b"]",
        b" [\n" + b",".join(one for one in ITEMS if b"N" not in one and b"I" not in one) + b"\t]\r\n",
        *(b"[" + one + b"]" for one in ITEMS),
        b"[NaN,]",
        b"[,NaN]",
        b"[NaN 1]",
        b"[NaN",
        b"[NaN] x",
        b"[NaN]]",
        b"[[[NaN]",
        b"[]",
        b" [ ] ",
        b"",
        b"  ",
        b"nonsense",
        b"12",
        b'"text"',
        b"[1,2,3]" * 2,
        b"[" * 100_000 + b"]" * 100_000,
        b"[NaN, " + b"[" * 5_000 + b"]" * 5_000 + b"]",
        b'["\xff"]',
        b'[NaN, "\xff"]',
        b"\xef\xbb\xbf[1]",
        "[1, NaN]".encode("utf-16"),
        b"[" + b",".join([b"1"] * 50) + b"]",
        b"[NaN," + b",".join([b"1"] * 50) + b"]",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_large_body_is_decoded_like_a_small_one(body: bytes) -> None:
    assert outcome(body, 20, large=True) == outcome(body, 20, large=False)


def test_a_number_that_the_window_cuts_is_decoded_completely() -> None:
    for digits in (1_022, 1_023, 1_024, 1_025, 2_000):
        body = b"[NaN," + b"1" * digits + b"]"
        assert outcome(body, 20, large=True) == outcome(body, 20, large=False)
        exponents = b"[NaN,0." + b"1" * digits + b"e1]"
        assert outcome(exponents, 20, large=True) == outcome(exponents, 20, large=False)


def test_an_item_above_the_bound_in_an_array_with_nan_is_rejected_as_malformed() -> None:
    body = b"[NaN, " + json.dumps("z" * (MAX_PING_BYTES + 1)).encode() + b"]"
    assert outcome(body, 20, large=True) == (400, "malformed_json")
