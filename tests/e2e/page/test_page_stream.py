"""The live stream of the page when it stops, repeats, goes back, is broken, or is refused, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.web.browser import chromium, until
from tests.support.web.page import NO_BROWSER, ride, signed_in, url_of, wait_on_map
from tests.support.web.pictures import picture
from tests.support.web.stand_in import StandIn, message, stand_in
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

HOUR_MS = 3_600_000
COUNT_READS = """() => {
    const real = ReadableStreamDefaultReader.prototype.read;
    window.reads = 0;
    ReadableStreamDefaultReader.prototype.read = function () { window.reads += 1; return real.call(this); };
}"""
"""Counts the reads of the stream in ``window.reads``: the page begins one when it has taken what the last one gave."""
HUGE = 33_000_000
"""Characters: more than the page reads of one message."""


@pytest.fixture
def front(city: Ridelog) -> Iterator[StandIn]:
    with stand_in(url_of(city)) as one:
        yield one


def rider(name: str, position: int, latitude: float = 41.39, at_ms: int = 0) -> dict[str, Any]:
    place = {"latitude": latitude, "longitude": 2.17}
    return {"rider_id": name, "position": position, "event_timestamp_ms": at_ms, **place}


def order(name: str, position: int, status: str) -> dict[str, Any]:
    place = {"latitude": 41.39, "longitude": 2.17}
    return {"order_id": name, "position": position, "status": status, "restaurant": place, "customer": place}


def moved_to(page: Page, name: str, position: int) -> None:
    """Wait until the map has what was sent with that position, which the time of the ping says here."""
    until(page, "([id, ms]) => window.ridelogMap.riders.get(id)?.ms === ms", [name, position])


def link(page: Page) -> Any:
    return page.locator(".link-state")


def test_a_stream_that_stops_is_opened_again_and_is_not_shown_as_live(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    """Given a connection that stays open without a byte, then the page says so, and reads on another one."""
    with signed_in(chrome, city, url=front.url) as page:
        first = front.stream()
        first.send(message("snapshot", riders=[rider("stopped", 1)]))
        wait_on_map(page, "stopped")
        expect(link(page)).to_have_text("live")
        expect(link(page)).to_contain_text("no data for 20 s, connecting again; the map is of")
        picture(page, "stream-stopped")
        second = front.stream()
        assert first.left.wait(60)
        second.send(message("snapshot", riders=[rider("again", 2)]))
        wait_on_map(page, "again")
        expect(link(page)).to_have_text("live")
        assert not page.evaluate("window.ridelogMap.riders.has('stopped')"), "a snapshot replaces everything"


def test_comments_keep_a_stream_without_news_open(chrome: Browser, city: Ridelog, front: StandIn) -> None:
    """Given a city in which nothing moves, when time passes with a comment now and then, then the stream stays live."""
    with signed_in(chrome, city, url=front.url) as page:
        front.stream().end()
        page.clock.install()
        page.reload()
        stream = front.stream()
        stream.send(message("snapshot", riders=[rider("quiet", 1)]))
        wait_on_map(page, "quiet")
        page.evaluate(COUNT_READS)
        # Longer than a stream may be silent, and no message comes behind the comments.
        for number in range(6):
            page.clock.fast_forward(4_500)
            stream.send(b": \n\n")
            until(page, "count => window.reads === count", number + 1)
        expect(link(page)).to_have_text("live")
        assert not stream.left.is_set()


def test_a_stream_that_repeats_or_goes_back_moves_nothing_back(chrome: Browser, city: Ridelog, front: StandIn) -> None:
    with signed_in(chrome, city, url=front.url) as page:
        stream = front.stream()
        stream.send(message("snapshot", riders=[rider("back", 10, at_ms=10)], orders=[order("o", 10, "placed")]))
        stream.send(message("changes", riders=[rider("back", 30, 41.40, at_ms=30)]))
        stream.send(message("changes", riders=[rider("back", 20, 41.45, at_ms=20)]))
        stream.send(message("changes", riders=[rider("back", 30, 41.45, at_ms=31)]))
        stream.send(message("changes", orders=[order("o", 40, "completed")]))
        stream.send(message("changes", orders=[order("o", 35, "picked_up")]))
        stream.send(message("changes", riders=[rider("last", 50, at_ms=50)]))
        moved_to(page, "last", 50)
        moved_to(page, "back", 30)
        assert page.evaluate("window.ridelogMap.orders.length") == 0
        expect(page.locator(".legend")).to_contain_text("0 open orders")
        stream.send(message("snapshot", riders=[rider("back", 5, at_ms=5)]))
        moved_to(page, "back", 5)


BROKEN = {
    "cut short": b'event: changes\ndata: {"at_ms": 1, "riders": [{"rider_id": "an\n\n',
    "no object": b"event: changes\ndata: 7\n\n",
    "without lists": b'event: snapshot\ndata: {"riders": {"length": 1}}\n\n',
    "no text": b"event: changes\ndata: \xff\xfe\x00{\n\n",
    "huge": b"event: changes\ndata: " + b"[" * HUGE,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_message_that_cannot_be_read_ends_the_stream_and_the_next_one_begins_afresh(
    chrome: Browser, city: Ridelog, front: StandIn, broken: bytes
) -> None:
    with signed_in(chrome, city, url=front.url) as page:
        first = front.stream()
        first.send(message("snapshot", riders=[rider("before", 1)]))
        wait_on_map(page, "before")
        first.send(broken)
        assert first.left.wait(60)
        expect(link(page)).to_contain_text("the map is of")
        front.stream().send(message("snapshot", riders=[rider("after", 2)]))
        wait_on_map(page, "after")
        expect(link(page)).to_have_text("live")


def test_a_message_without_its_end_is_none(chrome: Browser, city: Ridelog, front: StandIn) -> None:
    with signed_in(chrome, city, url=front.url) as page:
        first = front.stream()
        first.send(message("snapshot", riders=[rider("whole", 1, at_ms=1)]))
        moved_to(page, "whole", 1)
        first.send(message("changes", riders=[rider("whole", 2, at_ms=2)]).rstrip())
        first.end()
        second = front.stream()
        assert page.evaluate("window.ridelogMap.riders.get('whole').ms") == 1
        second.send(message("snapshot", riders=[rider("whole", 3, at_ms=3)]))
        moved_to(page, "whole", 3)


def test_messages_of_an_unknown_type_and_rows_that_are_none_change_nothing(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    with signed_in(chrome, city, url=front.url) as page:
        stream = front.stream()
        stream.send(message("snapshot", riders=[rider("known", 1, at_ms=1)]))
        stream.send(message("invention", riders=[rider("known", 2, at_ms=2)]))
        stream.send(b"data: no type at all\n\nid: 5\nretry: 1\n\nevent: end\ndata: {}\n\n")
        rows: list[Any] = [None, 7, {"rider_id": "half"}, {**rider("text", 3), "latitude": "41"}]
        stream.send(message("changes", riders=[*rows, rider("row", 4, at_ms=4)], orders=[None, {"order_id": "half"}]))
        moved_to(page, "row", 4)
        assert page.evaluate("[...window.ridelogMap.riders.keys()].sort()") == ["known", "row"]
        assert page.evaluate("window.ridelogMap.riders.get('known').ms") == 1
        expect(link(page)).to_have_text("live")


def test_where_no_stream_is_free_the_map_is_read_again_and_the_page_says_why(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    ride(city, "without stream")
    front.refusal = (503, "too_many_streams", "256 streams are open: RIDELOG_MAX_STREAMS; connect again later")
    with signed_in(chrome, city, url=front.url) as page:
        wait_on_map(page, "without stream")
        expect(link(page)).to_contain_text("256 streams are open: RIDELOG_MAX_STREAMS")
        picture(page, "stream-refused")
        front.refusal = None
        front.stream().send(message("snapshot", riders=[rider("with stream", 1)]))
        wait_on_map(page, "with stream")
        expect(link(page)).to_have_text("live")


def test_an_answer_in_place_of_a_stream_that_cannot_be_read_ends_no_attempt(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    """Regression: a proxy's answer without riders ended the attempts, and the map stood still until a reload."""
    front.refusal = (503, "too_many_streams", "256 streams are open: RIDELOG_MAX_STREAMS; connect again later")
    front.whole_map = {}
    with signed_in(chrome, city, url=front.url) as page:
        expect(link(page)).to_contain_text("256 streams are open")
        front.refusal = None
        front.stream().send(message("snapshot", riders=[rider("with stream", 1)]))
        wait_on_map(page, "with stream")
        expect(link(page)).to_have_text("live")


