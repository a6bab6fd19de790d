"""Tiles of another host under the map: they are asked for with the setting alone, by a server that a test runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.servers.loopback_http import LoopbackServer, QuietHandler
from tests.support.waiting import eventually
from tests.support.web.browser import chromium, opened, until
from tests.support.web.images import png_of, share_of
from tests.support.web.page import NO_BROWSER, TOKEN, ride, sign_in, signed_in, url_of, wait_on_map
from tests.support.web.pictures import picture
from tests.support.web.tile_archive import VECTOR_TILES, ArchiveServer, archive_of
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

COLOUR = (255, 0, 200)
LAST_ZOOM = 15
"""Of the server: as many servers, it has no tile below."""


class TileServer(LoopbackServer):
    """Serves tiles of one colour. ``asked``: the path and the Referer of each request."""

    def __init__(self) -> None:
        tile = png_of(COLOUR, 256, 256)
        asked: list[tuple[str, str | None]] = []

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers.get("Referer")))
                known = re.fullmatch(r"/t/(\d+)/\d+/\d+\.png", self.path)
                found = known is not None and int(known[1]) <= LAST_ZOOM
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                if found:
                    self.wfile.write(tile)

        self.asked = asked
        super().__init__(Handler, "tiles")
        self.tiles = f"{self.origin}/t/{{z}}/{{x}}/{{y}}.png"


@contextmanager
def city_with_tiles(data_dir: Path, tiles: str) -> Iterator[Ridelog]:
    with running(data_dir, tokens=f"admin={TOKEN}", map_tiles=tiles, map_attribution="© the <b>test</b>") as one:
        one.http.headers["Authorization"] = f"Bearer {TOKEN}"
        yield one


def test_tiles_appear_with_the_setting_and_say_whose_they_are(chrome: Browser, tmp_path: Path) -> None:
    """Given a tile server without the nearest zooms, when the page is zoomed into, then the tiles above are shown."""
    with TileServer() as server, city_with_tiles(tmp_path / "data", server.tiles) as city:
        assert city.http.get("/map").json()["attribution"] == "© the <b>test</b>"
        ride(city, "anna")
        with signed_in(chrome, city, others=(server.origin,), color_scheme="light") as page:
            wait_on_map(page, "anna")
            until(page, "() => window.ridelogMap.tilesLoaded > 3")
            expect(page.locator(".attribution")).to_have_text("© the <b>test</b>")
            picture(page, "tiles")
            page.evaluate("() => window.ridelogMap.zoom(8)")
            until(page, "() => window.ridelogMap.view.scale > 256 * 2 ** 16")
            # Beside the rider: its traffic cell would tint the tiles.
            page.evaluate("() => window.ridelogMap.pan(3000, 0)")
            # By a picture: the page may not read a canvas any more that shows images of another host.
            eventually(lambda: share_of(COLOUR, page.locator(".map").screenshot()) > 0.6, what="the tiles are shown")
            page.emulate_media(color_scheme="dark")
            until(page, "() => window.ridelogMap.surface.tileOpacity < 1")
        asked = {path for path, _ in server.asked}
        assert len(asked) == len(server.asked), "no tile is asked for twice"
        assert {referer for _, referer in server.asked} == {f"{city.info.http_url.rstrip('/')}/"}


def test_without_the_setting_no_tile_is_asked_for(chrome: Browser, city: Ridelog) -> None:
    """Given no setting, when the page shows a rider, then it has asked this server alone (``signed_in`` checks)."""
    assert city.http.get("/map").json() == {"tiles": None, "archive": None, "attribution": ""}
    ride(city, "without tiles")
    with signed_in(chrome, city) as page:
        wait_on_map(page, "without tiles")
        expect(page.locator(".attribution")).to_have_count(0)
        assert page.evaluate("window.ridelogMap.tilesLoaded") == 0
        assert page.evaluate("window.pmtiles === undefined"), "what reads an archive is loaded for one alone"


def test_a_server_that_starts_while_the_page_asks_for_its_tiles_is_asked_again(chrome: Browser, city: Ridelog) -> None:
    """Regression: the page asked once, and had no tiles until a reload."""
    ride(city, "late tiles")
    failures = iter((503, 503))

    def answer(route: Route) -> None:
        if (status := next(failures, None)) is not None:
            route.fulfill(status=status, json={"code": "starting", "detail": "the server starts"})
        else:
            tiles = f"{url_of(city)}/t/{{z}}/{{x}}/{{y}}.png"
            route.fulfill(json={"tiles": tiles, "archive": None, "attribution": "late tiles"})

    with opened(chrome, url_of(city)) as page:
        page.route("**/map", answer)
        page.route("**/t/**", lambda route: route.fulfill(body=png_of(COLOUR, 256, 256), content_type="image/png"))
        sign_in(page)
        wait_on_map(page, "late tiles")
        expect(page.locator(".attribution")).to_have_text("late tiles")
        until(page, "() => window.ridelogMap.tilesLoaded > 0")
        assert next(failures, None) is None


def test_tiles_of_an_archive_are_read_by_ranges(chrome: Browser, tmp_path: Path) -> None:
    """Given an archive of PNG tiles whose server starts later than the page, then its tiles are under the map.

    When it is replaced by one of vector tiles, then the page says so, and has none.
    """
    tile = png_of(COLOUR, 256, 256)
    with (
        ArchiveServer(None) as server,
        city_with_tiles(tmp_path / "data", f"{server.origin}/city.pmtiles?key=k") as city,
    ):
        ride(city, "anna")
        with signed_in(chrome, city, others=(server.origin,), color_scheme="light") as page:
            said = page.locator(".attribution.problem")
            expect(said).to_contain_text("The PMTiles archive of RIDELOG_MAP_TILES cannot be read")
            expect(said).to_have_count(1)
            picture(page, "archive-unavailable")
            server.body = archive_of(tile)
            expect(page.locator(".attribution")).to_have_text("© the <b>test</b>")
            wait_on_map(page, "anna")
            until(page, "() => window.ridelogMap.tilesLoaded > 0")
            # Beside the rider: its traffic cell would tint the tiles.
            page.evaluate("() => window.ridelogMap.pan(3000, 0)")
            eventually(lambda: share_of(COLOUR, page.locator(".map").screenshot()) > 0.6, what="the tiles are shown")
            picture(page, "archive")
            server.body = archive_of(b"vector", VECTOR_TILES)
            page.reload()
            expect(said).to_contain_text("has vector tiles. The map shows raster tiles")
            assert page.evaluate("window.ridelogMap.tilesLoaded") == 0
        assert {path for path, _ in server.asked} == {"/city.pmtiles?key=k"}
        assert all(wanted is not None for _, wanted in server.asked), "only parts of the archive are read"
