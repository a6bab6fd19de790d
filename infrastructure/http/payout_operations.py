"""The OpenAPI description of closing a statement, whose handler reads its body itself."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Schema

from domain.deliveries.values import MAX_TEXT_CODE_POINTS
from infrastructure.http.delivery_operations import object_body
from infrastructure.http.fraud_operations import PERSON, TIME, rider_key


@dataclass
class CloseOperation(Operation):
    """A person closes a rider's statements in one currency, up to a period."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), rider_key()]
        period = Schema(type=OpenAPIType.STRING, description="an ISO week in UTC that is over, such as 2026-W48")
        currency = Schema(type=OpenAPIType.STRING, description="ISO 4217, such as EUR")
        source = Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], max_length=MAX_TEXT_CODE_POINTS)
        fields = {"period": period, "currency": currency, "by": PERSON, "at": TIME, "source_service": source}
        self.request_body = object_body("CloseStatement", ["period", "currency", "by"], fields)
