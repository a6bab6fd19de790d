"""The page under ``/`` and its files. Programs get the links of ``/`` as JSON, as Accept says."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from infrastructure.http.errors import ApiError, errors
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.settings.map_tiles import MapTiles

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The page loads its own files and nothing else: no inline script, no other host."""


def policy(tiles: MapTiles | None) -> str:
    """``CSP``, with the one origin that the setting ``map_tiles`` names: for images, or for reads of an archive."""
    if tiles is None:
        return CSP
    rule = "connect-src 'self'" if tiles.is_archive else "img-src 'self'"
    return CSP.replace(rule, f"{rule} {tiles.origin}")


_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "LICENSE": "text/plain; charset=utf-8",
}
_PACKAGE: Final = "infrastructure.http"
PAGE: Final = "index.html"
LOADED_LATER: Final = frozenset({"map/tile_archive.js", "vendor/pmtiles.js"})
"""Modules that few pages need: each is loaded when it is needed."""


_OF_VERSION: Final = re.compile(r"(?P<version>[0-9a-f]{20})/(?P<name>.+)")
_KEPT: Final = "public, max-age=31536000, immutable"
"""For an address with the version of these files: other bytes have another address, so no start asks for them again.

With another version, as of a page that was open while the server was updated, the file of now is answered and not kept.
"""


class WebFile(NamedTuple):
    """A file as it is sent. ``etag`` is the hash of its bytes, so that a browser asks again and loads once."""

    body: bytes
    zipped: bytes
    media_type: str
    etag: str


@cache
def version() -> str:
    """The hash of all files of the page, which its address of each file has."""
    found = hashlib.sha256()
    for name, body in sorted(_bodies().items()):
        found.update(f"{name}\0{len(body)}\0".encode() + body)
    return found.hexdigest()[:20]


def _bodies() -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in _below(resources.files(_PACKAGE).joinpath("web"), "")}


@cache
def web_files() -> dict[str, WebFile]:
    """Every file of the page by its path under ``/web``."""
    bodies = _bodies()
    bodies[PAGE] = _with_version(_with_preloads(bodies[PAGE], sorted(bodies)))
    found: dict[str, WebFile] = {}
    for name, body in bodies.items():
        suffix = name.rpartition(".")[2]
        if suffix in _TYPES:
            etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            # No time in the header, so that the same bytes are zipped to the same bytes.
            found[name] = WebFile(body, gzip.compress(body, 9, mtime=0), _TYPES[suffix], etag)
    return found


def _with_preloads(page: bytes, names: Iterable[str]) -> bytes:
    """The page with a link to every module that its text does not name: a browser then asks for all of them at once.

    Without the links it learns of a module only from one that imports it, five times one after the other.
    """
    wanted = [name for name in names if name.endswith(".js") and name not in LOADED_LATER]
    modules = [name for name in wanted if f"web/{name}".encode() not in page]
    links = "".join(f'    <link rel="modulepreload" href="web/{name}">\n' for name in modules)
    head, end, body = page.partition(b"  </head>")
    return head + links.encode() + end + body


def _with_version(page: bytes) -> bytes:
    """The page with the version in each address. Modules name each other relatively, and so have it too."""
    return page.replace(b'"web/', f'"web/{version()}/'.encode())


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    """The files of a folder and of the folders in it, with their paths."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def index_route(links: dict[str, str], csp: str = CSP) -> HTTPRouteHandler:
    """``GET /``: the page for a browser, under ``csp``; ``links`` for a program."""

    @get("/", summary="Links to the rest; the page for a browser", tags=["health"], responses=errors(public=True))
    async def index(request: Request[Any, Any, Any]) -> Response[dict[str, str | dict[str, str]]]:
        """Needs no token: it shows nothing that the description under ``/schema`` does not show.

        With `Accept: text/html`, the page.
        """
        if "text/html" in request.headers.get("accept", "").lower():
            return _answer(request, web_files()[PAGE], {"Content-Security-Policy": csp})
        return Response({"service": "ridelog", "links": links}, headers={"Vary": "Accept"}, media_type=MediaType.JSON)

    return index


def web_files_route() -> HTTPRouteHandler:
    """``GET /web/…``: the files of the page. They hold no data, and need no token."""

    @get("/web/{name:path}", include_in_schema=False)
    async def web_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Any]:
        path = str(name).removeprefix("/")
        of_version = _OF_VERSION.fullmatch(path)
        file = web_files().get(of_version["name"] if of_version else path)
        if file is None:
            raise ApiError(404, "not_found", "the page has no such file")
        is_current = of_version is not None and of_version["version"] == version()
        return _answer(request, file, {"Cache-Control": _KEPT} if is_current else {})

    return web_file


def _answer(request: Request[Any, Any, Any], file: WebFile, more: dict[str, str]) -> Response[Any]:
    headers = {
        "Content-Type": file.media_type,
        "ETag": file.etag,
        # The page is asked for each time: after an update of the server none runs with files of two versions.
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept, Accept-Encoding",
        **more,
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return _FileAnswer(304, b"", headers)
    if "gzip" in request.headers.get("accept-encoding", "").lower():
        return _FileAnswer(200, file.zipped, headers | {"Content-Encoding": "gzip"})
    return _FileAnswer(200, file.body, headers)


class _FileAnswer(ReadyAnswer[Any]):
    """A body that is ready, of any type and status."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(body, {})
        named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        length = [] if status == 304 else [(b"content-length", b"%d" % len(body))]
        self._start = {"type": "http.response.start", "status": status, "headers": named + length}
