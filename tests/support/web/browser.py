"""A real Chromium that opens the page, and fails the test for any error or violation that the browser reports."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")

EXPECTED_STATUSES: Final = (401, 404, 409)
"""Answers that the page asks for and handles: without a session, an order that is not served yet, one that is over."""


def chromium() -> str | None:
    """The path of an installed Chromium, None if there is none."""
    named = os.environ.get("RIDELOG_TEST_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


class PageProblems:
    """What a browser reported of one page."""

    def __init__(self, page: Page, url: str, others: tuple[str, ...]) -> None:
        self.found: list[str] = []
        self.foreign: list[str] = []
        self._url = url
        self._others = others
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        # The browser logs each answer that is an error; ``_on_response`` judges those by their status.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.found.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, "data:", *self._others)):
            self.foreign.append(request.url)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in EXPECTED_STATUSES and response.status != 503:
            self.found.append(f"{response.status} for {response.url}")


WAIT_S: Final = 60.0


def until(page: Page, expression: str, argument: Any = None) -> None:
    """Wait until the expression is true in the page. Raises AssertionError after WAIT_S.

    Playwright's own wait_for_function evaluates text inside the page, which the page's policy forbids.
    """
    ends = time.monotonic() + WAIT_S
    while not page.evaluate(expression, argument):
        assert time.monotonic() < ends, f"not true within {WAIT_S:g} s: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield one
        finally:
            one.close()


@contextmanager
def opened(one: Browser, url: str, path: str = "/", others: tuple[str, ...] = (), **context: Any) -> Iterator[Page]:
    """The page in a context of its own, which may ask ``others`` too.

    Raises AssertionError at the end for whatever the browser reported.
    """
    options = {"viewport": {"width": 1280, "height": 800}, **context}
    with one.new_context(**cast("Any", options)) as held:
        page = held.new_page()
        problems = PageProblems(page, url, others)
        page.set_default_timeout(60_000)
        page.goto(url + path)
        yield page
        page.wait_for_timeout(50)  # what is reported late
    assert problems.found == []
    assert problems.foreign == [], "the page asked another host"
