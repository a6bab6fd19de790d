"""The OpenAPI descriptions of the requests of ``/deliveries``, whose handlers read their bodies themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Reference, RequestBody, Schema
from litestar.openapi.spec import Parameter as ParameterSpec

from domain.deliveries.values import MAX_ITEMS, MAX_REASON_CODE_POINTS, MAX_SECONDS, MAX_TEXT_CODE_POINTS
from domain.identifiers import MAX_ID_CODE_POINTS

_ID: Final = Schema(
    type=OpenAPIType.STRING,
    min_length=1,
    max_length=MAX_ID_CODE_POINTS,
    description="printable, no '/', no leading or trailing space",
)
_TIME: Final = Schema(
    one_of=[Schema(type=kind) for kind in (OpenAPIType.INTEGER, OpenAPIType.STRING, OpenAPIType.NULL)],
    description="epoch milliseconds, or RFC 3339 with zone; not before 2000, at most 5 minutes ahead; by default now",
)
_PLACE: Final = Schema(
    title="Place",
    type=OpenAPIType.OBJECT,
    required=["latitude", "longitude"],
    properties={
        "latitude": Schema(type=OpenAPIType.NUMBER, minimum=-90, maximum=90, description="WGS84 degrees"),
        "longitude": Schema(type=OpenAPIType.NUMBER, minimum=-180, maximum=180, description="WGS84 degrees"),
    },
)


def _text(most: int, description: str | None = None) -> Schema:
    return Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], max_length=most, description=description)


def _count(most: int, description: str) -> Schema:
    return Schema(type=[OpenAPIType.INTEGER, OpenAPIType.NULL], minimum=0, maximum=most, description=description)


_SOURCE: Final = _text(MAX_TEXT_CODE_POINTS, "the program that sends this")
_REASON: Final = _text(MAX_REASON_CODE_POINTS, "for people")


def object_body(title: str, required: list[str], properties: dict[str, Schema]) -> RequestBody:
    described: dict[str, Reference | Schema] = {**properties}
    schema = Schema(title=title, type=OpenAPIType.OBJECT, required=required or None, properties=described)
    return RequestBody(
        required=bool(required),
        description="At most 64 KiB, inflated. Unknown fields are ignored.",
        content={"application/json": OpenAPIMediaType(schema=schema)},
    )


@dataclass
class _CommandOperation(Operation):
    def __post_init__(self) -> None:
        key = ParameterSpec(
            name="Idempotency-Key",
            param_in="header",
            required=False,
            schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=MAX_TEXT_CODE_POINTS),
            description="Of one order. The same key with the same command is not recorded again, with another: 409.",
        )
        self.parameters = [*(self.parameters or []), key]
        self.request_body = self.body()

    @staticmethod
    def body() -> RequestBody:
        return object_body("Step", [], {"at": _TIME, "source_service": _SOURCE})


@dataclass
class PlaceOperation(_CommandOperation):
    """An order of a customer at a restaurant."""

    @staticmethod
    def body() -> RequestBody:
        return object_body(
            "Order",
            ["order_id", "restaurant", "customer", "time_zone", "currency"],
            {
                "order_id": _ID,
                "restaurant": _PLACE,
                "customer": _PLACE,
                "time_zone": Schema(type=OpenAPIType.STRING, description="IANA name, such as Europe/Berlin"),
                "currency": Schema(type=OpenAPIType.STRING, description="ISO 4217 code, such as EUR"),
                "placed_at": _TIME,
                "city": _text(MAX_TEXT_CODE_POINTS),
                "preparation_seconds": _count(MAX_SECONDS, "from placing until the food is ready, as estimated"),
                "promised_seconds": _count(MAX_SECONDS, "from placing until hand-over, as promised"),
                "items": _count(MAX_ITEMS, "how many things to carry"),
                "source_service": _SOURCE,
            },
        )


@dataclass
class StepOperation(_CommandOperation):
    """A step that needs nothing but its time."""


@dataclass
class AssignOperation(_CommandOperation):
    """A rider takes the order."""

    @staticmethod
    def body() -> RequestBody:
        return object_body("Assignment", ["rider_id"], {"rider_id": _ID, "at": _TIME, "source_service": _SOURCE})


@dataclass
class ReasonedOperation(_CommandOperation):
    """A step that may have a reason."""

    @staticmethod
    def body() -> RequestBody:
        return object_body("ReasonedStep", [], {"reason": _REASON, "at": _TIME, "source_service": _SOURCE})


OPERATIONS: Final[dict[str, type[Operation]]] = {
    "assign": AssignOperation,
    "unassign": ReasonedOperation,
    "pickup": StepOperation,
    "arrive": StepOperation,
    "complete": StepOperation,
    "cancel": ReasonedOperation,
}
"""By verb."""
