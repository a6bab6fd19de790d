"""The Idempotency-Keys of the commands of one batch: under which of them a command is recorded already, and which one.

A delivery keeps its latest keys. An older one is looked up in the log, in the same decision: so the contract is that
of all keys for the order's whole life, and the state of the aggregate stays bounded (invariant 15).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import Mapper, MapperDeserialisationError

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.delivery import Delivery
from domain.event_store import CommandRef, EventHistory

log = logging.getLogger("ridelog.aggregates")

UNREADABLE_COMMAND = "unreadable"
"""The digest of a command whose event cannot be decoded. No command has it, so the use of its key is a conflict:
whether it is the same command cannot be known, and to record it again could record it twice."""


class OrderKey(NamedTuple):
    """An Idempotency-Key, whose scope is one order."""

    order_id: str
    key: str


class RecordedKeys:
    """The digest of the command that is recorded under each key of a batch, as far as there is one."""

    def __init__(
        self,
        commands: Iterable[DeliveryCommand] = (),
        deliveries: Mapping[str, Delivery | None] | None = None,
        looked_up: Mapping[OrderKey, str] | None = None,
    ) -> None:
        """``deliveries``: those that the batch starts from, whose keys are read now: the commands of the batch may make
        them forget some. ``looked_up``: what ``look_up`` found for them.
        """
        self._digests = dict(looked_up or {})
        for command in commands:
            delivery = (deliveries or {}).get(command.order_id)
            if command.command_id is not None and delivery is not None and command.command_id in delivery.keys:
                self._digests[OrderKey(command.order_id, command.command_id)] = delivery.keys[command.command_id]

    def digest(self, command: DeliveryCommand) -> str | None:
        """The digest recorded under the command's key; None: it has no key, or nothing is recorded under it."""
        return None if command.command_id is None else self._digests.get(OrderKey(command.order_id, command.command_id))

    def note(self, command: DeliveryCommand) -> None:
        """A command of the batch was recorded."""
        if command.command_id is not None:
            self._digests[OrderKey(command.order_id, command.command_id)] = command.digest()


def keys_to_look_up(
    commands: Iterable[DeliveryCommand], deliveries: Mapping[str, Delivery | None]
) -> dict[OrderKey, UUID]:
    """The keys of ``commands`` that their deliveries may have forgotten, with the aggregates."""
    wanted: dict[OrderKey, UUID] = {}
    for command in commands:
        delivery = deliveries.get(command.order_id)
        key = command.command_id
        if key is not None and delivery is not None and delivery.may_have_forgotten(key):
            wanted[OrderKey(command.order_id, key)] = delivery.id
    return wanted


def look_up(wanted: Mapping[OrderKey, UUID], history: EventHistory, mapper: Mapper[UUID]) -> dict[OrderKey, str]:
    """The digests recorded in the log under ``wanted``; absent: none is.

    Read after the deliveries are loaded: if another writer has recorded one since, the version check detects it.
    """
    refs = {CommandRef(aggregate, key.key): key for key, aggregate in wanted.items()}
    found: dict[OrderKey, str] = {}
    for ref, events in history.find_commands(list(refs)).items():
        for stored in events:
            try:
                event: Any = mapper.to_domain_event(stored)
                digest = event.origin.command_digest
            except MapperDeserialisationError as error:
                log.error("the event of a command cannot be read: %s", error)
                digest = UNREADABLE_COMMAND
            # Without a digest it is a made id, which a client can compute and use as its key.
            if digest:
                found[refs[ref]] = digest
    return found
