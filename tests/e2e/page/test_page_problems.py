"""The panel of problems: a parked key with its reason, its retry from the page, and the verdicts of the audits."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.postgres.poison import Poison
from tests.support.waiting import eventually
from tests.support.web.browser import chromium
from tests.support.web.page import NO_BROWSER, ride, signed_in
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

VICTIM = "<b>parked שלום"


def parked_speed(city: Ridelog) -> list[dict[str, Any]]:
    """The parked events of VICTIM in the projection speed."""
    items = city.http.get("/parked", params={"projection": "speed"}).json()["items"]
    return [one for one in items if one["key"] == VICTIM]


def test_a_parked_key_is_listed_with_its_reason_and_goes_on_after_a_retry(chrome: Browser, city: Ridelog) -> None:
    ride(city, VICTIM)
    now_ms = int(time.time() * 1000)
    poison = Poison(city.info.postgres_url)
    ping = {"rider_id": VICTIM, "latitude": 41.4, "longitude": 2.17, "event_timestamp_ms": now_ms, "accuracy_meters": 5}
    position = poison.record(ping, now_ms)
    # A ping behind it, so that each worker learns of a gap at once.
    city.post([{**ping, "event_timestamp_ms": now_ms + 1_000}])
    (found,) = eventually(lambda: parked_speed(city), within_s=60, what="speed has parked the key")
    assert (found["key"], found["position"], found["kind"], found["served"]) == (VICTIM, position, "decode", True)
    answer = city.http.post("/parked/speed/retry", json={"key": VICTIM}).json()
    assert [one["verdict"] for one in answer["items"]] == ["still"]
    with signed_in(chrome, city) as page:
        page.keyboard.press("e")
        line = page.locator(".problems li", has_text="speed").filter(has=page.locator("bdi.id", has_text=VICTIM))
        expect(line.first.locator("bdi.id")).to_have_text(VICTIM)
        expect(line.first).to_contain_text("decode")
        expect(page.locator(".verdicts li", has_text="parity").first).to_be_visible()
        expect(page.locator(".verdicts li", has_text="eta drift")).to_be_visible()
        picture(page, "problems")
        retry = page.get_by_role("button", name=f"Retry {VICTIM} of speed")
        retry.click()
        expect(page.locator(".said")).to_contain_text("still held back")
        poison.cure()
        retry.click()
        expect(page.locator(".said")).to_contain_text("it goes on, 2 events processed")
        expect(retry).to_have_count(0)
        assert parked_speed(city) == []
        assert page.evaluate("document.querySelectorAll('.panel bdi b').length") == 0


def test_unknown_names_and_keys_are_refused_with_what_to_do(city: Ridelog) -> None:
    answer = city.http.post("/parked/speed/retry", json={"key": "a key that goes on"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_parked")
    assert "GET /parked" in answer.json()["detail"]
    assert city.http.get("/parked", params={"projection": "nothing"}).json()["code"] == "unknown_projection"
    assert city.http.post("/parked/nothing/retry", json={"key": "x"}).json()["code"] == "unknown_projection"
    for body in ({}, {"key": 5}, {"key": ""}, {"key": "x" * 129}, {"key": "\0"}, {"key": "a\u202eb"}):
        assert city.http.post("/parked/speed/retry", json=body).status_code == 400


def test_the_verdicts_are_those_of_status(city: Ridelog) -> None:
    verdicts = city.http.get("/verdicts").json()
    names = {one["verdict"] for one in verdicts["items"]}
    assert {"city audit", "parity", "eta parity", "eta model", "eta drift", "eta error"} == names
    assert verdicts["good"] == all(not one["advice"] for one in verdicts["items"])
