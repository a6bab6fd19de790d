"""The OpenAPI description of a review, whose handler reads its body itself."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.openapi.spec import Parameter as ParameterSpec

from domain.deliveries.values import MAX_TEXT_CODE_POINTS
from domain.riders.commands import MAX_WHY_CODE_POINTS
from domain.riders.review import Verdict
from domain.riders.rider import MAX_KEPT
from infrastructure.http.delivery_operations import object_body

TIME = Schema(
    one_of=[Schema(type=kind) for kind in (OpenAPIType.INTEGER, OpenAPIType.STRING, OpenAPIType.NULL)],
    description="epoch milliseconds, or RFC 3339 with zone; not before 2000, at most 5 minutes ahead; by default now",
)
PERSON = Schema(
    type=OpenAPIType.STRING,
    min_length=1,
    max_length=MAX_TEXT_CODE_POINTS,
    description="who decides; printable, not blank. The rider can read it",
)


def rider_key() -> ParameterSpec:
    """The header ``Idempotency-Key`` of a command on a rider, with its bound."""
    return ParameterSpec(
        name="Idempotency-Key",
        param_in="header",
        required=False,
        schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=MAX_TEXT_CODE_POINTS),
        description="Of one rider. The same key with the same command is not recorded again, with another: 409. "
        f"The latest {MAX_KEPT} keys of a rider's reviews and closings are known. An older key counts as a new one: a "
        "review is then recorded again and becomes the latest of its alert, unless that says the same, and a closing "
        "is refused with 409 `statement_closed`. So read the alert or the statement before you repeat an old command.",
    )


@dataclass
class ReviewOperation(Operation):
    """A person's verdict on an alert."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), rider_key()]
        why = Schema(
            type=OpenAPIType.STRING,
            min_length=1,
            max_length=MAX_WHY_CODE_POINTS,
            description="the reason, for people; printable, not blank. The rider can read it",
        )
        source = Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], max_length=MAX_TEXT_CODE_POINTS)
        verdict = Schema(type=OpenAPIType.STRING, enum=[each.value for each in Verdict])
        fields = {"verdict": verdict, "by": PERSON, "why": why, "at": TIME, "source_service": source}
        self.request_body = object_body("Review", ["verdict", "by", "why"], fields)
