"""The setting ``map_tiles``: where the page's map gets its tiles, and the one origin that the page may then ask."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

WANTED: Final = "write https://host/{z}/{x}/{y}.png, or https://host/city.pmtiles"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_PRINTABLE: Final = re.compile(r"[!-~]+")


class MapTiles(NamedTuple):
    """``address``: a template with {z}, {x} and {y}, or that of an archive.

    ``origin``: as a policy names it. ``shown``: the address without its query. ``is_archive``: it is one of PMTiles,
    which the page reads by ranges; else each tile is an image of its own.
    """

    address: str
    origin: str
    shown: str
    secrets: frozenset[str]
    is_archive: bool


def map_tiles(address: str) -> MapTiles:
    """Parses the setting. Raises ValueError, with a message that quotes nothing of it: a tile server may want a key."""
    try:
        found = urlsplit(address)
        port = found.port
    except ValueError:
        raise ValueError(f"it is no address; {WANTED}") from None
    if not _PRINTABLE.fullmatch(address) or found.scheme not in {"http", "https"} or found.fragment:
        raise ValueError(f"it is no address of tiles; {WANTED}")
    is_archive = found.path.lower().endswith(".pmtiles")
    missing = [field for field in ("{z}", "{x}", "{y}") if field not in found.path + found.query]
    if missing and not is_archive:
        raise ValueError(f"it has no {', '.join(missing)}; {WANTED}")
    # The origin is written into a header. A host with a quote, a blank or a semicolon would add rules to it.
    host = found.netloc.rpartition(":")[0] if port is not None else found.netloc
    if not _HOST.fullmatch(host):
        raise ValueError(f"its host is none, or has a user; {WANTED}")
    origin = f"{found.scheme}://{host.lower()}{'' if port is None else f':{port}'}"
    values = {value for _, value in parse_qsl(found.query) if not re.search(r"\{[xyz]\}", value)}
    shown = f"{origin}{found.path}{'?***' if found.query else ''}"
    return MapTiles(address, origin, shown, frozenset(values), is_archive)
