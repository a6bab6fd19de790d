"""A ridelog with tokens and a browser for the tests of the page: signs in, rides, finds, and asks the map.

Time decides no test: other processes of the suite share the machine, so each expectation waits a minute.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect

from tests.support.waiting import eventually
from tests.support.web.browser import opened, until
from tests.support.web.node_tools import install, installed_file
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running

NO_BROWSER: Final = "no Chromium is installed: apt-get install chromium, or name one in RIDELOG_TEST_CHROMIUM"
TOKEN: Final = "page-secret-of-16-and-more"

expect.set_options(timeout=60_000)


@contextmanager
def city_with_tokens(data_dir: Path) -> Iterator[Ridelog]:
    """A running ridelog whose only token may do everything; its own client sends it."""
    with running(data_dir, tokens=f"admin={TOKEN}") as one:
        one.http.headers["Authorization"] = f"Bearer {TOKEN}"
        yield one


def url_of(city: Ridelog) -> str:
    return city.info.http_url.rstrip("/")


def ride(city: Ridelog, rider: str, count: int = 12, latitude: float = 41.39, step: float = 0.0002) -> list[int]:
    """Pings of the last seconds, which end now. Returns their times."""
    first = int(time.time() * 1000) - 2_000 * count
    times = [first + 2_000 * number for number in range(count)]
    pings = [
        {
            "rider_id": rider,
            "latitude": latitude + step * number,
            "longitude": 2.17,
            "event_timestamp_ms": at_ms,
            "accuracy_meters": 5.0,
        }
        for number, at_ms in enumerate(times)
    ]
    position = city.post(pings)["position"]
    eventually(lambda: city.http.get(f"/riders/{quote(rider, safe='')}/speed").json().get("position", 0) >= position)
    # The riders of an instant are those that analytics knows, which may be a moment behind the speed.
    eventually(lambda: any(one["rider_id"] == rider for one in all_riders(city)))
    return times


def all_riders(city: Ridelog, **query: Any) -> list[dict[str, Any]]:
    """The riders of ``GET /riders``: one page of it, which has room for those of all tests of the page."""
    found: list[dict[str, Any]] = city.http.get("/riders", params={"limit": 1_000, **query}).json()["items"]
    return found


@contextmanager
def signed_in(
    chrome: Browser, city: Ridelog, path: str = "/", url: str | None = None, **context: Any
) -> Iterator[Page]:
    """The page, after the token was given in its form. ``url``: of a server in front of the city."""
    with opened(chrome, url or url_of(city), path, **context) as page:
        sign_in(page)
        yield page


def sign_in(page: Page) -> None:
    """Give the token in the form."""
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("form", name="Sign in")).to_have_count(0)


def on_map(page: Page, rider: str) -> Any:
    """Where the map has the rider, null if nowhere."""
    return page.evaluate("id => window.ridelogMap.riders.get(id)?.at ?? null", rider)


def wait_on_map(page: Page, rider: str) -> None:
    until(page, "id => window.ridelogMap.riders.has(id)", rider)


def find(page: Page, wanted: str) -> None:
    """Select the rider or the order of that id among the matches of the field above the map.

    An id of another test may contain it, and be the first match.
    """
    page.get_by_role("searchbox", name="Find a rider or an order").fill(wanted)
    same = page.locator("bdi", has_text=re.compile(f"^{re.escape(wanted)}$"))
    page.locator(".finder li:not(.elsewhere) button").filter(has=same).first.click()


def serious_violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds serious or critical in the page as it is shown, one line each with the element.

    ``rules``: the only rules that are checked; empty means all. Raises ToolsMissing where axe-core cannot be had.
    """
    install()
    source = installed_file("axe-core/axe.min.js")
    assert source is not None, "the lock names axe-core"
    if not page.evaluate("'axe' in window"):
        page.evaluate(source.read_text() + ";0")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = page.evaluate("options => axe.run(document, options).then(result => result.violations)", options)
    return [
        f"{one['impact']} {one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
