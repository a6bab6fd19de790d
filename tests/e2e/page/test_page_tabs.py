"""Two tabs of one browser share a session: what one of them does with it is seen in the other, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.waiting import eventually
from tests.support.web.browser import PageProblems, chromium, opened, until
from tests.support.web.page import NO_BROWSER, find, ride, sign_in, signed_in, url_of, wait_on_map
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

MAX_STREAMS = 3


@contextmanager
def another_tab(page: Page, city: Ridelog, path: str = "/") -> Iterator[Page]:
    """A second tab of the browser of ``page``. Raises AssertionError at the end for whatever it reported."""
    other = page.context.new_page()
    other.set_default_timeout(60_000)
    problems = PageProblems(other, url_of(city), ())
    other.goto(url_of(city) + path)
    yield other
    assert problems.found == []
    other.close()


def asks_for_the_token(page: Page) -> None:
    expect(page.get_by_role("form", name="Sign in")).to_be_visible()


def open_streams(city: Ridelog) -> int:
    lines = city.http.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("ridelog_http_streams "))))


def test_a_session_begins_and_ends_in_every_tab(chrome: Browser, city: Ridelog) -> None:
    """Given two tabs without a session, when one signs in or out, then so does the other, without a reload."""
    ride(city, "shared")
    with opened(chrome, url_of(city)) as one, another_tab(one, city, "/?rider=shared") as two:
        asks_for_the_token(one)
        asks_for_the_token(two)
        sign_in(one)
        wait_on_map(one, "shared")
        wait_on_map(two, "shared")
        expect(two.locator(".pings.window tbody tr").first).to_be_visible()
        expect(two.get_by_role("button", name="Sign out")).to_be_visible()
        two.get_by_role("button", name="Sign out").click()
        asks_for_the_token(two)
        asks_for_the_token(one)
        eventually(lambda: open_streams(city) == 0, within_s=60, what="no stream outlives the session")
        sign_in(two)
        wait_on_map(one, "shared")
        expect(one.get_by_role("form", name="Sign in")).to_have_count(0)


def test_two_tabs_show_their_own_places_of_the_same_city(chrome: Browser, city: Ridelog) -> None:
    """Given two tabs, when one goes into the past with a rider, then the other stays at now with its own."""
    times = ride(city, "left")
    ride(city, "right")
    with signed_in(chrome, city, f"/?at={times[3]}&rider=left") as one, another_tab(one, city) as two:
        wait_on_map(two, "right")
        find(two, "right")
        expect(two).to_have_title("rider \u2068right\u2069 · Ridelog")
        expect(one).to_have_title("rider \u2068left\u2069 · Ridelog")
        expect(one.locator(".past")).to_be_visible()
        expect(two.locator(".past")).to_have_count(0)
        moved = ride(city, "right", latitude=41.43)
        eventually(
            lambda: two.evaluate("window.ridelogMap.riders.get('right').ms") == moved[-1], within_s=60, what="it moves"
        )
        assert one.evaluate("window.ridelogMap.riders.get('left').ms") == times[3]
        two.get_by_role("button", name="Close").click()
        expect(two).to_have_title("Ridelog")


def test_another_tab_that_forgets_a_session_by_mistake_ends_none(chrome: Browser, city: Ridelog) -> None:
    """Given a mark of the session that is removed though the session lasts, then the other tab asks the server."""
    ride(city, "kept")
    with signed_in(chrome, city) as one, another_tab(one, city) as two:
        wait_on_map(two, "kept")
        with two.expect_response(lambda answer: answer.url.endswith("/pipeline") and answer.ok):
            one.evaluate("localStorage.removeItem('ridelog-signed-in')")
        moved = ride(city, "kept", latitude=41.44)
        eventually(
            lambda: two.evaluate("window.ridelogMap.riders.get('kept').ms") == moved[-1], within_s=60, what="it moves"
        )
        expect(two.get_by_role("form", name="Sign in")).to_have_count(0)


def test_seven_windows_leave_the_browser_connections_for_everything_else(chrome: Browser, city: Ridelog) -> None:
    """Regression: each window held a stream, of six connections that a browser opens, and the seventh got no answer.

    Given three windows with a stream, then the others read the map without one, and have one when a window closes.
    """
    ride(city, "seen by all")
    with signed_in(chrome, city) as first, ExitStack() as opened_windows:
        windows = [first]
        for _ in range(6):
            windows.append(opened_windows.enter_context(another_tab(first, city)))
        for window in windows:
            wait_on_map(window, "seen by all")
        eventually(lambda: len(live_of(windows)) == MAX_STREAMS, within_s=60, what="three windows have a stream")
        assert open_streams(city) == MAX_STREAMS
        with_stream = live_of(windows)
        without = [window for window in windows if window not in with_stream]
        for window in without:
            state = window.locator(".link-state")
            expect(state).to_contain_text("read every 3 s, since 3 other windows have a stream: close one of them")
            # It is no fault, and has not the colour of one: the map is as it should be in a window without a stream.
            assert colour_of(state) == colour_of(window.locator(".strip .quiet").first)
            assert colour_of(state) != fault_colour_of(window)
        moved = ride(city, "seen by all", latitude=41.43)
        for window in windows:
            until(window, "ms => window.ridelogMap.riders.get('seen by all').ms === ms", moved[-1])
        find(without[0], "seen by all")
        expect(without[0].locator(".pings.window tbody tr").first).to_be_visible()
        picture(without[0], "seventh-window")
        left = next(window for window in with_stream if window is not first)
        left.goto("about:blank")
        eventually(
            lambda: live_of(without) != [], within_s=60, what="another window has the stream of the one that left"
        )
        assert open_streams(city) == MAX_STREAMS
        first.get_by_role("button", name="Sign out").click()
        for window in windows:
            if window is not left:
                asks_for_the_token(window)
        eventually(lambda: open_streams(city) == 0, within_s=60, what="no stream outlives the session")


def colour_of(words: Locator) -> str:
    return str(words.evaluate("one => getComputedStyle(one).color"))


def fault_colour_of(window: Page) -> str:
    """The colour of a stream that is at fault."""
    return str(
        window.locator(".link-state").evaluate(
            """one => {
              const fault = one.parentElement.appendChild(document.createElement("span"));
              fault.className = "link-state fault";
              const { color } = getComputedStyle(fault);
              fault.remove();
              return color;
            }"""
        )
    )


def live_of(windows: list[Page]) -> list[Page]:
    return [window for window in windows if window.locator(".link-state").inner_text() == "live"]
