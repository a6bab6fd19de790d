"""The setting of the map's tiles: its origin goes into a header, and nothing of a key that it has is shown."""

from __future__ import annotations

import pytest

from infrastructure.http.web_page import CSP, policy
from infrastructure.settings.map_tiles import map_tiles
from infrastructure.settings.redaction import redact
from infrastructure.settings.settings import Settings, SettingsError

TILES = "https://tile.example.org/{z}/{x}/{y}.png"


@pytest.mark.parametrize(
    ("template", "origin"),
    [
        (TILES, "https://tile.example.org"),
        ("http://127.0.0.1:8080/t/{z}/{x}/{y}", "http://127.0.0.1:8080"),
        ("https://[::1]:8443/{z}/{x}/{y}.webp?key=secret-of-tiles", "https://[::1]:8443"),
        ("https://Tile.Example.org/wmts?z={z}&x={x}&y={y}", "https://tile.example.org"),
    ],
)
def test_the_origin_is_the_only_other_host_of_the_policy(template: str, origin: str) -> None:
    tiles = map_tiles(template)
    assert (tiles.origin, tiles.is_archive) == (origin, False)
    rules, before = policy(tiles).split("; "), CSP.split("; ")
    assert [rule for rule in rules if rule not in before] == [f"img-src 'self' {origin} data:"]
    assert len(rules) == len(before)


@pytest.mark.parametrize(
    "archive", ["https://tile.example.org/city.pmtiles", "https://tile.example.org/City.PMTILES?k=1"]
)
def test_an_archive_is_read_and_is_no_image(archive: str) -> None:
    tiles = map_tiles(archive)
    assert tiles.is_archive
    rules, before = policy(tiles).split("; "), CSP.split("; ")
    assert [rule for rule in rules if rule not in before] == ["connect-src 'self' https://tile.example.org"]
    assert len(rules) == len(before)


def test_without_the_setting_the_policy_has_no_other_host() -> None:
    assert Settings.load({}, {}, None).map_tiles is None
    assert policy(None) == CSP
    assert "http" not in CSP


@pytest.mark.parametrize(
    "template",
    [
        "tile.example.org/{z}/{x}/{y}.png",
        "javascript:alert(1)//{z}/{x}/{y}",
        "https://tile.example.org/{z}/{x}.png",
        "https://tile.example.org; script-src *; x/{z}/{x}/{y}.png",
        "https://tile.example.org;script-src/{z}/{x}/{y}.png",
        "https://*/{z}/{x}/{y}.png",
        "https://'unsafe-inline'/{z}/{x}/{y}.png",
        "https://user:pass-word@tile.example.org/{z}/{x}/{y}.png",
        "https://tile.example.org:99999/{z}/{x}/{y}.png",
        "https:///{z}/{x}/{y}.png",
        "https://tile.example.org/{z}/{x}/{y}.png#part",
        "https://tile.example.org/city.pmtiles.zip",
        "https://tile.example.org;script-src/city.pmtiles",
        "city.pmtiles",
        "https://tile.example.org/{z}/{x}/\r\nX: {y}",
    ],
)
def test_what_is_no_address_of_tiles_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(SettingsError, match="RIDELOG_MAP_TILES") as caught:
        Settings.load({}, {"RIDELOG_MAP_TILES": template}, None)
    assert "{z}/{x}/{y}" in str(caught.value)
    assert "pass-word" not in str(caught.value)


def test_a_key_of_the_tile_server_is_in_no_report_and_no_log() -> None:
    for address in (TILES, "https://tile.example.org/city.pmtiles"):
        settings = Settings.load({}, {"RIDELOG_MAP_TILES": f"{address}?key=secret-of-tiles"}, None)
        assert settings.public()["map_tiles"] == f"{address}?***"
    assert redact("GET /1/2/3.png?key=secret-of-tiles") == "GET /1/2/3.png?key=***"
