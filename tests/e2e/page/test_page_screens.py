"""The page on very large and very small screens, and the words that say which instant is shown."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.web.browser import chromium, until
from tests.support.web.node_tools import ToolsMissing, install
from tests.support.web.page import NO_BROWSER, ride, serious_violations, signed_in, wait_on_map
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

PHONE = {"width": 360, "height": 740}
MIN_MAP_PX = 200
MAX_SHEET_SHARE = 0.6

MARK_PX = """id => {
  const map = window.ridelogMap;
  const { canvas, context } = map.surface;
  map.centreOn(map.riders.get(id).at);
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
    const [x, y] = map.surface.pixels(map.riders.get(id).at);
    const row = context.getImageData(0, Math.round(y), canvas.width, 1).data;
    const pixel = (at) => [...row.slice(4 * at, 4 * at + 3)].join();
    const middle = Math.round(x);
    let [left, right] = [middle, middle];
    while (pixel(left - 1) === pixel(middle)) left -= 1;
    while (pixel(right + 1) === pixel(middle)) right += 1;
    done(right - left + 1);
  })));
}"""
"""How wide the disc of a rider is, in pixels of the screen."""


def mark_px(chrome: Browser, city: Ridelog, rider: str, width: int, height: int) -> int:
    with signed_in(chrome, city, viewport={"width": width, "height": height}, reduced_motion="reduce") as page:
        wait_on_map(page, rider)
        found = page.evaluate(MARK_PX, rider)
        picture(page, f"screen-{width}")
        return int(found)


def test_marks_of_the_map_grow_with_a_large_screen(chrome: Browser, city: Ridelog) -> None:
    """Regression: at 3840 × 2160 with a device scale of 1, riders were discs of ten pixels."""
    ride(city, "far north", count=1, latitude=41.9)
    common, large = (mark_px(chrome, city, "far north", *size) for size in ((1280, 800), (3840, 2160)))
    assert common >= 8
    assert 1.4 <= large / common <= 2.2


def map_height(page: Page) -> float:
    return float(page.evaluate("document.querySelector('.map').getBoundingClientRect().height"))


def test_a_phone_has_a_map_beside_a_panel_which_can_be_folded(chrome: Browser, city: Ridelog) -> None:
    """Regression: at 360 pixels the map beside a panel was 110 pixels high, and only closing the panel gave it more."""
    ride(city, "pocketed")
    with signed_in(chrome, city, "/?rider=pocketed", viewport=PHONE) as page:
        expect(page.locator(".pings.window tbody tr")).to_have_count(10)
        sheet = page.locator(".panel")
        box = sheet.bounding_box()
        assert box is not None
        assert box["height"] <= MAX_SHEET_SHARE * PHONE["height"]
        # A stage that is late at this moment has a line of advice above the map, which takes room from the sheet alone.
        assert map_height(page) >= MIN_MAP_PX
        picture(page, "phone-panel")
        fold = page.get_by_role("button", name="Details of the panel")
        expect(fold).to_have_attribute("aria-expanded", "true")
        fold.focus()
        page.keyboard.press("Enter")
        expect(fold).to_have_attribute("aria-expanded", "false")
        expect(page.locator(".pings.window")).to_be_hidden()
        expect(page.locator(".panel h2 bdi"), "its title stays").to_have_text("pocketed")
        until(
            page, "least => document.querySelector('.map').getBoundingClientRect().height > least", PHONE["height"] / 2
        )
        picture(page, "phone-folded")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Close"), "nothing that is hidden has a place in Tab").to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('.panel')") is None
        fold.press("Enter")
        expect(page.locator(".pings.window")).to_be_visible()
        fold.press("Escape")
        expect(sheet).to_have_count(0)


def test_another_panel_is_unfolded(chrome: Browser, city: Ridelog) -> None:
    """Given a folded panel, when another one is opened, then what was asked for is seen."""
    ride(city, "folded")
    with signed_in(chrome, city, "/?rider=folded", viewport=PHONE) as page:
        page.get_by_role("button", name="Details of the panel").click()
        expect(page.locator(".pings.window")).to_be_hidden()
        page.locator(".menu summary").click()
        page.locator(".menu li button", has_text="Keys").click()
        expect(page.locator(".panel .keys")).to_be_visible()


def test_a_large_screen_has_no_button_that_folds(chrome: Browser, city: Ridelog) -> None:
    with signed_in(chrome, city, "/?keys=") as page:
        expect(page.locator(".panel .keys")).to_be_visible()
        expect(page.get_by_role("button", name="Details of the panel")).to_have_count(0)


def test_a_folded_panel_has_no_serious_fault(chrome: Browser, city: Ridelog) -> None:
    try:
        install()
    except ToolsMissing as error:
        pytest.skip(f"axe-core is not there. {error}")
    ride(city, "checked")
    with signed_in(chrome, city, "/?rider=checked", viewport=PHONE) as page:
        page.get_by_role("button", name="Details of the panel").click()
        expect(page.locator(".pings.window")).to_be_hidden()
        assert serious_violations(page) == []


def test_a_phone_on_its_side_has_map_and_panel_beside_each_other(chrome: Browser, city: Ridelog) -> None:
    ride(city, "sideways")
    with signed_in(chrome, city, "/?rider=sideways", viewport={"width": 740, "height": 360}) as page:
        expect(page.locator(".pings.window tbody tr")).to_have_count(10)
        picture(page, "phone-sideways")
        side, panel = page.locator(".map").bounding_box(), page.locator(".panel").bounding_box()
        assert side is not None
        assert panel is not None
        assert side["width"] >= 0.5 * 740
        assert panel["y"] == side["y"]


def test_the_strip_calls_nothing_live_while_the_past_is_shown(chrome: Browser, city: Ridelog) -> None:
    """Regression: it said "live" beside a map of before, since the stream of now stays open."""
    times = ride(city, "past and strip")
    with signed_in(chrome, city) as page:
        state = page.locator(".link-state")
        expect(state).to_have_text("live")
        page.goto(f"{page.url.split('?')[0]}?at={times[4]}&rider=past%20and%20strip")
        expect(state).to_have_text(re.compile(r"^the map is of \d\d:\d\d:\d\d, this line is of now$"))
        shown = page.locator(".past").inner_text()
        assert state.inner_text().split()[4].rstrip(",") in shown
        page.get_by_role("button", name="Now").click()
        expect(state).to_have_text("live")


def test_an_instant_of_which_nothing_is_known_says_so(chrome: Browser, city: Ridelog) -> None:
    """Regression: an empty map of a time before the first record looked like a fault."""
    with signed_in(chrome, city, "/?at=1000000000000&axis=known", timezone_id="UTC") as page:
        expect(page.locator(".past")).to_contain_text("no rider and no open order is known of this instant")
        expect(page.locator(".past"), "the year of another year").to_contain_text(re.compile("9 Sept? 2001"))
        colours = page.locator(".past, .past .problem").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).color)"
        )
        assert len(colours) == 2
        assert len(set(colours)) == 1, "red on blue cannot be read"


def test_a_rider_that_was_not_there_yet_has_no_empty_chart(chrome: Browser, city: Ridelog) -> None:
    """Regression: a panel of the past had "counts as of then" over an empty chart and an empty table."""
    ride(city, "came later")
    with signed_in(chrome, city, "/?at=1000000000000&rider=came%20later") as page:
        expect(page.locator(".panel .problem")).to_have_text("This rider had sent no ping by then.")
        expect(page.locator(".panel .uplot")).to_have_count(0)
        picture(page, "rider-before-its-time")


def test_each_projection_says_what_it_is_and_the_standard_terms_are_beside(chrome: Browser, city: Ridelog) -> None:
    with signed_in(chrome, city, "/?projections=") as page:
        speed = page.get_by_role("region", name="speed", exact=True)
        expect(speed).to_contain_text("the speed of each rider, from events of riders")
        version = speed.locator("small", has_text=re.compile("^code version"))
        expect(version).to_have_attribute("title", re.compile("^fold version: "))
        picture(page, "projections-in-words")
