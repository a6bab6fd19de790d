"""Two tabs of one browser share a session: what one of them does with it is seen in the other, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.waiting import eventually
from tests.support.web.browser import PageProblems, chromium, opened
from tests.support.web.page import NO_BROWSER, find, ride, sign_in, signed_in, url_of, wait_on_map
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)


@contextmanager
def another_tab(page: Page, city: Ridelog, path: str = "/") -> Iterator[Page]:
    """A second tab of the browser of ``page``. Raises AssertionError at the end for whatever it reported."""
    other = page.context.new_page()
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
