"""A small PMTiles archive (version 3) of one image for every tile, and a server that answers its ranges."""

from __future__ import annotations

import re
import struct
from typing import Final

from tests.support.servers.loopback_http import LoopbackServer, QuietHandler

HEADER_BYTES: Final = 127
PNG_TILES: Final = 2
VECTOR_TILES: Final = 1
_NO_COMPRESSION: Final = 1
_METADATA: Final = b"{}"


def archive_of(tile: bytes, tile_type: int = PNG_TILES, max_zoom: int = 4) -> bytes:
    """The bytes of an archive whose tiles of the zooms 0 to ``max_zoom`` are all ``tile``."""
    count = sum(4**zoom for zoom in range(max_zoom + 1))
    # One entry: the first tile's id, how many follow with the same content, its length, and its offset plus one.
    directory = b"".join(_varint(number) for number in (1, 0, count, len(tile), 1))
    metadata_at = HEADER_BYTES + len(directory)
    tiles_at = metadata_at + len(_METADATA)
    sections = (
        HEADER_BYTES,
        len(directory),
        metadata_at,
        len(_METADATA),
        tiles_at,
        0,
        tiles_at,
        len(tile),
        count,
        1,
        1,
    )
    world = (-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000)
    kinds = (1, _NO_COMPRESSION, _NO_COMPRESSION, tile_type, 0, max_zoom)
    header = b"PMTiles\x03" + struct.pack("<11Q6B4iB2i", *sections, *kinds, *world, 0, 0, 0)
    assert len(header) == HEADER_BYTES
    return header + directory + _METADATA + tile


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


class ArchiveServer(LoopbackServer):
    """Serves one archive by ranges, to pages of any origin. ``body`` None: it answers 503.

    ``asked``: the path and the Range of each request.
    """

    def __init__(self, body: bytes | None) -> None:
        self.body = body
        self.asked: list[tuple[str, str | None]] = []
        server = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.asked.append((self.path, wanted))
                body, known = server.body, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
                found = b"" if body is None or known is None else body[int(known[1]) : int(known[2]) + 1]
                self.send_response(206 if found else 503)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

        super().__init__(Handler, "tile-archive")
