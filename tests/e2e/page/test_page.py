"""The page in a real Chromium, on a running ridelog with tokens: every test signs in as a person does.

A violation of the Content-Security-Policy, an error on the console or a request to another host fails a test.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from infrastructure.http.web_page import CSP, version, web_files
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, opened, until
from tests.support.web.page import NO_BROWSER, TOKEN, find, on_map, ride, signed_in, url_of, wait_on_map
from tests.support.web.rides import assigned_order
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)
HOSTILE = (
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "javascript:window.pwned=1",
    "שלום עולם",
    "a&b=c#d?e%2F+%00",
    "${window.pwned=1}{{1}}",
    "𝕏" * 128,
    "__proto__",
)


def test_a_browser_gets_the_page_and_a_program_the_links(city: Ridelog) -> None:
    assert city.http.get("/").json()["service"] == "ridelog"
    page = city.http.get("/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == CSP
    assert "Accept" in page.headers["vary"]
    script = city.http.get("/web/app.js")
    again = city.http.get("/web/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert (script.status_code, again.status_code, again.content) == (200, 304, b"")
    assert city.http.get("/web/nothing.js").status_code == 404
    assert city.http.get("/web/panels/app.js").status_code == 404


def test_only_an_address_with_the_version_of_the_files_is_kept(city: Ridelog) -> None:
    """Given addresses with the version, another one and none, then all are answered, and a browser keeps the first."""
    body = web_files()["map/layers.js"].body
    immutable = "public, max-age=31536000, immutable"
    for address, kept in ((f"{version()}/", immutable), (f"{'0' * 20}/", "no-cache"), ("", "no-cache")):
        answer = city.http.get(f"/web/{address}map/layers.js")
        assert (answer.status_code, answer.content) == (200, body), address
        assert answer.headers["cache-control"] == kept
    assert city.http.get(f"/web/{version()}/nothing.js").status_code == 404


def test_a_page_that_starts_again_asks_for_none_of_its_files(chrome: Browser, city: Ridelog) -> None:
    """Given a page that was loaded, when another one starts in the same browser, then all files come from its cache.

    Each was asked for again: 60 requests before anything was drawn.
    """
    with signed_in(chrome, city) as page:
        again = page.context.new_page()
        again.goto(url_of(city))
        expect(again.locator(".strip summary")).to_contain_text("the pipeline is well")
        sizes = again.evaluate(
            """() => performance.getEntriesByType("resource").filter((one) => one.name.includes("/web/"))
              .map((one) => one.transferSize)"""
        )
        again.close()
    assert len(sizes) > 40
    assert set(sizes) == {0}
    assert city.http.get("/web/../auth.py").status_code == 404


def test_a_token_is_asked_once_and_is_in_no_address_and_no_storage(chrome: Browser, city: Ridelog) -> None:
    with opened(chrome, url_of(city)) as page:
        page.get_by_label("Token").fill("a-wrong-secret-of-16")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator(".strip summary")).to_contain_text("the pipeline is well")
        page.reload()
        expect(page.locator(".strip summary")).to_contain_text("the pipeline is well")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        assert TOKEN not in page.url
        assert TOKEN not in json.dumps(page.evaluate("[document.cookie, {...localStorage}, {...sessionStorage}]"))
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("form", name="Sign in")).to_be_visible()
        page.reload()
        expect(page.get_by_role("form", name="Sign in")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_riders_move_on_the_map_without_a_reload(chrome: Browser, city: Ridelog) -> None:
    ride(city, "mover")
    with signed_in(chrome, city) as page:
        wait_on_map(page, "mover")
        before = on_map(page, "mover")
        ride(city, "mover", latitude=41.45)
        until(page, "([id, before]) => window.ridelogMap.riders.get(id).at[1] !== before[1]", ["mover", before])


@pytest.mark.parametrize("rider", HOSTILE)
def test_a_hostile_id_is_shown_as_text(chrome: Browser, city: Ridelog, rider: str) -> None:
    ride(city, rider)
    with signed_in(chrome, city) as page:
        wait_on_map(page, rider)
        find(page, rider)
        expect(page.locator(".panel h2 bdi")).to_have_text(rider)
        expect(page.locator(".pings tbody tr")).to_have_count(10)
        page.reload()
        expect(page.locator(".panel h2 bdi")).to_have_text(rider)
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.querySelectorAll('.panel img, .panel svg').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_click_on_a_rider_opens_the_window_behind_its_speed(chrome: Browser, city: Ridelog) -> None:
    ride(city, "clicked", latitude=41.30)
    with signed_in(chrome, city) as page:
        wait_on_map(page, "clicked")
        find(page, "clicked")
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)
        place = page.evaluate(
            "id => { const map = window.ridelogMap, view = map.view, at = map.riders.get(id).at;"
            " return [(at[0] - view.x) * view.scale + map.width / 2, (at[1] - view.y) * view.scale + map.height / 2] }",
            "clicked",
        )
        page.locator("canvas").first.click(position={"x": place[0], "y": place[1]})
        expect(page.locator(".panel h2 bdi")).to_have_text("clicked")
        window = city.http.get("/riders/clicked/window").json()
        expect(page.locator(".pings tbody tr")).to_have_count(len(window["pings"]))
        shown = page.locator(".facts dd").all_inner_texts()
        assert shown[0] == f"{window['speed_mps'] * 3.6:.1f} km/h"
        assert shown[1] == f"{window['path_speed_mps'] * 3.6:.1f} km/h"
        expect(page.locator(".panel .uplot canvas")).to_be_visible()
        expect(page).to_have_url(re.compile("rider=clicked"))


def test_an_order_shows_its_stages_and_its_eta_against_the_promise(chrome: Browser, city: Ridelog) -> None:
    ride(city, "courier")
    order_id = "order <b>1"
    path = assigned_order(city, order_id, "courier")
    eventually(lambda: city.http.get(f"{path}/eta").status_code == 200, what="the order has an ETA")
    with signed_in(chrome, city) as page:
        until(page, "() => window.ridelogMap.orders.length > 0")
        find(page, order_id)
        expect(page.locator(".stages li")).to_have_count(2)
        expect(page.locator(".panel")).to_contain_text("assigned to courier")
        expect(page.locator(".fact", has_text="hand-over")).to_contain_text("in ")
        sure = page.locator(".fact", has_text="90 % certain by")
        expect(sure).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
        expect(sure).to_have_attribute("title", re.compile("^P90: nine of ten"))
        expect(page.locator(".panel .uplot canvas")).to_be_visible()
        assert city.http.post(f"{path}/pickup", json={}).status_code == 200
        expect(page.locator(".stages li")).to_have_count(3)
        expect(page.locator(".panel")).to_contain_text("carried by courier")
        page.get_by_role("button", name="courier").click()
        expect(page.locator(".panel h2 bdi")).to_have_text("courier")


def test_the_handle_shows_the_past_and_the_address_keeps_it(chrome: Browser, city: Ridelog) -> None:
    times = ride(city, "past", latitude=41.35, step=0.001)
    with signed_in(chrome, city, f"/?at={times[3]}&rider=past") as page:
        until(page, "([id, ms]) => window.ridelogMap.riders.get(id)?.ms === ms", ["past", times[3]])
        expect(page.locator(".past")).to_contain_text("as it happened")
        expect(page.locator(".pings tbody tr")).to_have_count(4)
        page.get_by_role("button", name="Now").click()
        until(page, "([id, ms]) => window.ridelogMap.riders.get(id)?.ms === ms", ["past", times[-1]])
        expect(page.locator(".past")).to_have_count(0)
        expect(page).not_to_have_url(re.compile("[?&]at="))
        slider = page.get_by_role("slider", name="Instant")
        slider.focus()
        slider.press("ArrowLeft")
        expect(page.locator(".past")).to_be_visible()
        expect(page).to_have_url(re.compile("[?&]at="))


def test_the_axis_known_shows_only_what_was_recorded_by_then(chrome: Browser, city: Ridelog) -> None:
    """Given pings of before an instant that came after it, then they are on the map on the axis event alone."""
    ride(city, "early")
    instant_ms = int(time.time() * 1000)
    eventually(lambda: int(time.time() * 1000) > instant_ms, what="the instant has passed")
    assert ride(city, "late")[0] < instant_ms
    with signed_in(chrome, city, f"/?at={instant_ms}&axis=known") as page:
        expect(page.locator(".past")).to_contain_text("as known then")
        # The riders of the instant come together: one that is missing now is not on its way.
        wait_on_map(page, "early")
        assert on_map(page, "late") is None
        page.get_by_role("combobox", name="Axis").select_option("event")
        wait_on_map(page, "late")


def test_a_stage_that_needs_somebody_is_red_and_says_what_to_do(chrome: Browser, city: Ridelog) -> None:
    body = city.http.get("/pipeline").json()
    broken = {**body["stages"][2], "state": "late", "advice": "give it CPU"}
    body = {**body, "good": False, "stages": [*body["stages"][:2], broken, *body["stages"][3:]]}
    with signed_in(chrome, city) as page:
        page.route("**/pipeline", lambda route: route.fulfill(json=body))
        expect(page.locator(".strip > .advice")).to_have_text(f"{broken['stage']}: late. give it CPU")
        page.locator(".strip summary").click()
        expect(page.locator(".stages-list li.bad")).to_have_count(1)
        expect(page.locator(".stages-list li")).to_have_count(len(body["stages"]))


@pytest.mark.parametrize("width", [360, 768, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_screen_in_both_schemes(chrome: Browser, city: Ridelog, width: int, scheme: str) -> None:
    ride(city, "screen")
    size = {"width": width, "height": 2160 if width == 3840 else 740}
    with signed_in(chrome, city, "/?rider=screen", viewport=size, color_scheme=scheme) as page:
        expect(page.locator(".pings tbody tr")).to_have_count(10)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # A stage that is late at this moment has a line of advice, which takes room until the stage has caught up.
        until(page, "() => document.querySelector('.map').getBoundingClientRect().height > 150")
        for name in ("Now", "Zoom in", "Close"):
            assert page.get_by_role("button", name=name).bounding_box() is not None


def test_everything_has_a_name_and_the_keyboard_reaches_it(chrome: Browser, city: Ridelog) -> None:
    ride(city, "keys")
    with signed_in(chrome, city, "/?rider=keys", reduced_motion="reduce") as page:
        expect(page.locator(".pings tbody tr")).to_have_count(10)
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select, a, canvas[tabindex]')].filter(one => !("
            "one.getAttribute('aria-label') || one.textContent.trim() || one.closest('label')))"
            ".map(one => one.outerHTML)"
        )
        assert unnamed == []
        seen = set()
        for _ in range(100):
            page.keyboard.press("Tab")
            named = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            seen.add(page.evaluate(named))
        assert {"Find a rider or an order", "Zoom in", "Axis", "Now"} <= seen
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)


def test_two_pages_go_on_after_their_streams_were_cut(chrome: Browser, city: Ridelog) -> None:
    """Given two pages, when the process that serves their streams is killed, then each opens another one."""
    ride(city, "cut")
    with signed_in(chrome, city) as one, signed_in(chrome, city) as two:
        opened_again: list[Page] = []
        for page in (one, two):
            wait_on_map(page, "cut")
            page.on("request", partial(_note_stream, opened_again, page))
        city.kill("api")
        city.wait_ready()
        ride(city, "after")
        wait_on_map(one, "after")
        wait_on_map(two, "after")
        assert {one, two} == set(opened_again)


def _note_stream(opened: list[Page], page: Page, request: Request) -> None:
    if request.url.endswith("/live"):
        opened.append(page)
