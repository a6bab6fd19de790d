"""Ids that others chose, in every view that shows one: they are text, in their own direction and in their own line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from domain.identifiers import MAX_ID_CODE_POINTS, check_rider_id
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, until
from tests.support.web.page import NO_BROWSER, find, ride, signed_in, url_of, wait_on_map
from tests.support.web.pictures import picture
from tests.support.web.rides import forged_ride, paid_ride
from tests.support.web.stand_in import StandIn, message, stand_in
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

RIDERS = {
    "markup": '<img src=x onerror="window.pwned=1">',
    "quotes": "\"'`><script>window.pwned=1<\\script>${window.pwned=1}",
    "address": "?order=1&rider=2#a;b=%3Cb%3E+%2e%2e",
    "right to left": "שלום (12) عَرَبِيّ - 3",
    "longest": "𝕏" * MAX_ID_CODE_POINTS,
    "without a place to break": "m" * MAX_ID_CODE_POINTS,
    "piled marks": "a" + "\u0300\u0323" * 63,
}
"""Ids that a ridelog records, by what they try."""

RECORDED_NEVER = {
    "controls": "a\u0000b\u001b[31mc\r\nd",
    "overrides": "abc\u202egpj.exe\u202c\u2066x\u2069",
    "nothing to see": "\u200b\u200b",
    "tags": "anna\U000e0041\U000e0042",
    "half a character": "x\ud800y",
}
"""Ids that no ridelog of today records; one of an older version may be in a log."""


@pytest.fixture
def front(city: Ridelog) -> Iterator[StandIn]:
    with stand_in(url_of(city)) as one:
        yield one


def place_order(city: Ridelog, order_id: str, rider: str) -> None:
    place = {"latitude": 41.39, "longitude": 2.17}
    body = {"order_id": order_id, "restaurant": place, "customer": place, "time_zone": "UTC", "currency": "EUR"}
    assert city.http.post("/deliveries", json=body).status_code == 201
    path = f"/deliveries/{quote(order_id, safe='')}/assign"
    assert city.http.post(path, json={"rider_id": rider}).status_code == 200


def is_text(page: Page) -> None:
    """Nothing of an id has become an element or has run, and no id is wider than the screen."""
    assert page.evaluate("window.pwned ?? null") is None
    assert page.evaluate("document.querySelectorAll('main img, main script, main bdi *, bdi:not(.id) bdi').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = (
        "[...document.querySelectorAll('.panel bdi, .finder bdi')].filter(one => one.scrollWidth > innerWidth).length"
    )
    assert page.evaluate(wide) == 0


def shown(page: Page, text: str) -> str:
    """The id as the page shows it."""
    return str(page.evaluate("id => import('/web/format.js').then(module => module.visible(id))", text))


@pytest.mark.parametrize("rider", RIDERS.values(), ids=RIDERS.keys())
def test_an_id_is_text_in_every_view_on_the_way(chrome: Browser, city: Ridelog, rider: str) -> None:
    """Given an id, when a person walks from the finder to rider, ping, order and the differences, then it is text."""
    assert check_rider_id(rider) == rider
    order_id = f"order {rider[:100]}"
    # The long ones where there is the least room.
    width = 360 if len(rider) == MAX_ID_CODE_POINTS else 1280
    ride(city, rider)
    place_order(city, order_id, rider)
    with signed_in(chrome, city, viewport={"width": width, "height": 740}) as page:
        name, heading = shown(page, rider), page.locator(".panel h2 bdi")
        wait_on_map(page, rider)
        field = page.get_by_role("searchbox", name="Find a rider or an order")
        field.fill(rider)
        expect(page.locator(".finder li bdi").first).to_have_text(name)
        is_text(page)
        field.press("Enter")
        expect(heading).to_have_text(name)
        expect(page.get_by_role("complementary")).to_have_attribute("aria-label", f"rider {name}")
        assert page.evaluate("new URLSearchParams(location.search).get('rider')") == rider
        expect(page).to_have_title(re.compile("^rider \u2068.*\u2069 · Ridelog$", re.DOTALL))
        page.reload()
        expect(heading).to_have_text(name)
        page.locator(".came tbody button").first.click()
        expect(page.locator(".lineage bdi").first).to_have_text(name)
        is_text(page)
        page.locator(".lineage bdi").first.click()
        expect(heading).to_have_text(name)
        page.get_by_role("button", name="what the rider is paid").click()
        expect(page.locator(".panel.wide h2 bdi")).to_have_text(name)
        is_text(page)
        page.goto(f"{url_of(city)}/?order={quote(order_id, safe='')}")
        expect(heading).to_have_text(shown(page, order_id))
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
        is_text(page)
        page.goto(f"{url_of(city)}/?at={int(time.time() * 1000) - 600_000}&axis=event&differ=")
        expect(page.locator(".differences [role=status]")).to_be_visible()
        is_text(page)
        picture(page, f"id-{list(RIDERS.values()).index(rider)}")


@pytest.mark.parametrize("rider", [RIDERS["markup"], RIDERS["right to left"]], ids=["markup", "right to left"])
def test_an_id_is_text_where_money_and_fraud_are_decided(chrome: Browser, city: Ridelog, rider: str) -> None:
    order_id = f"paid {rider}"
    paid_ride(city, rider, order_id.replace("/", ""))
    alert_id = forged_ride(city, f"{rider}!")
    payouts = eventually(
        lambda: city.http.get("/payouts", params={"rider_id": rider}).json()["items"], within_s=60, what="a payout"
    )
    views = {
        "/?alerts=": f"{rider}!",
        f"/?alert={alert_id}": f"{rider}!",
        f"/?evidence={alert_id}": f"{rider}!",
        f"/?payout={payouts[0]['entry_id']}": rider,
        f"/?statement={quote(rider, safe='')}": order_id,
    }
    with signed_in(chrome, city) as page:
        for path, wanted in views.items():
            page.goto(url_of(city) + path)
            expect(page.locator(".panel bdi").filter(has_text=shown(page, wanted)).first).to_be_visible()
            is_text(page)


@pytest.mark.parametrize("rider", RECORDED_NEVER.values(), ids=RECORDED_NEVER.keys())
def test_what_shows_nothing_or_turns_text_around_is_shown_by_its_code_point(
    chrome: Browser, city: Ridelog, front: StandIn, rider: str
) -> None:
    with signed_in(chrome, city, url=front.url) as page:
        place: dict[str, Any] = {"latitude": 41.39, "longitude": 2.17, "event_timestamp_ms": 1, "position": 1}
        front.stream().send(message("snapshot", riders=[{"rider_id": rider, **place}]))
        until(page, "() => window.ridelogMap.riders.size === 1")
        box = page.locator(".map canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        label = page.locator("#hover")
        expect(label).to_contain_text("⟨U+")
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.locator(".panel h2 bdi")).to_contain_text("⟨U+")
        expect(page.locator(".panel .problem").first).to_be_visible()
        for text in (label.inner_text(), page.locator(".panel").inner_text(), page.title().replace("\u2068", "")):
            assert not {one for one in text if one in "\u0000\u001b\u202e\u2066\u200b\U000e0041\ud800"}
        is_text(page)


def test_a_label_of_the_map_keeps_the_direction_of_an_id_in_it(chrome: Browser, city: Ridelog) -> None:
    """Given an id from right to left that ends in digits, then the word before it stays where it is."""
    rider = "שלום 12"
    ride(city, rider, latitude=41.20)
    with signed_in(chrome, city) as page:
        wait_on_map(page, rider)
        find(page, rider)
        box = page.locator(".map canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.locator("#hover")).to_have_text(f"rider {rider}")
        expect(page.locator("#hover bdi")).to_have_text(rider)
