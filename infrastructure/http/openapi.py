"""What OpenAPI cannot see of a handler that reads its body itself."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

_PING = Schema(
    title="Ping",
    type=OpenAPIType.OBJECT,
    required=["rider_id", "latitude", "longitude", "event_timestamp_ms"],
    properties={
        "rider_id": Schema(
            type=OpenAPIType.STRING,
            min_length=1,
            max_length=128,
            description="printable, no '/', no leading or trailing space",
        ),
        "latitude": Schema(type=OpenAPIType.NUMBER, minimum=-90, maximum=90, description="WGS84 degrees"),
        "longitude": Schema(type=OpenAPIType.NUMBER, minimum=-180, maximum=180, description="WGS84 degrees"),
        "event_timestamp_ms": Schema(
            one_of=[Schema(type=OpenAPIType.INTEGER), Schema(type=OpenAPIType.STRING)],
            description="epoch milliseconds, or RFC 3339 with zone; not before 2000, at most 5 minutes ahead",
        ),
        "accuracy_meters": Schema(
            type=[OpenAPIType.NUMBER, OpenAPIType.NULL], minimum=0, description="68 % radius in metres"
        ),
        "speed_mps": Schema(
            type=[OpenAPIType.NUMBER, OpenAPIType.NULL], description="by the device; negative = unknown"
        ),
        "event_id": Schema(
            type=[OpenAPIType.STRING, OpenAPIType.NULL],
            description="UUID; derived from the fix where none is sent",
        ),
        "source_service": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], max_length=128),
    },
)


@dataclass
class PingsOperation(Operation):
    """One ping, or an array of 1 to 10,000."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            required=True,
            description="A ping, or an array of 1 to 10,000; at most 8 MiB, inflated. Content-Encoding may be gzip or "
            "deflate. Items are judged one by one.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=Schema(
                        one_of=[
                            Schema(type=OpenAPIType.ARRAY, items=_PING, min_items=1, max_items=10_000),
                            _PING,
                        ]
                    )
                )
            },
        )
