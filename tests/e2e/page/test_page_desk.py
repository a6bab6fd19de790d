"""The desk on the page: a case file with its review, a rider's statement, the models and a model's card."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from infrastructure.eta_models.model_files import MANIFEST, read_model_manifest
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.postgres.engine import reader_engine
from tests.support.eta.small_models import model_files, with_plots
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, until
from tests.support.web.images import png_of
from tests.support.web.page import NO_BROWSER, signed_in
from tests.support.web.pictures import picture
from tests.support.web.rides import forged_ride, paid_ride
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

FORGER = "<i>boris"


def test_a_case_is_read_and_decided_on_the_page(chrome: Browser, city: Ridelog) -> None:
    alert_id = forged_ride(city, FORGER)
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


def test_a_rider_sees_what_is_paid_for_a_week_and_for_what(chrome: Browser, city: Ridelog) -> None:
    rider = "a paid rider"
    paid_ride(city, rider, "a paid order")
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
    plots = {"error-by-leg.png": png_of((255, 255, 255), 880, 396)}
    files = with_plots(model_files("a <b>model</b>", 2.0), plots)
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
        shown = page.get_by_role("img", name="Error by leg")
        shown.scroll_into_view_if_needed()
        until(page, "() => document.querySelector('.plot img').naturalWidth === 880")
        bounds = city.http.get(f"/models/{digest}").json()["bounds"]
        expect(page.locator(".panel table").last.locator("tbody tr")).to_have_count(len(bounds))
        picture(page, "model-card")
