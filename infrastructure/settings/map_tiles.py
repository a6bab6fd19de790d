"""The setting ``map_tiles``: where the page's map gets its tiles, and the one origin that the page may then ask."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

WANTED: Final = "write https://host/{z}/{x}/{y}.png"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_PRINTABLE: Final = re.compile(r"[!-~]+")


class MapTiles(NamedTuple):
    """``template`` has {z}, {x} and {y}. ``origin``: as a policy names it. ``shown``: the address without its query."""

    template: str
    origin: str
    shown: str
    secrets: frozenset[str]


def map_tiles(template: str) -> MapTiles:
    """Parses the setting. Raises ValueError, with a message that quotes nothing of it: a tile server may want a key."""
    try:
        found = urlsplit(template)
        port = found.port
    except ValueError:
        raise ValueError(f"it is no address; {WANTED}") from None
    if not _PRINTABLE.fullmatch(template) or found.scheme not in {"http", "https"} or found.fragment:
        raise ValueError(f"it is no address of tiles; {WANTED}")
    missing = [field for field in ("{z}", "{x}", "{y}") if field not in found.path + found.query]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}; {WANTED}")
    # The origin is written into a header. A host with a quote, a blank or a semicolon would add rules to it.
    host = found.netloc.rpartition(":")[0] if port is not None else found.netloc
    if not _HOST.fullmatch(host):
        raise ValueError(f"its host is none, or has a user; {WANTED}")
    origin = f"{found.scheme}://{host.lower()}{'' if port is None else f':{port}'}"
    values = {value for _, value in parse_qsl(found.query) if not re.search(r"\{[xyz]\}", value)}
    return MapTiles(template, origin, f"{origin}{found.path}{'?***' if found.query else ''}", frozenset(values))
