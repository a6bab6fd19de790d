"""Bytes that commit 6bfbdcb stored, the last one before modules and classes were renamed."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import StoredEvent

from domain.events.contracts import current, versions
from domain.identifiers import aggregate_id

T_MS = 1_790_000_000_000
RIDER_ID = aggregate_id("Rider", "anna")

_RELEASES = (
    *(("GpsPing", 1), ("GpsPing", 2), ("LegEnded", 1), ("LegStarted", 1)),
    *(("RiderLocation", 1), ("RiderRegistered", 1), ("ShiftEnded", 1), ("ShiftStarted", 1)),
    *(("LegEnded", 2), ("LegStarted", 2), ("RiderRegistered", 2), ("ShiftEnded", 2), ("ShiftStarted", 2)),
    *(("DeliveryPlaced", 1), ("DeliveryAssigned", 1), ("DeliveryUnassigned", 1), ("DeliveryPickedUp", 1)),
    *(("DeliveryArrived", 1), ("DeliveryCompleted", 1), ("DeliveryCancelled", 1)),
    *(("AlertReviewed", 1), ("StatementClosed", 1), ("GpsPing", 3)),
)


class StoredSchemaIds:
    """The ids of the stored bytes: 1, 2, 3 … in the order of release, as a registry gives them."""

    def __init__(self) -> None:
        self._contracts = [
            next(each for each in versions(record) if each.version == version) for record, version in _RELEASES
        ]

    def id_of(self, record: str) -> int:
        return self._contracts.index(current(record)) + 1

    def schema_of(self, schema_id: int) -> dict[str, Any]:
        return self._contracts[schema_id - 1].schema

    def forget(self) -> None:
        """Does nothing: these ids never change."""


EVENTS: tuple[tuple[str, bytes], ...] = (
    (
        "RiderRegistered",
        bytes.fromhex(
            "000000000608616e6e6180b083c598684863616237393930382d373364342d353936382d613432612d643265303065323661393236"
        ),
    ),
    (
        "ShiftStarted",
        bytes.fromhex(
            "000000000808616e6e61d0bf83c598684831376130306531362d393230652d356365362d396632352d376431613565303231356133"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000000208616e6e610000000000404a40cdcccccccccc2a4090fe83c59868020000a04002000088400448306237653964"
            "31632d336636612d346630652d386636352d303030303030303030303031e08d84c598680e756e6b6e6f776e"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000000208616e6e61f2d24d6210404a40931804560ecd2a40b09a85c598680000044830623765396431632d336636612d"
            "346630652d386636352d30303030303030303030303298a285c598680e756e6b6e6f776e"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000000208616e6e619cbf098508404a40221add41eccc2a40a0cc84c59868020000084100044830623765396431632d33"
            "6636612d346630652d386636352d303030303030303030303033809ab4c5986816636f75726965722d617070"
        ),
    ),
    (
        "LegStarted",
        bytes.fromhex(
            "000000000408616e6e61a0c985c598684839313235313765322d613436372d356231392d613837622d353739633666366266"
            "3334660e6f726465722d371a746f5f72657374617572616e74e17a14ae47414a4052b81e85ebd12a40"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000000208616e6e61cdcccccccc4c4a400000000000002b40c0e885c59868020000a04200044830623765396431632d33"
            "6636612d346630652d386636352d303030303030303030303034a8f085c598680e756e6b6e6f776e"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000000208616e6e61aa60545227404a4005c58f3177cd2a40b08b8ac59868020000c040020000b0400448306237653964"
            "31632d336636612d346630652d386636352d303030303030303030303035e08487c598680e756e6b6e6f776e"
        ),
    ),
)
"""Event type and payload (framed Avro) of one rider, in the order of its stream, as commit 6bfbdcb stored them."""

EVENTS_V2: tuple[tuple[str, bytes], ...] = (
    (
        "RiderRegistered",
        bytes.fromhex(
            "000000000b08616e6e6180b083c598684863616237393930382d373364342d353936382d613432612d643265303065323661"
            "39323606632d314831666237316330382d386130392d356437302d623461622d383463303963666332303833"
        ),
    ),
    (
        "ShiftStarted",
        bytes.fromhex(
            "000000000d08616e6e61d0bf83c598684831376130306531362d393230652d356365362d396632352d376431613565303231"
            "35613306632d3200"
        ),
    ),
    EVENTS[2],
    EVENTS[3],
    EVENTS[4],
    (
        "LegStarted",
        bytes.fromhex(
            "000000000a08616e6e61a0c985c598684839313235313765322d613436372d356231392d613837622d353739633666366266"
            "3334660e6f726465722d371a746f5f72657374617572616e74e17a14ae47414a4052b81e85ebd12a400c4265726c696e1a45"
            "75726f70652f4265726c696e0645555202c025000873686f70066b6579403238666261393565346338353931356335623764"
            "6661386663393331633638664831666237316330382d386130392d356437302d623461622d383463303963666332303833"
        ),
    ),
    EVENTS[6],
    EVENTS[7],
)
"""The same rider under the second contracts of the events that are no pings."""

_PINGS_V3: tuple[tuple[str, bytes], ...] = (
    (
        "GpsPing",
        bytes.fromhex(
            "000000001708616e6e610000000000404a40cdcccccccccc2a4090fe83c59868020000a04002000088400648306237653964"
            "31632d336636612d346630652d386636352d303030303030303030303031e08d84c598680e756e6b6e6f776e00"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000001708616e6e61f2d24d6210404a40931804560ecd2a40b09a85c598680000064830623765396431632d336636612d"
            "346630652d386636352d30303030303030303030303298a285c598680e756e6b6e6f776e00"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000001708616e6e619cbf098508404a40221add41eccc2a40a0cc84c59868020000084100064830623765396431632d33"
            "6636612d346630652d386636352d303030303030303030303033809ab4c5986816636f75726965722d61707000"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000001708616e6e61cdcccccccc4c4a400000000000002b40c0e885c59868020000a04200064830623765396431632d33"
            "6636612d346630652d386636352d303030303030303030303034a8f085c598680e756e6b6e6f776e00"
        ),
    ),
    (
        "GpsPing",
        bytes.fromhex(
            "000000001708616e6e61aa60545227404a4005c58f3177cd2a40b08b8ac59868020000c040020000b0400648306237653964"
            "31632d336636612d346630652d386636352d303030303030303030303035e08487c598680e756e6b6e6f776e00"
        ),
    ),
)

EVENTS_V3: tuple[tuple[str, bytes], ...] = (
    *EVENTS_V2[:2],
    *_PINGS_V3[:3],
    EVENTS_V2[5],
    *_PINGS_V3[3:],
)
"""The same rider under the third contract of the ping, which says nothing about a mock provider."""

EVENTS_OF_PEOPLE: tuple[tuple[str, bytes], ...] = (
    (
        "AlertReviewed",
        bytes.fromhex(
            "000000001508616e6e61c0d98ac598684839653632613362342d396465612d353237332d386330332d316561386664323765"
            "3363654835663065386636352d326231662d356138642d396336652d3062376539643163336636610e636c6561726564086d"
            "61726110612074756e6e656cc0d98ac59868086465736b066b65794036343031306332353635656230326338613736373137"
            "3535333134623939656300"
        ),
    ),
    (
        "StatementClosed",
        bytes.fromhex(
            "000000001608616e6e61e0f58bc598684861646364666661322d666637322d353837362d393962372d616531623063343038"
            "65363910323032362d57333806455552086d617261f0c38cc59868086465736b4831346166643030352d356135632d356663"
            "622d393362332d6433366464316563613465340000"
        ),
    ),
)
"""What people recorded of the same rider after ``EVENTS_V2``, as their first contracts store it."""


STATES: dict[str, bytes] = {
    "speed": bytes.fromhex(
        "030000000000000008000000000000007a000000000000000500000000000000000000000005010000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000001a0c4507f880b7e9d1c"
        "3f6a4f0e8f65000000000001404a400000000000402acccccccccccd40a00000408800000000000000000000000001a0c450"
        "93100b7e9d1c3f6a4f0e8f65000000000003404a40088509bf9c402accec41dd1a22410800007fc000000000000000000000"
        "000001a0c450a6980b7e9d1c3f6a4f0e8f65000000000002404a4010624dd2f2402acd0e560418937fc000007fc000000000"
        "000000000000000001a0c450ba200b7e9d1c3f6a4f0e8f65000000000004404a4ccccccccccd402b00000000000042a00000"
        "7fc000000000000000000000000001a0c450e1300b7e9d1c3f6a4f0e8f65000000000005404a4027525460aa402acd77318f"
        "c50540c0000040b0000000000000000061a8404a4147ae147ae1402ad1eb851eb852000001a0c450b2500000076f72646572"
        "2d37"
    ),
    "locations": bytes.fromhex(
        "020000000000000008000000000000007a000001a0c450e1300b7e9d1c3f6a4f0e8f65000000000005404a4027525460aa40"
        "2acd77318fc50540c0000000000000000061a8"
    ),
    "analytics": bytes.fromhex(
        "020000000000000008000000000000007a000000000000000000000000000000000000000000000000000000000007964600"
        "000000000019e80000000000003a9804000001a0c4507f880b7e9d1c3f6a4f0e8f65000000000001404a400000000000402a"
        "cccccccccccd00000000000000000000000000000000000001a0c45093100b7e9d1c3f6a4f0e8f65000000000003404a4008"
        "8509bf9c402accec41dd1a22000000000000818b0000000000000000000001a0c450a6980b7e9d1c3f6a4f0e8f6500000000"
        "0002404a4010624dd2f2402acd0e560418930000000000007ce00000000000000000000001a0c450e1300b7e9d1c3f6a4f0e"
        "8f65000000000005404a4027525460aa402acd77318fc505000000000001726500000000000061a8"
    ),
    "traffic": bytes.fromhex(
        "010000000000000008000000000000007a0000000000000000000301000001a0c4507f881f4add4007fcad80000001a0c450"
        "93101f4ae76807fcb6e0000001a0c450e1301f4b0c2007fce04800000000005b0b4a010881f1d48b7fffff01000061a80000"
        "0000000270c8"
    ),
}
"""The state of ``EVENTS`` by projection. That of speed is of fold version 3, and newer than commit 6bfbdcb."""

SPEED_OF_FOLD_2 = bytes.fromhex(
    "020000000000000008000000000000007a0000000000000005000000000000000005000001a0c4507f880b7e9d1c3f6a4f0e"
    "8f65000000000001404a400000000000402acccccccccccd40a00000408800000000000000000000000001a0c45093100b7e"
    "9d1c3f6a4f0e8f65000000000003404a40088509bf9c402accec41dd1a22410800007fc000000000000000000000000001a0"
    "c450a6980b7e9d1c3f6a4f0e8f65000000000002404a4010624dd2f2402acd0e560418937fc000007fc00000000000000000"
    "0000000001a0c450ba200b7e9d1c3f6a4f0e8f65000000000004404a4ccccccccccd402b00000000000042a000007fc00000"
    "0000000000000000000001a0c450e1300b7e9d1c3f6a4f0e8f65000000000005404a4027525460aa402acd77318fc50540c0"
    "000040b0000000000000000061a8"
)
"""The state of speed by its fold version 2, which knew neither pace nor legs."""

PUBLISHED_LOCATION = bytes.fromhex(
    "000000000508616e6e61aa60545227404a4005c58f3177cd2a40e08487c598684830623765396431632d336636612d346630"
    "652d386636352d303030303030303030303035020000c04010f401"
)

SNAPSHOT_V1 = StoredEvent(
    RIDER_ID,
    8,
    "eventsourcing.domain:Snapshot",
    b'{"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-29T17:17:01.037386+00:00"},'
    b'"topic":"domain.rider:Rider","state":{'
    b'"_created_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:20+00:00"},'
    b'"_modified_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:50+00:00"},'
    b'"rider_id":"anna","pings":5,"latest_ms":1790000055000,"on_shift":true,'
    b'"current_leg":["order-7","to_restaurant"]}}',
)

SNAPSHOT_V2 = StoredEvent(
    RIDER_ID,
    8,
    "eventsourcing.domain:Snapshot",
    b'{"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-29T19:47:40.559930+00:00"},'
    b'"topic":"domain.rider:Rider","state":{'
    b'"_created_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:20+00:00"},'
    b'"_modified_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:50+00:00"},'
    b'"rider_id":"anna","pings":5,"latest_ms":1790000055000,"on_shift":true,'
    b'"legs":[["order-7","to_restaurant"]],"class_version":2}}',
)

SNAPSHOT_V3 = StoredEvent(
    RIDER_ID,
    10,
    "eventsourcing.domain:Snapshot",
    b'{"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-29T23:17:19.122408+00:00"},'
    b'"topic":"domain.rider:Rider","state":{"_created_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:13:2'
    b'0+00:00"},"_modified_on":{"_type_":"datetime_iso","_data_":"2026-09-21T14:14:35+00:00"},"rider_id":"anna"'
    b',"pings":5,"latest_ms":1790000055000,"on_shift":true,"legs":[["order-7","to_restaurant"]],"reviews":[["5f'
    b'0e8f65-2b1f-5a8d-9c6e-0b7e9d1c3f6a","cc001b2bd09552f4f11447628d92a5b5"]],"closed_through":{"EUR":"2026-W3'
    b'8"},"keys":[["key","64010c2565eb02c8a7671755314b99ec"]],"class_version":3}}',
)
"""The rider after ``EVENTS_OF_PEOPLE``."""


BODIES = {
    "speed": (
        b'{"rider_id":"anna","speed_mps":5.5,"path_speed_mps":1034.7206,"pings_in_window":5,"window_ms":25000,'
        b'"latitude":52.5012,"longitude":13.4013,"event_timestamp_ms":1790000030000,"version":8,"position":122,'
        b'"age_ms":6789,"status":"fresh","generation":7}'
    ),
    "locations": (
        b'{"rider_id":"anna","latitude":52.5012,"longitude":13.4013,"accuracy_meters":6.0,'
        b'"event_timestamp_ms":1790000030000,"event_id":"0b7e9d1c-3f6a-4f0e-8f65-000000000005","version":8,'
        b'"position":122,"age_ms":6789,"generation":7}'
    ),
}
"""What is served of ``STATES`` at ``T_MS`` + 36,789 ms by generation 7, as the body of an answer."""
