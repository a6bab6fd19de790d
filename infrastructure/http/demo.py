"""``/demo``: breaks parts of a demo and counts what is lost and double. The routes exist in a demo alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.openapi.spec import OpenAPIType, Operation, Schema

from domain.errors import DomainError
from infrastructure.embedded.demo_socket import Ask, DemoUnavailable
from infrastructure.http.command_body import decode_object, text
from infrastructure.http.delivery_operations import object_body
from infrastructure.http.errors import ApiError, errors, unavailable
from infrastructure.http.request_body import read_body

MAX_BODY_BYTES: Final = 4 * 1024


class DemoTarget(msgspec.Struct):
    """A part that runs now. ``hows``: `kill` (SIGKILL), `cut` (no answer for ten seconds)."""

    name: str
    hows: list[str]


class DemoBreakItem(msgspec.Struct):
    """``back_after_s``: until the part ran again and every stage was well; null before. ``problem``: why not."""

    target: str
    how: str
    at_ms: int
    back_after_s: float | None
    problem: str


class DemoBooks(msgspec.Struct):
    """What the server has acknowledged to the simulator, compared with the log since the demo began.

    ``acknowledged`` pings and commands, of which ``waiting`` are not looked for yet; ``recorded``: different ones in
    the log, up to ``position``; ``lost``: acknowledged and not in the log; ``doubled``: there more than once.
    """

    acknowledged: int
    waiting: int
    recorded: int
    lost: int
    doubled: int
    dropped: int
    position: int


class DemoAnswer(msgspec.Struct):
    """The parts, what was broken (the newest last), and the books."""

    targets: list[DemoTarget]
    breaks: list[DemoBreakItem]
    books: DemoBooks


class _Refused(msgspec.Struct):
    refused: str = ""


@dataclass
class BreakOperation(Operation):
    """What to break."""

    def __post_init__(self) -> None:
        target = Schema(type=OpenAPIType.STRING, description="a name of GET /demo")
        how = Schema(type=OpenAPIType.STRING, enum=["kill", "cut"])
        self.request_body = object_body("DemoBreakRequest", ["target", "how"], {"target": target, "how": how})


def demo_router(ask: Ask) -> Router:
    """``ask``: of the demo that has started this process."""

    @get(
        media_type=MediaType.JSON,
        opt={"role": "read"},
        sync_to_thread=True,
        responses=errors(503),
        summary="Parts of the demo, and what is lost and double",
    )
    def get_demo() -> DemoAnswer:
        """The counts are made by the demo, which outlives what it breaks."""
        return msgspec.convert(_asked(ask, {"do": "state"}), DemoAnswer)

    @post(
        "/break",
        opt={"role": "admin"},
        status_code=202,
        operation_class=BreakOperation,
        responses=errors(400, 408, 409, 413, 415, 503),
        summary="Kill or cut a part of the demo",
    )
    async def break_demo(request: Request[Any, Any, Any]) -> DemoBreakItem:
        """`{"target": "redis", "how": "cut"}`. One at a time; `serve` repairs it."""
        body = await read_body(request, MAX_BODY_BYTES)
        try:
            item = decode_object(body)
            wanted = {"do": "break", "target": text(item, "target"), "how": text(item, "how")}
        except DomainError as error:
            raise ApiError(400, error.code, str(error)) from error
        answer = await sync_to_thread(_asked, ask, wanted)
        if refused := msgspec.convert(answer, _Refused).refused:
            raise ApiError(409, "not_broken", refused)
        return msgspec.convert(answer, DemoBreakItem)

    return Router("/demo", route_handlers=[get_demo, break_demo], tags=["demo"])


def _asked(ask: Ask, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return ask(request)
    except DemoUnavailable as error:
        raise unavailable("demo_unavailable", f"{error}; see the terminal in which it runs") from error
