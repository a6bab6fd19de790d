"""What a new user stumbled over when the page alone had to answer: each a regression test in a real Chromium."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, expect

from tests.support.waiting import eventually
from tests.support.web.browser import chromium
from tests.support.web.page import NO_BROWSER, find, ride, signed_in, url_of
from tests.support.web.rides import assigned_order
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

CITY_ZONE = "Europe/Madrid"
VIEWER_ZONE = "Asia/Tokyo"


def order_with_eta(city: Ridelog, order: str, rider: str) -> str:
    """An order that the rider carries, and that has an ETA on record. Returns the path of its routes."""
    ride(city, rider)
    path = assigned_order(city, order, rider, CITY_ZONE)
    eventually(lambda: city.http.get(f"{path}/eta").status_code == 200, what="the order has an ETA")
    eventually(lambda: bool(city.http.get(f"{path}/etas").json()["items"]), what="the answer is on record")
    return path


def test_every_time_of_an_order_is_by_one_clock(chrome: Browser, city: Ridelog) -> None:
    """Regression: the chart, the handle and an answer had the viewer's clock, the link to the answer the city's."""
    path = order_with_eta(city, "order of two zones", "two-zones")
    placed = datetime.fromtimestamp(city.http.get(path).json()["placed_at_ms"] / 1000, UTC)
    with signed_in(chrome, city, f"/?order={quote('order of two zones')}", timezone_id=VIEWER_ZONE) as page:
        stage = page.locator(".stages time").first
        of_viewer = placed.astimezone(ZoneInfo(VIEWER_ZONE)).strftime("%H:%M:%S")
        of_city = placed.astimezone(ZoneInfo(CITY_ZONE)).strftime("%H:%M")
        expect(stage).to_have_text(f"{of_viewer} ({of_city})")
        expect(page.locator(".panel h3", has_text="Stages")).to_contain_text(f"your time ({CITY_ZONE})")
        newest = page.get_by_role("button", name=re.compile("^The newest, "))
        at = newest.inner_text().removeprefix("The newest, ")
        newest.click()
        expect(page.locator(".fact", has_text="answered")).to_contain_text(at)


def test_the_times_of_a_city_in_the_viewers_zone_are_said_once(chrome: Browser, city: Ridelog) -> None:
    order_with_eta(city, "order of one zone", "one-zone")
    with signed_in(chrome, city, f"/?order={quote('order of one zone')}", timezone_id=CITY_ZONE) as page:
        expect(page.locator(".stages time").first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
        expect(page.locator(".panel h3", has_text="Stages")).to_have_text("Stages")


def test_an_order_that_is_over_and_a_rider_off_the_map_are_found_by_their_whole_id(
    chrome: Browser, city: Ridelog
) -> None:
    """Regression: the finder knew only what is on the map, and had no way to an order that was handed over."""
    path = order_with_eta(city, "order that is over", "finisher")
    assert city.http.post(f"{path}/pickup", json={}).status_code == 200
    assert city.http.post(f"{path}/complete", json={}).status_code == 200
    eventually(lambda: city.http.get(path).json()["status"] == "completed")
    with signed_in(chrome, city) as page:
        field = page.get_by_role("searchbox", name="Find a rider or an order")
        field.fill("order that is over")
        offered = page.locator(".finder li button")
        expect(offered).to_have_count(2)
        expect(offered.first).to_contain_text("order")
        field.press("Enter")
        expect(offered.first).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".panel .badge").first).to_have_text("completed")
        field.fill("never sent a ping")
        offered.filter(has_text=re.compile("rider$")).click()
        expect(page).to_have_url(re.compile(r"\?rider=never"))
        expect(page.locator(".panel .problem")).to_contain_text("No ping of a rider with this id is known")
        expect(page.locator(".panel .uplot")).to_have_count(0)
        find(page, "finisher")
        expect(page.locator(".panel h2 bdi")).to_have_text("finisher")


def test_a_list_over_the_map_is_left_by_escape_and_by_a_press_elsewhere(chrome: Browser, city: Ridelog) -> None:
    """Regression: the stages of the pipeline and the menu stayed open over the map until they were pressed again."""
    ride(city, "under-a-list")
    with signed_in(chrome, city, "/?rider=under-a-list") as page:
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        for opener, shown in ((".strip summary", ".stages-list"), (".menu summary", ".menu ul")):
            page.locator(opener).click()
            expect(page.locator(shown)).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.locator(shown)).to_be_hidden()
            expect(page.locator(opener)).to_be_focused()
            expect(page.locator(".panel h2 bdi"), "Escape closes one thing").to_have_text("under-a-list")
            page.locator(opener).click()
            expect(page.locator(shown)).to_be_visible()
            page.get_by_role("button", name="Show everything").click()
            expect(page.locator(shown)).to_be_hidden()


def test_the_numbers_of_the_stages_have_a_heading_each(chrome: Browser, city: Ridelog) -> None:
    """Regression: position, rate and wait of a stage were three numbers without a name."""
    with signed_in(chrome, city) as page:
        page.locator(".strip summary").click()
        heads = page.locator(".stages-head span")
        expect(heads).to_have_text(["stage", "up to position", "events/s", "oldest waits", "state"])
        lefts = "all => all.map((one) => Math.round(one.getBoundingClientRect().right))"
        row = page.locator(".stages-list li").first.locator("> *")
        assert heads.evaluate_all(lefts)[:4] == row.evaluate_all(lefts)[:4]


def test_a_rider_has_its_place_in_words_now_and_then(chrome: Browser, city: Ridelog) -> None:
    """Regression: only the map, which is a picture, answered where a rider was."""
    times = ride(city, "placed", latitude=41.31)
    with signed_in(chrome, city, "/?rider=placed") as page:
        place = page.locator(".fact", has_text="place")
        expect(place).to_contain_text("41.31220, 2.17000")
        page.goto(f"{url_of(city)}/?rider=placed&at={times[5] + 500}")
        expect(place).to_contain_text("41.31100, 2.17000")


def test_an_order_without_any_answer_says_so(chrome: Browser, city: Ridelog) -> None:
    """Regression: the empty chart of an order that was over said that it had the first answer of each leg."""
    place = {"latitude": 41.39, "longitude": 2.17}
    body = {"order_id": "never asked", "restaurant": place, "customer": place, "time_zone": "UTC", "currency": "EUR"}
    assert city.http.post("/deliveries", json=body).status_code == 201
    assert city.http.post("/deliveries/never%20asked/cancel", json={"reason": "test"}).status_code == 200
    eventually(lambda: city.http.get("/deliveries/never%20asked").json()["status"] == "cancelled")
    with signed_in(chrome, city, "/?order=never%20asked") as page:
        expect(page.locator(".panel")).to_contain_text("No ETA of this order is on record.")
