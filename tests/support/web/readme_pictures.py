"""``make pictures``: the two pictures of the page in the README, of a simulated city in an installed Chromium.

The same seed gives the same city, but times and ETAs are those of the run, so a new run gives other bytes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, expect

from infrastructure.client.client import RidelogClient
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.fleet import FleetRunner, FleetTotals
from infrastructure.simulator.scenario import PhoneModel, Scenario, rider_ids
from infrastructure.simulator.world import SimulatedWorld, all_actions
from tests.support.servers.serving import ROOT
from tests.support.waiting import eventually
from tests.support.web.browser import browser, chromium, opened, until
from tests.support.web.page import NO_BROWSER
from tests.support.worlds.ridelog import Ridelog, ridelog

FOLDER: Final = ROOT / "docs" / "pictures"
SIZE: Final = {"width": 1280, "height": 760}
JPEG_QUALITY: Final = 82

RIDERS: Final = 60
HISTORY_S: Final = 1_500.0
PAST_MS: Final = 300_000
"""How long before now the second picture is."""


def send_city(city: Ridelog) -> FleetTotals:
    """Send 25 minutes of a city that end now, and leave its last orders open. Returns the counts."""
    start_ms = int((time.time() - HISTORY_S) * 1000)
    demand = Demand(orders_per_hour=2.0 * RIDERS, restaurants=RIDERS // 3, opening=RIDERS // 3)
    scenario = Scenario("7", start_ms, HISTORY_S, RIDERS, phone=PhoneModel(every_s=2.0), demand=demand)
    with RidelogClient(city.info.http_url) as client:
        totals = FleetRunner(client).fast(all_actions(SimulatedWorld(scenario)), threading.Event())
    position = city.http.get("/pipeline").json()["head"]

    def has_caught_up() -> bool:
        stages = city.http.get("/pipeline").json()["stages"]
        return all((stage["position"] or 0) >= position for stage in stages if stage["position"] is not None)

    eventually(has_caught_up, within_s=120, what="the projections have the whole city")
    return totals


def ready(page: Page) -> None:
    """Wait until the map has its riders and the chart its line."""
    until(page, "count => window.ridelogMap.riders.size >= count", RIDERS * 3 // 4)
    expect(page.locator(".panel .uplot canvas")).to_be_visible()
    expect(page.locator(".strip summary")).to_contain_text("position")
    page.mouse.move(640, 700)
    page.wait_for_timeout(6_000)  # a few answers more, so that the lines of the charts are lines


def take(city: Ridelog) -> list[Path]:
    """Both pictures. Returns their files."""
    totals = send_city(city)
    shown = [order for order in totals.open_orders if _is_under_way(city, order)]
    now_ms = int(time.time() * 1000)
    views: dict[str, tuple[str, dict[str, Any]]] = {
        "order-now": (f"/?order={shown[len(shown) // 2]}", {"color_scheme": "light"}),
        "rider-past": (f"/?at={now_ms - PAST_MS}&rider={_rider_at(city, now_ms - PAST_MS)}", {"color_scheme": "dark"}),
    }
    files = []
    FOLDER.mkdir(exist_ok=True)
    with browser() as chrome:
        for name, (path, look) in views.items():
            with opened(chrome, city.info.http_url.rstrip("/"), path, viewport=SIZE, **look) as page:
                ready(page)
                files.append(FOLDER / f"{name}.jpg")
                page.screenshot(path=files[-1], type="jpeg", quality=JPEG_QUALITY)
    return files


def _is_under_way(city: Ridelog, order_id: str) -> bool:
    order = city.http.get(f"/deliveries/{order_id}").json()
    return order["status"] == "picked_up" and order["promised_seconds"] is not None


def _rider_at(city: Ridelog, at_ms: int) -> str:
    """A rider that moved then."""
    for rider in rider_ids(RIDERS):
        answer = city.http.get(f"/riders/{rider}/speed", params={"at": at_ms, "axis": "event"})
        if answer.status_code == 200 and (answer.json()["speed_mps"] or 0) > 4:
            return rider
    raise SystemExit("no rider moved at that instant: run it again")


def main() -> int:
    """Take the pictures. Returns 1 without a browser."""
    if chromium() is None:
        print(NO_BROWSER, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, ridelog(Path(folder) / "data") as city:
        for file in take(city):
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
