"""The panel of projections: rebuild, switch, roll back and drop from the page, each confirmed twice, by an admin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from sqlalchemy import Engine, text

from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_tasks import ProjectionTasks
from tests.support.waiting import eventually
from tests.support.web.browser import chromium
from tests.support.web.page import NO_BROWSER, ride, signed_in
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

PHONE: ViewportSize = {"width": 360, "height": 740}
TASK_TIMEOUT_MS = 180_000
"""A task starts a process, which takes ten times as long on a machine that the whole suite shares."""


def section(page: Page, name: str) -> Any:
    return page.get_by_role("complementary", name="Projections").get_by_role("region", name=name, exact=True)


def ask_twice(page: Page, button: str, yes: str) -> None:
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Go on").click()
    dialog.get_by_role("button", name=yes, exact=True).click()
    expect(dialog).to_have_count(0)


def generations(city: Ridelog, name: str) -> dict[int, dict[str, Any]]:
    (found,) = (one for one in city.http.get("/projections").json()["items"] if one["projection"] == name)
    return {one["generation"]: one for one in found["generations"]}


def test_a_projection_is_rebuilt_switched_rolled_back_and_dropped_from_the_page(chrome: Browser, city: Ridelog) -> None:
    ride(city, "rebuilt")
    with signed_in(chrome, city) as page:
        page.keyboard.press("p")
        speed = section(page, "speed")
        speed.get_by_role("button", name="Rebuild speed").click()
        task = speed.locator(".task")
        expect(task).to_contain_text("rebuild")
        # The task belongs to the server: a page that is closed and opened again finds it.
        page.reload()
        expect(task).to_contain_text("generation 2 equals 1", timeout=TASK_TIMEOUT_MS)
        assert generations(city, "speed")[1]["served"]
        picture(page, "projections")
        ask_twice(page, "Switch …", "Switch")
        expect(task).to_contain_text("readers follow generation 2", timeout=TASK_TIMEOUT_MS)
        assert generations(city, "speed")[2]["served"]
        ride(city, "after-the-switch")
        ask_twice(page, "Roll back …", "Roll back")
        expect(task).to_contain_text("readers follow generation 1", timeout=TASK_TIMEOUT_MS)
        ask_twice(page, "Drop …", "Drop")
        expect(task).to_contain_text("generation 2 of speed is dropped", timeout=TASK_TIMEOUT_MS)
        assert list(generations(city, "speed")) == [1]


def test_what_is_not_confirmed_twice_changes_nothing(chrome: Browser, city: Ridelog) -> None:
    body = city.http.get("/projections").json()
    (item,) = (one for one in body["items"] if one["projection"] == "orders")
    differing = {
        **item["generations"][0],
        "generation": 7,
        "served": False,
        "state": "compared",
        "compared_with": 1,
        "differences": 25,
        "digest": "0123456789abcdef",
        "examples": [{"shard": 3, "name": "<img src=x onerror=window.pwned=1>", "words": "pings: live 8, new \u202e0"}],
        "actions": ["accept", "drop"],
    }
    item["generations"].append(differing)
    sent: list[str] = []
    with signed_in(chrome, city, "/?projections=") as page:
        page.route("**/projections", lambda route: route.fulfill(json=body))
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        orders = section(page, "orders")
        expect(orders).to_contain_text("25 differences from generation 1")
        expect(orders.locator("bdi").first).to_have_text("<img src=x onerror=window.pwned=1>")
        expect(orders).to_contain_text("⟨U+202E⟩")
        orders.get_by_role("button", name="Accept and switch …").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("verify-parity orders")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog).to_contain_text("25 keys or rows will read differently")
        picture(page, "projections-accept")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        assert sent == []
        assert page.evaluate("window.pwned") is None


@contextmanager
def no_new_generations(engine: Engine) -> Iterator[None]:
    """A rebuild waits before it begins its generation, so that it cannot end; reads of generations go on."""
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE projection_generations IN SHARE MODE"))
        yield


def test_a_refusal_is_shown_with_what_to_do(chrome: Browser, city: Ridelog) -> None:
    engine = reader_engine(city.info.postgres_url)
    tasks = ProjectionTasks(engine)
    with signed_in(chrome, city, "/?projections=", viewport=PHONE) as page:
        traffic = section(page, "traffic")
        with no_new_generations(engine):
            assert city.http.post("/projections/traffic/rebuild", json={}).status_code == 202
            expect(traffic.locator(".task")).to_contain_text("rebuild", timeout=TASK_TIMEOUT_MS)
            assert city.http.post("/projections/traffic/rebuild", json={}).json()["code"] == "task_open"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        eventually(lambda: not tasks.latest()["traffic"].is_open, within_s=180, what="the task has ended")
        page.route(
            "**/projections/traffic/rebuild",
            lambda route: route.fulfill(
                status=409,
                json={"code": "task_open", "detail": "traffic has a task already: wait for it, or cancel it"},
            ),
        )
        traffic.get_by_role("button", name="Rebuild traffic").click()
        expect(page.get_by_role("alert")).to_contain_text("wait for it, or cancel it")
    engine.dispose()
