"""``?at=T&axis=known|event`` and ``?position=P``: parses the parameters of a read as of the past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final, TypeVar, get_args

from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import Parameter

from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.paging import instant_ms, whole_number
from infrastructure.observability import metrics
from infrastructure.replay.past_etas import LogTooLong
from infrastructure.schema_registry.client import RegistryUnavailable
from projections.core.ports import PortUnavailable, SinkRejected
from projections.replay.as_of import AsOf, AsOfProblem, Axis, InvalidAsOf, Unresolvable, checked_as_of
from projections.replay.key_replay import TooLong

At = Annotated[str | None, Parameter(description="as of this instant: epoch milliseconds, or RFC 3339 with zone")]
OnAxis = Annotated[
    str | None,
    Parameter(
        description="what `at` means: known (default; transaction time), the events recorded by then; event (valid"
        " time), the events that had happened by then, whenever they were recorded",
    ),
]
AtPosition = Annotated[
    str | None,
    Parameter(
        description="as of this position of the log; with axis=event, the part of the log to read",
        # Parsed by our own rule for integers: the framework accepts 1e3, and converts large ones through a float.
        schema_extra={
            "one_of": [Schema(type=OpenAPIType.INTEGER, minimum=0), Schema(type=OpenAPIType.NULL)],
        },
    ),
]
MAX_PAST_THREADS: Final = 4
_PAST_THREADS: Final = ThreadPoolExecutor(MAX_PAST_THREADS, thread_name_prefix="past-reads")
"""Reads of the past take seconds, and wait for each other. In the loop's own few threads they would keep the health
checks and the reads of deliveries waiting, and the node would be taken out of service."""

T = TypeVar("T")

_UNAVAILABLE: Final = (PortUnavailable, RegistryUnavailable)
PAST = (Unresolvable, TooLong, SinkRejected, *_UNAVAILABLE)
"""The errors of a past read that cannot be answered; ``past_error`` maps them."""


def as_of(at: str | None, axis: str | None, at_position: str | None) -> AsOf | None:
    """The instant or position that the parameters name, None for the present. Raises ApiError (400)."""
    position = None if at_position is None else whole_number("position", at_position)
    try:
        return checked_as_of(None if at is None else partial(instant_ms, "at", at), axis, position)
    except InvalidAsOf as error:
        raise _invalid(error.problem, position) from error


def _invalid(problem: AsOfProblem, position: int | None) -> ApiError:
    match problem:
        case AsOfProblem.NEGATIVE_POSITION:
            return ApiError(400, "invalid_request", f"position is from 0, not {position}")
        case AsOfProblem.UNKNOWN_AXIS:
            ways = ", ".join(get_args(Axis))
            return ApiError(400, "invalid_axis", f"axis is known or event (give ?position= for the third of {ways})")
        case AsOfProblem.AXIS_WITHOUT_INSTANT:
            return ApiError(400, "invalid_request", "axis says what at means: give ?at= too")
        case AsOfProblem.INSTANT_AND_POSITION:
            return ApiError(400, "invalid_request", "give either at or position; both only with axis=event")


async def in_thread(when: AsOf | None, work: Callable[[], T]) -> T:
    """Run ``work``, which blocks, in a thread of the loop's own executor; a read of the past, in one of its own."""
    return await asyncio.get_running_loop().run_in_executor(None if when is None else _PAST_THREADS, work)


@contextmanager
def answering() -> Iterator[None]:
    """Time an answer about the past. Raises ApiError for a past that cannot be answered."""
    began, outcome = time.perf_counter(), "answered"
    try:
        yield
    except PAST as error:
        outcome = "unavailable" if isinstance(error, _UNAVAILABLE) else "refused"
        raise past_error(error) from error
    finally:
        metrics.REPLAY_SECONDS.labels(outcome).observe(time.perf_counter() - began)


async def read_past(when: AsOf, work: Callable[[], T]) -> T:
    """Run ``work``, which blocks and answers about the past, in a thread. Raises ApiError as ``answering`` does."""
    with answering():
        return await in_thread(when, work)


def past_error(error: Exception) -> ApiError:
    """The response for one of PAST."""
    if isinstance(error, Unresolvable):
        return ApiError(400, error.code, str(error))
    if isinstance(error, SinkRejected):
        return ApiError(400, "invalid_request", f"the database cannot take a value of this request: {error}")
    if isinstance(error, LogTooLong):
        return ApiError(422, "replay_too_long", str(error))
    if isinstance(error, TooLong):
        return ApiError(422, "replay_too_long", f"{error}: `python app.py replay` has no such limit")
    return unavailable("event_store_unavailable", str(error))
