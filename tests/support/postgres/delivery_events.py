"""Events of deliveries and their riders, as the command side stores them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, UUIDAsHex

from domain.deliveries.commands import DeliveryCommand
from domain.events.contracts import Codec
from infrastructure.event_store.aggregates import AvroMapper, LogEvent
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given_delivery import World, a_step, an_order

LIFE = ("assign", "pickup", "arrive", "complete")


def local_mapper() -> AvroMapper:
    """A mapper with the ids of ``LocalSchemaIds``."""
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return AvroMapper(transcoder, Codec(LocalSchemaIds()))


def whole_life(order_id: str, rider_id: str) -> list[DeliveryCommand]:
    steps = [a_step(verb, order_id, **({"rider_id": rider_id} if verb == "assign" else {})) for verb in LIFE]
    return [an_order(order_id, command_id=f"key of {order_id}"), *steps]


def log_events(commands: Iterable[DeliveryCommand]) -> list[LogEvent]:
    """The events of new deliveries and riders, command by command: the delivery's first, then its rider's."""
    world, mapper, found = World(), local_mapper(), []
    for command in commands:
        assert world.execute(command)
        deliveries, riders = world.collect()
        found += [cast("LogEvent", mapper.to_stored_event(event)) for event in (*deliveries, *riders)]
    return found
