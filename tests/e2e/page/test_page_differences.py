"""What differs between the axes at one instant, in a real Chromium: listed, and lit up on the map."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.waiting import eventually
from tests.support.web.browser import chromium, until
from tests.support.web.page import NO_BROWSER, all_riders, find, on_map, ride, signed_in, wait_on_map
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

STAGE = "id => window.ridelogMap.orders.find(one => one.id === id)?.status"

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)


def test_where_was_anna_then_as_we_knew_it_then(chrome: Browser, city: Ridelog) -> None:
    """Given pings of before an instant that came after it, then the axes differ, and the page says by how much."""
    times = ride(city, "anna", latitude=41.39)
    instant_ms = int(time.time() * 1000)
    known = on_axis(city, "anna", instant_ms, "known")
    late = {"rider_id": "anna", "latitude": 41.41, "longitude": 2.17, "event_timestamp_ms": instant_ms - 100}
    position = city.post([{**late, "accuracy_meters": 5.0}])["position"]
    eventually(lambda: city.http.get("/riders/anna/speed").json()["position"] >= position)
    assert known["event_timestamp_ms"] == times[-1]
    with signed_in(chrome, city) as page:
        wait_on_map(page, "anna")
        find(page, "anna")
        page.get_by_role("combobox", name="Axis").select_option("known")
        page.get_by_label("Go to").fill(local_time(page, instant_ms))
        until(page, "([id, ms]) => window.ridelogMap.riders.get(id)?.ms === ms", ["anna", times[-1]])
        expect(page.locator(".past")).to_contain_text("as known then")
        page.get_by_label("Menu").click()
        page.get_by_role("button", name="What differs").click()
        row = page.locator(".differences li", has_text="anna")
        expect(row).to_contain_text("m apart")
        page.locator(".differences select").select_option("event")
        expect(row).to_contain_text("older here")
        here = on_map(page, "anna")
        page.get_by_role("combobox", name="Axis").select_option("event")
        until(page, "([id, before]) => window.ridelogMap.riders.get(id)?.at[1] !== before[1]", ["anna", here])


def on_axis(city: Ridelog, rider: str, at_ms: int, axis: str) -> dict[str, Any]:
    return next(each for each in all_riders(city, at=at_ms, axis=axis) if each["rider_id"] == rider)


def local_time(page: Page, ms: int) -> str:
    """The instant as a field of date and time takes it, in the browser's zone, to the millisecond."""
    text = "ms => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 23)"
    return str(page.evaluate(text, ms))


def reported_late(city: Ridelog, order: str) -> int:
    """An order that was picked up before an instant, which its phone reported after it. Returns the instant."""
    place = {"latitude": 41.39, "longitude": 2.17}
    body = {"order_id": order, "restaurant": place, "customer": place, "time_zone": "UTC", "currency": "EUR"}
    assert city.http.post("/deliveries", json=body).status_code == 201
    assert city.http.post(f"/deliveries/{order}/assign", json={"rider_id": f"{order} rider"}).status_code == 200
    instant_ms = int(time.time() * 1000) + 1
    eventually(lambda: int(time.time() * 1000) > instant_ms, what="the instant has passed")
    eventually(lambda: known_stage(city, order, instant_ms) == "assigned", what="the order is in the read model")
    answer = city.http.post(f"/deliveries/{order}/pickup", json={"at": instant_ms - 1})
    assert answer.status_code == 200, answer.text
    return instant_ms


def known_stage(city: Ridelog, order: str, at_ms: int) -> str | None:
    items = city.http.get("/orders", params={"at": at_ms, "axis": "known"}).json()["items"]
    return next((str(each["status"]) for each in items if each["order_id"] == order), None)


def test_an_order_that_was_picked_up_before_it_was_known_is_listed(chrome: Browser, city: Ridelog) -> None:
    """Given a pick-up that a phone reported after an instant, then its order differs by the stage of each axis."""
    instant_ms = reported_late(city, "offline")
    with signed_in(chrome, city, f"/?at={instant_ms}&axis=known") as page:
        # Before its first answer the page may still be asking for the token, and keys do nothing.
        until(page, "() => window.ridelogMap.orders.length > 0")
        page.keyboard.press("d")
        row = page.locator(".differences li", has_text="offline")
        expect(row).to_contain_text("assigned here, picked up there")
        # The map shows the stage of the axis too, and not the one of a time that was known later.
        assert page.evaluate(STAGE, "offline") == "assigned"
        page.get_by_role("combobox", name="Axis").select_option("event")
        until(page, f"id => ({STAGE})(id) === 'picked_up'", "offline")
        page.get_by_role("button", name="Now").click()
        expect(page.locator(".differences")).to_contain_text("Now is the same on each axis")


def test_the_panel_of_an_order_shows_the_stage_of_the_map_on_each_axis(chrome: Browser, city: Ridelog) -> None:
    """Regression: the panel took the stages from their times, which are known later than the instant."""
    instant_ms = reported_late(city, "in panel")
    with signed_in(chrome, city, f"/?at={instant_ms}&axis=known&order=in+panel") as page:
        status = page.locator(".facts .badge").first
        picked_up = page.locator(".stages li", has_text="picked up")
        expect(status).to_have_text("assigned")
        expect(picked_up).to_have_class("later")
        assert page.evaluate(STAGE, "in panel") == "assigned"
        picture(page, "order-known-then")
        page.get_by_role("combobox", name="Axis").select_option("event")
        expect(status).to_have_text("picked up")
        expect(picked_up).to_have_class("done")
        until(page, f"id => ({STAGE})(id) === 'picked_up'", "in panel")
        page.get_by_role("combobox", name="Axis").select_option("known")
        page.get_by_label("Go to").fill(local_time(page, instant_ms - 3_600_000))
        expect(status).to_have_text("not known yet")
        expect(page.locator(".stages li.done")).to_have_count(0)
        until(page, f"id => ({STAGE})(id) === undefined", "in panel")
        page.get_by_role("button", name="Now").click()
        expect(status).to_have_text("picked up")