def test_a_hidden_tab_gives_its_stream_back_and_a_seen_one_has_it_again(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    """Given that a browser opens six connections to a server, then tabs that are not seen take none for a stream."""
    with signed_in(chrome, city, url=front.url) as page:
        front.stream().end()
        page.clock.install()
        page.reload()
        stream = front.stream()
        stream.send(message("snapshot", riders=[rider("hidden", 1)]))
        wait_on_map(page, "hidden")
        set_hidden(page, hidden=True)
        page.clock.fast_forward(31_000)
        assert stream.left.wait(60)
        set_hidden(page, hidden=False)
        front.stream().send(message("snapshot", riders=[rider("seen", 2)]))
        wait_on_map(page, "seen")
        expect(link(page)).to_have_text("live")


def set_hidden(page: Page, *, hidden: bool) -> None:
    """What a browser does when another tab comes to the front: a window that no person sees has no tabs to change."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_laptop_that_slept_shows_no_number_of_before_as_the_present(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    """Given an hour of sleep and a network that is not back yet, then every number says of when it is."""
    ride(city, "sleeper")
    with signed_in(chrome, city, url=front.url) as page:
        front.stream().end()
        page.clock.install()
        page.goto(f"{front.url}/?rider=sleeper")
        stream = front.stream()
        stream.send(message("snapshot", riders=[rider("sleeper", 1, at_ms=page.evaluate("Date.now()"))]))
        wait_on_map(page, "sleeper")
        expect(page.locator(".strip summary")).to_contain_text("the pipeline is well")
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        with front.mute():
            page.clock.fast_forward(HOUR_MS)
            expect(page.locator(".strip summary")).to_contain_text("not measured since")
            expect(page.locator(".strip summary")).not_to_contain_text("the pipeline is well")
            expect(link(page)).to_contain_text("reconnecting; the map is of")
            expect(page.locator(".panel .problem").first).to_contain_text("this page was paused")
            expect(page.locator(".panel .problem").first).to_contain_text("what is shown is of")
            picture(page, "slept")
        assert stream.left.wait(60)
        front.stream().send(message("snapshot", riders=[rider("sleeper", 2, at_ms=2)]))
        moved_to(page, "sleeper", 2)
        expect(link(page)).to_have_text("live")
        expect(page.locator(".strip summary")).to_contain_text("the pipeline is well")
        expect(page.locator(".panel .problem")).to_have_count(0)


def test_a_frozen_page_goes_on_where_the_city_is(chrome: Browser, city: Ridelog) -> None:
    """Given a page whose process is stopped while a rider moves, when it goes on, then the map does too.

    By signals: no browser freezes a page that Playwright says to be focused.
    """
    ride(city, "frozen", latitude=41.35)
    with signed_in(chrome, city) as page:
        wait_on_map(page, "frozen")
        renderers = [one for one in psutil.Process().children(recursive=True) if "--type=renderer" in one.cmdline()]
        assert renderers
        for one in renderers:
            one.suspend()
        try:
            times = ride(city, "frozen", latitude=41.36)
            assert {one.status() for one in renderers} == {psutil.STATUS_STOPPED}
        finally:
            for one in renderers:
                one.resume()
        moved_to(page, "frozen", times[-1])
        expect(link(page)).to_have_text("live")


def test_a_server_that_does_not_answer_is_said_where_its_numbers_are(
    chrome: Browser, city: Ridelog, front: StandIn
) -> None:
    """Given requests that wait for ever, then they end after 20 s, and what is shown says of when it is."""
    ride(city, "unanswered")
    with signed_in(chrome, city, "/?rider=unanswered", url=front.url) as page:
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        with front.mute():
            problem = page.locator(".panel .problem").first
            expect(problem).to_contain_text("the server has not answered for 20 s – what is shown is of")
            expect(page.locator(".strip summary")).not_to_contain_text("the pipeline is well")
        expect(page.locator(".panel .problem")).to_have_count(0)
        expect(page.locator(".strip summary")).to_contain_text("the pipeline is well")


def test_messages_are_json_of_the_route_itself(city: Ridelog) -> None:
    """Given the stand-in's messages, then they have the fields of the real route."""
    ride(city, "same form")
    real = city.http.get("/live").json()
    ours = json.loads(message("snapshot", riders=[rider("x", 1)]).partition(b"data: ")[2])
    assert set(ours) == set(real)
    assert {key for one in real["riders"] for key in one} == set(ours["riders"][0])
