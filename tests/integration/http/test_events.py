"""``GET /events`` over real HTTP on a log in Postgres: gapless pages, streams that resume, and their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy import event as sqlalchemy_event

from infrastructure.event_store.event_pages import EventPages, EventSelection
from infrastructure.event_store.log_cursor import LogCursor
from infrastructure.http.sessions import COOKIE, Sessions
from tests.support.http.event_stream import Message, event_stream
from tests.support.ports_in_memory.http_sessions import MemorySessions
from tests.support.servers.http_server import running_server
from tests.support.waiting import eventually
from tests.support.worlds.recorded_events import EventsApplication, PingLog

RIDERS = ("anna", "ben", "anna", "chloë 🚲", "anna")


@pytest.fixture
def log(engine: Engine) -> PingLog:
    """A log with the pings of RIDERS at the positions 1 to 5."""
    log = PingLog(engine)
    log.ping(*RIDERS)
    return log


@contextmanager
def serving(engine: Engine, **options: Any) -> Iterator[tuple[str, EventsApplication]]:
    one = EventsApplication(engine, **options)
    one.tail.start()
    try:
        with running_server(one.application, on_stopping=one.streams.stop) as (url, _):
            yield f"{url}/events", one
    finally:
        one.tail.stop()


def get(url: str, **query: Any) -> httpx.Response:
    return httpx.get(url, params=query, trust_env=False)


def positions(page: dict[str, Any]) -> list[int]:
    return [item["position"] for item in page["items"]]


def ids(messages: list[Message]) -> list[int]:
    return [message.data["position"] for message in messages if message.kind == "message" and message.data]


def place(message: Message) -> int:
    """The position in the message's id."""
    return int(message.last_id.partition("-")[0])


@pytest.mark.usefixtures("log")
def test_pages_follow_each_other_without_a_gap_and_each_event_has_its_record(engine: Engine) -> None:
    with serving(engine) as (url, _):
        after, seen = 0, []
        while True:
            page = get(url, after=after, limit=2).json()
            seen += page["items"]
            after = page["next"]
            if after == page["head"]:
                break
    assert [item["position"] for item in seen] == [1, 2, 3, 4, 5]
    assert [item["key"] for item in seen] == list(RIDERS)
    assert [item["payload"]["rider_id"] for item in seen] == list(RIDERS)
    assert {item["type"] for item in seen} == {"GpsPing"}
    assert [item["version"] for item in seen if item["key"] == "anna"] == [1, 2, 3]


@pytest.mark.usefixtures("log")
def test_a_filter_leaves_out_events_and_next_passes_them(engine: Engine) -> None:
    with serving(engine) as (url, _):
        of_anna = get(url, key="anna", limit=2).json()
        rest = get(url, key="anna", after=of_anna["next"]).json()
        orders = get(url, stream="Delivery").json()
        typed = get(url, type="GpsPing", after=3).json()
        unknown = get(url, key="nul\0").json()
    assert (positions(of_anna), of_anna["next"]) == ([1, 3], 3)
    assert (positions(rest), rest["next"]) == ([5], 5)
    assert (positions(orders), orders["next"]) == ([], 5)
    assert positions(typed) == [4, 5]
    assert (positions(unknown), unknown["next"]) == ([], 5)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"after": 6}, 400, "unknown_position"),
        ({"after": -1}, 400, "unknown_position"),
        ({"after": 10**30}, 400, "unknown_position"),
        ({"after": "x"}, 400, "invalid_request"),
        ({"stream": "rider"}, 400, "invalid_request"),
        ({"type": "Ping"}, 400, "invalid_request"),
        ({"limit": 0}, 400, "invalid_limit"),
        ({"log_id": "another"}, 409, "other_log"),
    ],
)
def test_what_cannot_be_answered_is_refused(engine: Engine, query: dict[str, Any], status: int, code: str) -> None:
    with serving(engine) as (url, _):
        for accept in ("application/json", "text/event-stream"):
            answer = httpx.get(url, params=query, headers={"Accept": accept}, trust_env=False)
            assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_events_that_were_detached_are_an_error_and_no_gap(engine: Engine, log: PingLog) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE position <= 2"))
    with serving(engine) as (url, _):
        assert get(url, after=0).json()["code"] == "log_begins_later"
        assert positions(get(url, after=2).json()) == [3, 4, 5]


def test_an_event_that_cannot_be_decoded_stops_no_reader(engine: Engine, log: PingLog) -> None:
    log.ping("anna", payload=b"\x00broken")
    log.ping("ben")
    with serving(engine) as (url, _):
        items = get(url, after=5).json()["items"]
    assert [(item["position"], item["payload"] is None, item["problem"] is None) for item in items] == [
        (6, True, False),
        (7, False, True),
    ]


