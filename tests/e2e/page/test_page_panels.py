"""Panels of the page: opened by menu, key, link and address, left by Escape, Close and Back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.web.browser import chromium, until
from tests.support.web.page import NO_BROWSER, find, ride, signed_in, wait_on_map
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)


def test_a_panel_of_the_menu_opens_by_pointer_and_by_key_and_gives_the_focus_back(
    chrome: Browser, city: Ridelog
) -> None:
    with signed_in(chrome, city) as page:
        page.get_by_label("Menu").click()
        page.get_by_role("button", name="Keys").click()
        expect(page.get_by_role("complementary", name="Keys")).to_be_visible()
        expect(page.locator(".panel h2")).to_be_focused()
        expect(page).to_have_url(re.compile(r"\?keys=$"))
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)
        now = page.get_by_role("button", name="Now")
        now.focus()
        page.keyboard.press("?")
        expect(page.locator(".panel kbd", has_text="Escape")).to_be_visible()
        page.keyboard.press("?")
        expect(page.locator(".panel")).to_have_count(0)
        expect(now).to_be_focused()


def test_back_returns_to_the_panel_before_and_forward_goes_on(chrome: Browser, city: Ridelog) -> None:
    ride(city, "first")
    ride(city, "second")
    with signed_in(chrome, city) as page:
        wait_on_map(page, "second")
        title = page.locator(".panel h2 bdi")
        for rider in ("first", "second"):
            find(page, rider)
            expect(title).to_have_text(rider)
        page.go_back()
        expect(title).to_have_text("first")
        page.go_back()
        expect(page.locator(".panel")).to_have_count(0)
        page.go_forward()
        expect(title).to_have_text("first")
        page.go_forward()
        expect(title).to_have_text("second")


def test_moving_the_handle_adds_no_step_to_go_back(chrome: Browser, city: Ridelog) -> None:
    times = ride(city, "steady")
    with signed_in(chrome, city, f"/?at={times[-1]}&rider=steady") as page:
        before = page.evaluate("history.length")
        slider = page.get_by_role("slider", name="Instant")
        slider.focus()
        for _ in range(3):
            slider.press("ArrowLeft")
        expect(page).not_to_have_url(re.compile(f"at={times[-1]}"))
        assert page.evaluate("history.length") == before
        expect(page).to_have_url(re.compile("rider=steady"))


def test_the_last_instant_waits_for_no_slow_read_of_one_that_was_left(chrome: Browser, city: Ridelog) -> None:
    """Regression: only a further move ended a read that took long, so a panel stayed where the handle had passed."""
    times = ride(city, "slow")
    with signed_in(chrome, city, f"/?at={times[-1]}&rider=slow") as page:
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        shown = datetime.fromtimestamp(times[-1] / 1_000, UTC)
        page.clock.install(time=shown - timedelta(minutes=10))
        page.clock.pause_at(shown)
        held: list[Route] = []
        page.route("**/window?*", lambda route: route.fallback() if held else held.append(route))
        slider = page.get_by_role("slider", name="Instant")
        with page.expect_request("**/window?*"):
            slider.press("ArrowLeft")
            page.clock.run_for(100)
        slider.press("ArrowLeft")
        page.clock.run_for(100)
        # Only the time of the page passes, and not as much as a read may take.
        with page.expect_request("**/window?*"):
            page.clock.run_for(1_000)
        page.unroute_all(behavior="ignoreErrors")


def test_the_address_keeps_the_last_of_many_instants_without_a_call_for_each(chrome: Browser, city: Ridelog) -> None:
    """Given a handle that moves a hundred times, then the address is the last instant, written four times a second."""
    times = ride(city, "dragged")
    with signed_in(chrome, city, f"/?at={times[-1]}&rider=dragged") as page:
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        page.evaluate(
            "() => { const real = history.replaceState; window.writes = 0;"
            " history.replaceState = function (...all) { window.writes += 1; return real.apply(history, all); } }"
        )
        last, took_ms = page.evaluate(
            "async () => { const slider = document.querySelector('.slider input'), began = performance.now(); let last;"
            " for (let n = 0; n < 100; n += 1) { slider.stepDown(20); last = slider.value;"
            " slider.dispatchEvent(new Event('input', { bubbles: true }));"
            " await new Promise((done) => requestAnimationFrame(done)); } return [last, performance.now() - began]; }"
        )
        until(page, "last => new URLSearchParams(location.search).get('at') === last", last)
        assert page.evaluate("window.writes") <= took_ms / 250 + 2
        until(page, "last => window.ridelogMap.scene.nowMs() === Number(last)", last)
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)
        expect(page).to_have_url(re.compile(f"at={last}"))
        page.go_back()
        expect(page.locator(".panel h2 bdi")).to_have_text("dragged")
        expect(page).to_have_url(re.compile(f"at={last}"))


def test_all_of_a_riders_panel_is_of_the_last_instant_of_a_drag(chrome: Browser, city: Ridelog) -> None:
    """Given a handle that moves a hundred times, then window, list, chart and map are of the last; and then of now."""
    times = ride(city, "scrubbed")
    with signed_in(chrome, city, f"/?at={times[-1]}&rider=scrubbed") as page:
        expect(page.locator(".came tbody tr").first).to_be_visible()
        page.evaluate(
            "async ([from, to]) => { const slider = document.querySelector('.slider input');"
            " const value = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value');"
            " for (let n = 1; n <= 100; n += 1) { value.set.call(slider, String(from + ((to - from) * n) / 100));"
            " slider.dispatchEvent(new Event('input', { bubbles: true }));"
            " await new Promise((done) => requestAnimationFrame(done)); } }",
            [times[-1], times[2] + 1_000],
        )
        expect(page.locator(".pings.window tbody tr")).to_have_count(3)
        expect(page.locator(".came tbody tr")).to_have_count(3)
        expect(page.get_by_role("img", name="Speed of the rider over its last 3 pings")).to_be_visible()
        until(page, "([id, ms]) => window.ridelogMap.riders.get(id)?.ms === ms", ["scrubbed", times[2]])
        page.get_by_role("button", name="Now").click()
        expect(page.locator(".came tbody tr")).to_have_count(len(times))
        expect(page.locator(".pings.window tbody tr")).to_have_count(10)
