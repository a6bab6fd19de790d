"""Causes and effects on the page, in a real Chromium: the questions of people, each answered by clicks alone."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.waiting import eventually
from tests.support.web.browser import chromium, until
from tests.support.web.page import NO_BROWSER, find, ride, signed_in, wait_on_map
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

HOSTILE_RIDER = '"><img src=x onerror=window.pwned=1> שלום'
STEP_S = 5
LEG_S = 60


class PaidRide:
    """An order that a rider delivered in the last four minutes; the phone kept one ping of the second leg back."""

    def __init__(self, city: Ridelog, rider: str) -> None:
        self.city, self.rider, self.order = city, rider, f"order of {rider}"
        # Payouts count one fix of each ten seconds: no other ping is in those of the one that is kept back.
        self.start_ms = (int(time.time()) // 10 * 10 - 4 * LEG_S) * 1000
        place = {"latitude": 41.39, "longitude": 2.17}
        body = {"order_id": self.order, "restaurant": place, "customer": place, "time_zone": "Europe/Madrid"}
        answer = city.http.post("/deliveries", json={**body, "currency": "EUR", "placed_at": self.start_ms})
        assert answer.status_code == 201, answer.text
        self.step("assign", 1, rider_id=rider)
        self.ride(STEP_S, LEG_S)
        self.step("pickup", LEG_S + 1)
        # After the ping that is kept back there are more than a window has.
        self.ride(LEG_S + STEP_S, 3 * LEG_S, without=frozenset(range(LEG_S + 30, LEG_S + 40)))
        self.step("complete", 3 * LEG_S + 1)
        eventually(lambda: len(self.payouts()) == 2, what="both legs are paid")

    def step(self, verb: str, second: int, **fields: Any) -> None:
        body = {**fields, "at": self.start_ms + second * 1000}
        answer = self.city.http.post(f"/deliveries/{quote(self.order)}/{verb}", json=body)
        assert answer.status_code == 200, answer.text

    def ping(self, second: int, north_m: float = 0.0) -> dict[str, Any]:
        return {
            "rider_id": self.rider,
            "latitude": 41.39 + (second * 5 + north_m) / 111_195,
            "longitude": 2.17,
            "event_timestamp_ms": self.start_ms + second * 1000,
            "accuracy_meters": 5.0,
            "speed_mps": 5.0,
        }

    def ride(self, first_s: int, end_s: int, without: Collection[int] = frozenset()) -> None:
        self.city.post([self.ping(second) for second in range(first_s, end_s, STEP_S) if second not in without])

    def late_ping(self) -> int:
        """The ping that was kept back, from 120 m off the way. Returns its position."""
        position = int(self.city.post([self.ping(LEG_S + 35, 120.0)])["position"])
        eventually(lambda: any(each["adjustments"] for each in self.payouts()), what="the payout is adjusted")
        return position

    def payouts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.city.http.get("/payouts", params={"order_id": self.order}).json()["items"]
        return found


def section(page: Page, title: str) -> Any:
    """The list under a heading of the panel."""
    return page.locator(f".lineage h3:text-is('{title}') + ul")


def test_which_payout_did_this_late_ping_change(chrome: Browser, city: Ridelog) -> None:
    """Given a ping that came after the hand-over, when its row is clicked, then its adjustment is one click away."""
    paid = PaidRide(city, "late rider")
    paid.late_ping()
    ride(city, "late rider", count=2)
    with signed_in(chrome, city) as page:
        wait_on_map(page, "late rider")
        find(page, "late rider")
        page.get_by_label("only late ones").check()
        page.locator(".came tbody button").first.click()
        expect(page.locator(".lineage-title")).to_have_text("What this ping changed")
        expect(page.locator(".lineage")).to_contain_text("too late for the window")
        changed = section(page, "Payouts that it changed").get_by_role("button")
        expect(changed).to_contain_text("adjustment of +")
        changed.click()
        expect(page.locator(".lineage-title")).to_contain_text("adjustment of +")
        expect(section(page, "The whole payout").get_by_role("button")).to_have_count(2)
        section(page, "Made by").get_by_role("button").click()
        expect(page.locator(".lineage-title")).to_have_text("What this ping changed")


def test_why_did_this_orders_eta_jump(chrome: Browser, city: Ridelog) -> None:
    """Given an order whose pick-up came early, then the jump of its ETA names the pick-up and the features."""
    order = "jumping order"
    place = {"latitude": 41.39, "longitude": 2.17}
    customer = {"latitude": 41.40, "longitude": 2.18}
    body = {"order_id": order, "restaurant": place, "customer": customer, "time_zone": "Europe/Madrid"}
    path = f"/deliveries/{quote(order)}"
    answer = city.http.post("/deliveries", json={**body, "currency": "EUR", "preparation_seconds": 3_000})
    assert answer.status_code == 201, answer.text
    ride(city, "jumper")
    assert city.http.post(f"{path}/assign", json={"rider_id": "jumper"}).status_code == 200
    served_with(city, path, "to_restaurant", "at_restaurant")
    assert city.http.post(f"{path}/pickup", json={}).status_code == 200
    served_with(city, path, "to_customer", "at_customer")
    eventually(lambda: len(city.http.get(f"{path}/etas").json()["items"]) >= 2, what="the answers are on record")
    with signed_in(chrome, city) as page:
        until(page, "() => window.ridelogMap.orders.length > 0")
        find(page, order)
        jump = page.locator(".jumps li button").first
        expect(jump).to_contain_text("hand-over −")
        jump.click()
        expect(page.locator(".lineage-title")).to_contain_text("Why the ETA moved by −")
        expect(section(page, "What differs from the answer before")).to_contain_text("delivery picked up")
        leg = page.get_by_role("rowheader", name="leg", exact=True)
        expect(page.locator(".compare tr").filter(has=leg)).to_contain_text("to customer")
        # The last event that it was computed from may be the first ETA of the leg, which is recorded on the way.
        changed = section(page, "What differs from the answer before")
        changed.get_by_role("button", name="delivery picked up").click()
        expect(page.locator(".lineage-title")).to_have_text("delivery picked up")
        section(page, "Effects").get_by_role("button").first.click()
        expect(page.locator(".lineage-title")).to_have_text("leg ended")
        section(page, "Cause").get_by_role("button").click()
        expect(page.locator(".lineage-title")).to_have_text("delivery picked up")


def served_with(city: Ridelog, path: str, *legs: str) -> None:
    """Ask for the ETA until it is served for one of the legs."""

    def is_served() -> bool:
        answer = city.http.get(f"{path}/eta")
        return answer.status_code == 200 and answer.json()["features"]["leg"] in legs

    eventually(is_served, what=f"an ETA of {' or '.join(legs)} is served")


def test_a_click_on_a_point_of_a_track_says_what_is_known_of_that_ping(chrome: Browser, city: Ridelog) -> None:
    ride(city, "tracked", latitude=41.30, step=0.002)
    track = city.http.get("/riders/tracked/track").json()["points"]
    point = track[3]
    with signed_in(chrome, city) as page:
        wait_on_map(page, "tracked")
        find(page, "tracked")
        until(page, "() => document.querySelectorAll('.came tbody tr').length > 0")
        place = page.evaluate(
            "([lat, lon]) => { const map = window.ridelogMap, view = map.view, s = Math.sin(lat * Math.PI / 180);"
            " const at = [lon / 360 + 0.5, 0.5 - Math.log((1 + s) / (1 - s)) / (4 * Math.PI)];"
            " return [(at[0] - view.x) * view.scale + map.width / 2, (at[1] - view.y) * view.scale + map.height / 2] }",
            [point["latitude"], point["longitude"]],
        )
        page.locator("canvas").first.click(position={"x": place[0], "y": place[1]})
        expect(page.locator(".lineage-title")).to_have_text("What this ping changed")
        expect(page).to_have_url(re.compile(f"event={point['position']}"))
        for name in ("verdict", "lateness", "accuracy", "phone's speed", "happened"):
            expect(page.locator(".lineage .fact", has_text=name)).to_be_visible()
        expect(page.locator(".lineage .fact", has_text="accuracy")).to_contain_text("5 m")
        page.go_back()
        expect(page.locator(".panel h2 bdi")).to_have_text("tracked")


def test_a_ping_of_the_window_is_a_link_by_the_keyboard_and_back_returns(chrome: Browser, city: Ridelog) -> None:
    ride(city, "keyed")
    with signed_in(chrome, city, "/?rider=keyed") as page:
        expect(page.locator(".pings.window tbody button")).to_have_count(10)
        page.locator(".pings.window tbody button").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".lineage-title")).to_have_text("What this ping changed")
        expect(page.locator(".panel h2")).to_be_focused()
        page.get_by_role("navigation", name="Events of the same key").get_by_role("button").first.focus()
        before = page.url
        page.keyboard.press("Enter")
        expect(page).not_to_have_url(before)
        page.go_back()
        page.go_back()
        expect(page.locator(".panel h2 bdi")).to_have_text("keyed")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hostile_rider_is_text_in_causes_and_effects(chrome: Browser, city: Ridelog, width: int, scheme: str) -> None:
    ride(city, HOSTILE_RIDER)
    position = city.http.get(f"/riders/{quote(HOSTILE_RIDER, safe='')}/track").json()["points"][-1]["position"]
    size = {"width": width, "height": 740}
    with signed_in(chrome, city, f"/?event={position}", viewport=size, color_scheme=scheme) as page:
        expect(page.locator(".lineage-title")).to_have_text("What this ping changed")
        expect(page.locator(".lineage")).to_contain_text("<img src=x onerror=window.pwned=1>")
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_not_there_says_so(chrome: Browser, city: Ridelog) -> None:
    with signed_in(chrome, city, "/?payout=none") as page:
        expect(page.locator(".panel .problem")).to_contain_text("there is no payout or adjustment")