def test_a_stream_has_what_was_recorded_and_then_what_is_recorded(engine: Engine, log: PingLog) -> None:
    with serving(engine) as (url, _), event_stream(f"{url}?after=2") as stream:
        first = stream.take(4)
        assert (first[0].kind, first[0].data["head"]) == ("log", 5)
        assert ids(first) == [3, 4, 5]
        log.ping("ben", "anna")
        later = stream.take(2)
    assert ids(later) == [6, 7]
    assert [place(message) for message in later] == [6, 7]


def test_a_stream_resumes_after_the_last_event_that_its_client_has(engine: Engine, log: PingLog) -> None:
    with serving(engine) as (url, _):
        with event_stream(f"{url}?after=0") as stream:
            last = stream.take(3)[-1].last_id
        log.ping("ben")
        with event_stream(f"{url}?after=0", Last_Event_ID=last) as stream:
            again = stream.take(5)
    assert last.startswith("2-")
    assert ids(again) == [3, 4, 5, 6]


@pytest.mark.usefixtures("log")
def test_an_unreadable_id_of_a_resume_is_named_as_the_header_and_an_empty_one_is_none(engine: Engine) -> None:
    accept = {"Accept": "text/event-stream"}
    with serving(engine) as (url, _):
        refused = httpx.get(f"{url}?after=0", headers={**accept, "Last-Event-ID": "5-5"}, trust_env=False)
        with event_stream(f"{url}?after=3", Last_Event_ID="") as stream:
            begun = stream.take(2)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert refused.json()["detail"] == "Last-Event-ID is an integer, not '5-5'"
    assert ids(begun) == [4]


def test_streams_with_different_filters_share_one_reader(engine: Engine, log: PingLog) -> None:
    with (
        serving(engine) as (url, _),
        event_stream(f"{url}?after=head&key=anna") as annas,
        event_stream(f"{url}?after=head&key=ben") as bens,
    ):
        assert [stream.take(1)[0].kind for stream in (annas, bens)] == ["log", "log"]
        for _ in range(20):
            log.ping("anna", "ben", "anna")
        assert ids(annas.take(40)) == [6 + 3 * turn + step for turn in range(20) for step in (0, 2)]
        assert ids(bens.take(20)) == [7 + 3 * turn for turn in range(20)]


def test_a_silent_stream_gets_comments_and_the_position_that_it_has_passed(engine: Engine, log: PingLog) -> None:
    with serving(engine, heartbeat_s=0.05) as (url, _), event_stream(f"{url}?after=head&key=nobody") as stream:
        stream.take(1)
        log.ping("anna")
        passed = eventually(
            lambda: next((m for m in stream.take(1) if place(m) == 6), None), what="the position is passed"
        )
    assert passed is not None
    assert passed.comment


@pytest.mark.usefixtures("log")
def test_more_streams_than_the_bound_get_503_and_a_place_is_free_again_when_one_leaves(engine: Engine) -> None:
    with serving(engine, max_streams=2) as (url, one):
        with ExitStack() as stack:
            # Kept, because a client that is collected closes its connection.
            kept = [stack.enter_context(event_stream(url)) for _ in range(2)]
            assert [stream.take(1)[0].kind for stream in kept] == ["log", "log"]
            refused = httpx.get(url, headers={"Accept": "text/event-stream"}, trust_env=False)
            assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
            assert get(url).status_code == 200
        eventually(lambda: one.streams.open == 0, what="both places are free")
        with event_stream(url) as stream:
            assert ids(stream.take(6)) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("log")
def test_streams_end_when_the_server_stops(engine: Engine) -> None:
    one = EventsApplication(engine)
    one.tail.start()
    with (
        running_server(one.application, on_stopping=one.streams.stop) as (url, server),
        event_stream(f"{url}/events?after=head") as stream,
    ):
        assert stream.take(1)[0].kind == "log"
        server.should_exit = True
        assert list(stream.messages()) == []
    one.tail.stop()
    assert one.streams.open == 0


def test_a_log_that_was_restored_to_an_older_state_ends_the_stream(engine: Engine, log: PingLog) -> None:
    with serving(engine) as (url, _), event_stream(f"{url}?after=0") as stream:
        stream.take(6)
        log.ping("ben")
        assert ids(stream.take(1)) == [6]
        log.restore(5)
        (end,) = list(stream.messages())
    assert (end.kind, end.data["code"]) == ("end", "log_replaced")


