"""``GET /pipeline``: how far each stage is, as the API measures it once a second."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from infrastructure.http.errors import errors, unavailable
from infrastructure.http.hot_route import ReadyAnswer
from infrastructure.status.lines import StatusLine
from infrastructure.status.pipeline_monitor import PipelineState


class PipelineAnswer(msgspec.Struct):
    """``stages``: in the order in which an event passes them. ``good``: none of them has an ``advice``.

    ``demo``: this server belongs to a demo, whose parts may be broken.
    """

    at_ms: int
    log_id: str
    head: int
    good: bool
    stages: list[StatusLine]
    demo: bool = False


def pipeline_route(state: Callable[[], PipelineState | None], *, demo: bool = False) -> HTTPRouteHandler:
    """``state`` returns the newest measurement and never blocks; None while none is known."""

    @get(
        "/pipeline",
        media_type=MediaType.JSON,
        opt={"role": ("read", "metrics")},
        summary="How far each stage of the pipeline is",
        responses=errors(503),
        tags=["health"],
    )
    async def get_pipeline() -> Response[PipelineAnswer]:
        """Position, events and seconds that each stage is behind, and `advice`: what to do, empty if all is well.

        The log, the tailer and each projection, with the words of `python app.py status`, which knows more: Kafka, the
        slot, audits and payments.
        """
        found = state()
        if found is None:
            raise unavailable("pipeline_unknown", "it is not measured: Postgres is unavailable; see `status`")
        good = all(line.good for line in found.lines)
        answer = PipelineAnswer(found.at_ms, found.head.log_id, found.head.position, good, found.lines, demo)
        return ReadyAnswer(msgspec.json.encode(answer), {"Cache-Control": "no-store"})

    return get_pipeline
