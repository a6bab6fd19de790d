"""Break it: parts of a demo are killed and cut from the page, come back, and nothing is lost and nothing double."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from infrastructure.embedded.data_dir import read_run_info
from infrastructure.embedded.demo_socket import VARIABLE
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, opened
from tests.support.web.page import NO_BROWSER
from tests.support.web.pictures import picture
from tests.support.worlds.ridelog import Ridelog

BACK_WITHIN_MS = 240_000


@contextmanager
def demo(data_dir: Path) -> Iterator[str]:
    """The address of a running demo whose simulation has begun."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    command = [sys.executable, str(ROOT / "app.py"), "demo", "--data-dir", str(data_dir), "--seconds", "3600"]
    with (data_dir.parent / "demo.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=data_dir.parent, env=env, stdout=log, stderr=log)
    try:

        def url() -> str | None:
            assert running.poll() is None, (data_dir.parent / "demo.log").read_text()
            info = read_run_info(data_dir)
            if info is None:
                return None
            try:
                found = httpx.get(f"{info.http_url.rstrip('/')}/demo", trust_env=False).json()
            except (httpx.HTTPError, ValueError):
                return None
            return info.http_url.rstrip("/") if found.get("books", {}).get("acknowledged") else None

        found = eventually(url, within_s=180, what="the demo's simulation has begun")
        assert found is not None
        yield found
    finally:
        running.terminate()
        running.wait(scaled_s(90))


def break_it(page: Page, target: str, how: str) -> None:
    page.get_by_role("button", name=f"{how} {target}", exact=True).click()
    newest = page.locator(".breaks li").first
    expect(newest).to_contain_text(target)
    expect(newest).to_contain_text("all was well again", timeout=BACK_WITHIN_MS)


@pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)
def test_parts_of_a_demo_are_broken_from_the_page_and_nothing_is_lost_or_double(
    chrome: Browser, tmp_path: Path
) -> None:
    with demo(tmp_path / "demo") as url, opened(chrome, url) as page:
        page.get_by_label("Menu").click()
        page.get_by_role("button", name="Break the demo", exact=True).click()
        expect(page.locator(".targets li", has_text="tailer")).to_be_visible()
        break_it(page, "tailer", "kill")
        break_it(page, "api", "kill")
        break_it(page, "kafka", "kill")
        break_it(page, "redis", "cut for 10 s")
        picture(page, "demo")
        before = httpx.get(f"{url}/demo", trust_env=False).json()["books"]

        def checked() -> bool:
            books = httpx.get(f"{url}/demo", trust_env=False).json()["books"]
            return bool(books["acknowledged"] - books["waiting"] >= before["acknowledged"] > 0)

        eventually(checked, within_s=60, what="what was acknowledged is looked for")
        books = httpx.get(f"{url}/demo", trust_env=False).json()["books"]
        assert (books["lost"], books["doubled"], books["dropped"]) == (0, 0, 0)
        assert books["recorded"] >= before["acknowledged"]
        shown = page.locator(".books .badge").all_inner_texts()
        assert shown == ["0", "0"]
        refused = httpx.post(f"{url}/demo/break", json={"target": "nothing", "how": "kill"}, trust_env=False)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_broken")
        assert "name one of" in refused.json()["detail"]


def test_a_serve_that_only_bears_the_variable_of_a_demo_has_no_such_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = (
        "from infrastructure.embedded.demo_socket import DemoListener\n"
        "with DemoListener(lambda request: {}) as one:\n    print(one.path, flush=True)\n    input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", listen], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        monkeypatch.setenv(VARIABLE, child.stdout.readline().strip())
        one = Ridelog(tmp_path / "data")
        try:
            one.wait_ready()
            assert one.http.get("/demo").status_code == 404
        finally:
            one.stop()
    finally:
        child.communicate("\n", timeout=scaled_s(30))
