"""The desk on the page: a case file with its review, a rider's statement, the models and a model's card."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from infrastructure.eta_models.model_files import MANIFEST, read_model_manifest
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.postgres.engine import reader_engine
from tests.support.eta.small_models import model_files
from tests.support.waiting import eventually
from tests.support.web.browser import chromium
from tests.support.web.page import NO_BROWSER, signed_in
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

FORGER = "<i>boris"


def forged_ride(city: Ridelog) -> str:
    """Pings of a phone that jumps 3 km with fixes that an app made. Returns the id of the alert."""
    chance, start_ms = random.Random(7), int(time.time() * 1000) - 120_000
    pings = [
        {
            "rider_id": FORGER,
            "event_timestamp_ms": start_ms + n * 5_000,
            "latitude": 52.5 + n * 0.00023 + chance.gauss(0, 1e-6),
            "longitude": 13.4 + chance.gauss(0, 1e-6) + 0.045 * (n >= 12),
            "accuracy_meters": 5 + n % 3,
            "speed_mps": 5 + n % 5 / 10,
            "is_mock": n >= 12,
        }
        for n in range(20)
    ]
    city.post(pings)

    def alerts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = city.http.get("/fraud/alerts", params={"rider_id": FORGER}).json()["items"]
        return found

    return str(eventually(alerts, within_s=60, what="an alert is raised")[0]["alert_id"])


def test_a_case_is_read_and_decided_on_the_page(chrome: Browser, city: Ridelog) -> None:
    alert_id = forged_ride(city)
    with signed_in(chrome, city) as page:
        page.keyboard.press("f")
        page.locator(".panel .problems button", has_text=FORGER).click()
        expect(page.locator(".reasons li").first).to_be_visible()
        expect(page.locator(".reasons")).to_contain_text("mock")
        stored = city.http.get(f"/fraud/alerts/{alert_id}").json()
        expect(page.locator(".pings tbody tr")).to_have_count(len(stored["window"]))
        expect(page.locator(".reviews")).to_contain_text("no person has decided yet")
        decide = page.get_by_role("button", name="There is another explanation")
        expect(decide).to_be_disabled()
        page.get_by_label("Who decides").fill("mara")
        page.get_by_label("Why").fill("a new phone <script>window.pwned=1</script>")
        picture(page, "case")
        decide.click()
        expect(page.locator(".review [role=status]")).to_have_text("recorded as cleared")
        reviewed = eventually(lambda: city.http.get(f"/fraud/alerts/{alert_id}").json()["reviews"], within_s=60)
        assert [(one["verdict"], one["by"]) for one in reviewed] == [("cleared", "mara")]
        page.reload()
        expect(page.locator(".reviews li")).to_contain_text("cleared by mara")
        expect(page.locator(".reviews li")).to_contain_text("<script>")
        assert page.evaluate("window.pwned") is None


def paid_ride(city: Ridelog, rider: str) -> None:
    """An order that the rider carries from its restaurant to its customer."""
    at_ms = int(time.time() * 1000) - 400_000
    order = {
        "order_id": "a paid order",
        "restaurant": {"latitude": 41.390, "longitude": 2.170},
        "customer": {"latitude": 41.398, "longitude": 2.170},
        "time_zone": "Europe/Madrid",
        "currency": "EUR",
        "placed_at": at_ms - 60_000,
    }
    assert city.http.post("/deliveries", json=order).status_code == 201
    steps = (("assign", at_ms), ("pickup", at_ms + 60_000), ("complete", at_ms + 300_000))
    pings = [
        {
            "rider_id": rider,
            "latitude": 41.390 + 0.008 * max(0, n - 12) / 48,
            "longitude": 2.170,
            "event_timestamp_ms": at_ms + n * 5_000,
            "accuracy_meters": 5,
        }
        for n in range(61)
    ]
    for verb, when in steps:
        body = {"at": when, **({"rider_id": rider} if verb == "assign" else {})}
        assert city.http.post(f"/deliveries/a paid order/{verb}", json=body).status_code == 200
        if verb == "assign":
            city.post(pings)


def test_a_rider_sees_what_is_paid_for_a_week_and_for_what(chrome: Browser, city: Ridelog) -> None:
    rider = "a paid rider"
    paid_ride(city, rider)
    payouts = eventually(
        lambda: city.http.get("/payouts", params={"rider_id": rider}).json()["items"], within_s=90, what="a payout"
    )
    with signed_in(chrome, city, f"/?statement={rider}") as page:
        page.get_by_label("Week").select_option(payouts[0]["period"])
        entries = page.locator(".entries > li")
        expect(entries.first).to_be_visible()
        statement = city.http.get(f"/riders/{rider}/statement", params={"period": payouts[0]["period"]}).json()
        (euros,) = statement["currencies"]
        expect(entries).to_have_count(len(euros["entries"]))
        expect(page.locator(".fact", has_text="total")).to_contain_text(f"{euros['total']} EUR")
        entries.first.locator("summary").click()
        expect(entries.first.locator("details li").first).to_contain_text("base: 1 leg at")
        picture(page, "statement")
        entries.first.get_by_role("button", name="a paid order").click()
        expect(page.locator(".panel h2 bdi")).to_have_text("a paid order")


def test_the_models_and_a_card_are_shown(chrome: Browser, city: Ridelog) -> None:
    engine = reader_engine(city.info.postgres_url)
    files = dict(model_files("a <b>model</b>", 2.0))
    scores = {"rows": 1234, "mae_s": 61.25, "median_s": 40.0, "p90_s": 140.5, "bias_s": -3.0, "coverage_90": 0.905}
    evaluation = {"test": {"all": {"model": scores, "baseline": {**scores, "mae_s": 99.5}}}}
    manifest = msgspec.structs.replace(read_model_manifest(files[MANIFEST]), evaluation=evaluation)
    files[MANIFEST] = msgspec.json.encode(manifest)
    digest = ModelRegistry(engine).add(files, "ann")
    engine.dispose()
    with signed_in(chrome, city) as page:
        page.keyboard.press("m")
        expect(page.locator(".panel li", has_text="baseline")).to_contain_text("serving")
        page.get_by_role("button", name="a <b>model</b>").click()
        expect(page.locator(".fact", has_text="model").first).to_contain_text("a <b>model</b>")
        errors = page.locator(".panel table").first
        expect(errors.locator("tbody tr")).to_have_count(2)
        expect(errors).to_contain_text("61.3 s")
        expect(errors).to_contain_text("90.5 %")
        bounds = city.http.get(f"/models/{digest}").json()["bounds"]
        expect(page.locator(".panel table").last.locator("tbody tr")).to_have_count(len(bounds))
        picture(page, "model-card")