def test_a_client_that_read_what_a_restore_lost_does_not_resume_after_it(engine: Engine, log: PingLog) -> None:
    log.ping("anna", "ben", "anna")
    with serving(engine) as (url, _):
        with event_stream(f"{url}?after=6") as stream:
            read = stream.take(3)
        page = get(url, after=0, limit=7).json()
        # The same fixes are sent again, in another order, and more: each has the id that it had.
        log.restore(5)
        log.ping("ben", "anna", "anna", "ben", "ben")
        last = read[-1].last_id
        for _ in range(2):
            with event_stream(f"{url}?after=0", Last_Event_ID=last) as stream:
                (end,) = list(stream.messages())
            assert (end.kind, end.data["code"]) == ("end", "log_replaced")
            last = end.last_id
        refused = get(url, after=page["cursor"])
        unverified = get(url, after=page["next"])
        kept = get(url, after=read[0].last_id.replace("6-", "5-"))
        cursor = get(url, after=0, limit=5).json()["cursor"]
        with event_stream(url, Last_Event_ID=cursor) as stream:
            assert ids(stream.take(6)) == [6, 7, 8, 9, 10]
        assert positions(get(url, after=cursor).json()) == [6, 7, 8, 9, 10]
    assert (page["next"], page["cursor"].partition("-")[0]) == (7, "7")
    assert (refused.status_code, refused.json()["code"]) == (409, "log_replaced")
    assert (kept.status_code, kept.json()["code"]) == (409, "log_replaced"), "the mark is of another position"
    assert positions(unverified.json()) == [8, 9, 10]


def test_a_resume_beyond_the_head_of_a_restored_log_is_an_end_and_no_refusal(engine: Engine, log: PingLog) -> None:
    with serving(engine) as (url, _):
        cursor = get(url, after=0).json()["cursor"]
        log.restore(3)
        with event_stream(url, Last_Event_ID=cursor) as stream:
            (end,) = list(stream.messages())
    assert (end.kind, end.data["code"]) == ("end", "log_replaced")
    assert end.last_id == "5-restored"


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_rare_type_of_a_long_key_is_read_in_pages_of_bounded_work(engine: Engine, log: PingLog, limit: int) -> None:
    for _ in range(6):
        log.ping("anna", "ben", "anna", "anna")
    log.ping("anna", event_type="AlertReviewed")
    log.ping("anna", "ben", "anna")
    log.ping("anna", event_type="AlertReviewed")
    pages = EventPages(engine, max_scanned_versions=4)
    statements: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    selection = EventSelection(key="anna", event_type="AlertReviewed")
    page, seen, counts = pages.start(LogCursor(0)), [], []
    while page.upto.position < page.head:
        before = len(statements)
        page = pages.page(selection, page.upto, limit)
        counts.append(len(statements) - before)
        seen += [one.position for one in page.events]
    assert seen == [30, 34]
    assert len(counts) >= 6, "a page passes four of the 25 versions"
    assert max(counts) <= 20


def test_a_stream_of_a_session_ends_with_it_and_one_of_a_token_does_not(engine: Engine, log: PingLog) -> None:
    sessions = Sessions(MemorySessions())
    secret = "reader-secret-1234"
    with (
        serving(engine, tokens=f"read={secret}", sessions=sessions, heartbeat_s=0.05) as (url, _),
        httpx.Client(base_url=url.removesuffix("/events"), trust_env=False) as page,
    ):
        bearer = {"Authorization": f"Bearer {secret}"}
        page.post("/session", headers=bearer)
        cookie = f"{COOKIE}={page.cookies[COOKIE]}"
        with event_stream(f"{url}?after=head", Cookie=cookie) as tab, event_stream(url, **bearer) as program:
            assert tab.take(3)[0].kind == "log", "checks pass while the session lasts"
            assert page.delete("/session", headers={"X-Ridelog": "1", "Origin": str(page.base_url)}).status_code == 204
            assert {message.kind for message in tab.messages()} <= {"message"}, "it ends"
            program.take(6)
            log.ping("ben")
            while not (got := ids(program.take(1))):
                pass
            assert got == [6]
        again = httpx.get(url, headers={"Accept": "text/event-stream", "Cookie": cookie}, trust_env=False)
    assert again.status_code == 401


def test_head_of_a_stream_leaves_no_stream_open(engine: Engine, log: PingLog) -> None:
    with serving(engine) as (url, one):
        answer = httpx.head(url, headers={"Accept": "text/event-stream"}, trust_env=False)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")
        eventually(lambda: one.streams.open == 0, what="the place is free")


def test_events_need_the_role_read(engine: Engine, log: PingLog) -> None:
    with serving(engine, tokens="read=out,ingest=in") as (url, _):
        statuses = [
            httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code
            for token in ("out", "in", "other")
        ]
    assert statuses == [200, 403, 401]
