"""Is the pipeline late, or is the rider silent? Answered by what the page shows of a rider, in a real Chromium."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.postgres.poison import Poison
from tests.support.waiting import eventually
from tests.support.web.browser import chromium
from tests.support.web.page import NO_BROWSER, find, ride, signed_in, wait_on_map
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)


def old_pings(city: Ridelog, rider: str, age_s: int, late_s: int = 0) -> None:
    """Pings that ended ``age_s`` ago, received ``late_s`` after their time at least: they are sent now."""
    end_ms = int(time.time() * 1000) - (age_s + late_s) * 1000
    pings = [
        {
            "rider_id": rider,
            "latitude": 41.39 + number / 10_000,
            "longitude": 2.17,
            "event_timestamp_ms": end_ms - 5_000 * (5 - number),
            "accuracy_meters": 5.0,
        }
        for number in range(6)
    ]
    position = city.post(pings)["position"]
    eventually(lambda: city.http.get(f"/riders/{quote(rider)}/window").json().get("position", 0) >= position)


def is_parked(city: Ridelog, rider: str) -> bool:
    items = city.http.get("/parked", params={"projection": "speed"}).json()["items"]
    return any(one["key"] == rider for one in items)


def why(page: Page) -> Any:
    """What the rider's panel says about an old ping."""
    return page.locator(".panel .silence")


def opened_rider(page: Page, rider: str) -> None:
    wait_on_map(page, rider)
    find(page, rider)
    expect(page.locator(".panel h2 bdi")).to_have_text(rider)


def test_riders_that_go_on_sending_are_counted_although_no_rider_and_no_order_is_new(
    chrome: Browser, city: Ridelog
) -> None:
    """Regression: last pings of others were those of when a rider or an order was new, so "No rider sends" was said
    while all others sent."""
    old_pings(city, "quiet", age_s=40)
    old_pings(city, "another", age_s=90)
    with signed_in(chrome, city) as page:
        opened_rider(page, "quiet")
        expect(why(page)).to_contain_text("No rider sends")
        ride(city, "another")
        expect(why(page)).to_contain_text("The rider is silent")
        expect(why(page)).to_contain_text("others on the map sent one in the last minute")


def test_a_rider_whose_pings_are_all_folded_is_silent(chrome: Browser, city: Ridelog) -> None:
    """Given a rider that stopped sending 40 s ago and others that send, then one click says: the rider is silent."""
    old_pings(city, "silent", age_s=40)
    ride(city, "sending")
    with signed_in(chrome, city) as page:
        opened_rider(page, "silent")
        expect(why(page)).to_contain_text("The rider is silent")
        expect(why(page)).to_contain_text("nothing waits in the pipeline")
        picture(page, "rider-silent")
        ride(city, "silent")
        expect(why(page)).to_have_count(0)


def test_a_rider_with_pings_in_the_log_that_are_not_folded_waits_for_the_pipeline(
    chrome: Browser, city: Ridelog
) -> None:
    """Given pings that speed cannot fold, then one click says: the pipeline is late, and the next one what to do."""
    old_pings(city, "waiting", age_s=40)
    now_ms = int(time.time() * 1000)
    ping = {"rider_id": "waiting", "latitude": 41.4, "longitude": 2.17, "event_timestamp_ms": now_ms}
    poison = Poison(city.info.postgres_url)
    poison.record({**ping, "accuracy_meters": 5}, now_ms)
    city.post([{**ping, "accuracy_meters": 5, "event_timestamp_ms": now_ms + 1_000}])
    eventually(lambda: is_parked(city, "waiting"), within_s=60, what="speed has parked the key")
    with signed_in(chrome, city) as page:
        opened_rider(page, "waiting")
        expect(why(page)).to_contain_text("The pipeline is late")
        expect(why(page)).to_contain_text("2 pings of this rider are recorded")
        picture(page, "rider-waits")
        why(page).get_by_role("button", name="Problems and verdicts").click()
        parked = page.locator(".problems li", has_text="waiting").filter(has_text="speed")
        expect(parked.first).to_contain_text("decode")
        poison.cure()
        page.get_by_role("button", name="Retry waiting of speed").click()
        expect(page.locator(".said").first).to_contain_text("it goes on")
        page.go_back()
        expect(page.locator(".panel h2 bdi")).to_have_text("waiting")
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        expect(why(page).filter(has_text="The pipeline is late")).to_have_count(0)


def test_a_phone_whose_last_ping_came_late_may_hold_back_more(chrome: Browser, city: Ridelog) -> None:
    old_pings(city, "sends late", age_s=40, late_s=120)
    ride(city, "online")
    with signed_in(chrome, city) as page:
        opened_rider(page, "sends late")
        expect(why(page)).to_contain_text("The phone sends late")
        expect(why(page)).to_contain_text("may hold back more")


def test_the_past_says_nothing_about_a_silence_of_now(chrome: Browser, city: Ridelog) -> None:
    """Given a silent rider in the past, then its reason is neither read nor shown, and it is both after Now."""
    old_pings(city, "silent then", age_s=300)
    ride(city, "still sending")
    read: list[str] = []
    with signed_in(chrome, city, f"/?at={int(time.time() * 1000) - 200_000}&rider=silent+then") as page:
        page.on("request", lambda request: read.append(request.url) if "/events?" in request.url else None)
        expect(page.locator(".pings.window tbody tr").first).to_be_visible()
        expect(page.locator(".came tbody tr").first).to_be_visible()
        # What the panel reads for what it shows, it reads within the next frame.
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert read == []
        expect(why(page)).to_have_count(0)
        page.get_by_role("button", name="Now").click()
        expect(why(page)).to_be_visible()
        assert read
