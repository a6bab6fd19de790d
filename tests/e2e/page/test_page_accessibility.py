"""The page for everybody: axe-core's rules on each view, the keyboard alone, and motion that can be switched off."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.postgres.engine import reader_engine
from tests.support.eta.small_models import model_files
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, opened, until
from tests.support.web.node_tools import ToolsMissing, install
from tests.support.web.page import NO_BROWSER, ride, serious_violations, signed_in, url_of, wait_on_map
from tests.support.web.rides import assigned_order, forged_ride, paid_ride
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

ORDER = "order-seen"
RULES_OF_COLOUR = ("color-contrast", "link-in-text-block")
"""Those of axe-core that look at colours, by which alone the schemes differ."""
RULES: dict[Literal["light", "dark"], tuple[str, ...]] = {"light": (), "dark": RULES_OF_COLOUR}
"""What is checked in each scheme: every rule once."""

VIEWS = {
    "now": "header",
    "rider": ".pings tbody tr",
    "order": ".stages li",
    "past": ".pings tbody tr",
    "keys": ".panel h2",
    "nothing": ".panel .problem",
    "problems": ".verdicts li",
    "projections": ".panel section h3",
    "alerts": ".problems li button",
    "case file": ".reasons li",
    "statement": ".entries > li",
    "models": ".problems li code",
    "model": ".panel h3",
    "event": ".lineage",
    "payout": ".lineage",
    "differences": ".panel h2",
}
"""The views, with what each has once it was read."""


@pytest.fixture(scope="module")
def shown(city: Ridelog) -> dict[str, str]:
    """A rider with an order, one that is paid, an alert and a model. Returns the path of each view by its name."""
    times = ride(city, "sighted")
    assigned_order(city, ORDER, "sighted")
    paid_ride(city, "paid", "order-paid")
    alert_id = forged_ride(city, "forger")
    engine = reader_engine(city.info.postgres_url)
    digest = ModelRegistry(engine).add(model_files("small", 2.0), "ann")
    engine.dispose()
    eventually(lambda: city.http.get(f"/deliveries/{ORDER}/eta").status_code == 200, what="the order has an ETA")
    payouts = eventually(
        lambda: city.http.get("/payouts", params={"rider_id": "paid"}).json()["items"], what="a payout"
    )
    position = city.http.get("/riders/sighted/speed").json()["position"]
    return {
        "now": "/",
        "rider": "/?rider=sighted",
        "order": f"/?order={ORDER}",
        "past": f"/?at={times[4]}&rider=sighted",
        "keys": "/?keys=",
        "nothing": "/?rider=no-such-rider",
        "problems": "/?problems=",
        "projections": "/?projections=",
        "alerts": "/?alerts=",
        "case file": f"/?alert={alert_id}",
        "statement": "/?statement=paid",
        "models": "/?models=",
        "model": f"/?model={digest}",
        "event": f"/?event={position}",
        "payout": f"/?payout={payouts[0]['entry_id']}",
        "differences": f"/?at={times[4]}&differ=",
    }


@pytest.fixture
def axe() -> None:
    """Skips the test where axe-core cannot be had."""
    try:
        install()
    except ToolsMissing as error:
        pytest.skip(f"axe-core is not there. {error}")


def ready(page: Page, view: str) -> None:
    """Wait until the view has what it is for."""
    expect(page.locator(".strip summary")).to_contain_text("position")
    expect(page.locator(VIEWS[view]).first).to_be_visible()
    if view == "now":
        page.locator(".strip summary").click()
        expect(page.locator(".stages-list li").first).to_be_visible()


@pytest.mark.usefixtures("axe")
@pytest.mark.parametrize("width", [360, 1280])
def test_no_view_has_a_serious_fault_in_either_scheme(
    chrome: Browser, city: Ridelog, shown: dict[str, str], width: int
) -> None:
    size = {"width": width, "height": 740}
    found: dict[tuple[str, str], list[str]] = {}

    def check(page: Page, view: str) -> None:
        for scheme, rules in RULES.items():
            page.emulate_media(color_scheme=scheme)
            found[view, scheme] = serious_violations(page, rules)

    with opened(chrome, url_of(city), viewport=size) as page:
        expect(page.get_by_role("form", name="Sign in")).to_be_visible()
        check(page, "sign in")
    with signed_in(chrome, city, viewport=size) as page:
        assert list(shown) == list(VIEWS)
        for view, path in shown.items():
            page.goto(url_of(city) + path)
            ready(page, view)
            check(page, view)
    assert len(found) == 2 * (1 + len(VIEWS))
    assert found == {key: [] for key in found}


def test_the_keyboard_alone_finds_a_rider_goes_back_in_time_and_returns(
    chrome: Browser, city: Ridelog, shown: dict[str, str]
) -> None:
    """Given no pointer, when keys are pressed, then a rider is found, explained, seen in the past, and left again."""
    with signed_in(chrome, city) as page:
        wait_on_map(page, "sighted")
        page.locator("body").press("/")
        page.keyboard.type("sighted")
        expect(page.locator(".finder li button").first).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator(".panel h2 bdi")).to_have_text("sighted")
        expect(page.locator(".pings tbody tr").first).to_be_visible()
        tab_to(page, "Instant")
        page.keyboard.press("PageDown")
        expect(page.locator(".past")).to_be_visible()
        expect(page).to_have_url(re.compile("[?&]at="))
        tab_to(page, "Now")
        page.keyboard.press("Enter")
        expect(page.locator(".past")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)
        tab_to(page, "Map of riders")
        before = page.evaluate("({...window.ridelogMap.view})")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("+")
        moved = page.evaluate("({...window.ridelogMap.view})")
        assert moved["x"] > before["x"]
        assert moved["scale"] > before["scale"]


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has that name has the focus."""
    for _ in range(60):
        named = "(one => one.getAttribute('aria-label') || one.closest('label')?.textContent || one.textContent)"
        if str(page.evaluate(f"{named}(document.activeElement)")).strip().startswith(name):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


@pytest.mark.usefixtures("shown")
def test_marks_jump_where_less_motion_is_asked_for(chrome: Browser, city: Ridelog) -> None:
    """Given reduced motion, when a rider moves, then its mark is at the new place at once and glides nowhere."""
    with signed_in(chrome, city, reduced_motion="reduce") as page:
        wait_on_map(page, "sighted")
        before = page.evaluate("window.ridelogMap.riders.get('sighted').at[1]")
        ride(city, "sighted", latitude=41.42)
        until(page, "before => window.ridelogMap.riders.get('sighted').at[1] !== before", before)
        glides = page.evaluate("(mark => mark.from !== mark.at)(window.ridelogMap.riders.get('sighted'))")
        assert not glides
        animated = page.evaluate("document.getAnimations().length")
        assert animated == 0
