"""The life of a delivery: which transition each status allows."""

from __future__ import annotations

from domain.deliveries.values import DeliveryStatus
from domain.errors import OtherRider, WrongStatus

ALLOWED: dict[str, frozenset[DeliveryStatus]] = {
    "assign": frozenset({DeliveryStatus.PLACED}),
    "unassign": frozenset({DeliveryStatus.ASSIGNED}),
    "pickup": frozenset({DeliveryStatus.ASSIGNED}),
    "arrive": frozenset({DeliveryStatus.PICKED_UP}),
    "complete": frozenset({DeliveryStatus.PICKED_UP, DeliveryStatus.ARRIVED}),
    "cancel": frozenset(
        {DeliveryStatus.PLACED, DeliveryStatus.ASSIGNED, DeliveryStatus.PICKED_UP, DeliveryStatus.ARRIVED}
    ),
}
"""The statuses from which each transition starts, by the verb of its command."""


def check_transition(status: DeliveryStatus, rider_id: str | None, verb: str, wanted_rider: str | None) -> None:
    """Check a transition of a delivery in ``status`` of ``rider_id``; ``wanted_rider`` is the one to assign.

    Raises:
        OtherRider: another rider is assigned, and could still be unassigned.
        WrongStatus: the status does not allow the transition; the message names it.
    """
    if status in ALLOWED[verb]:
        return
    if verb == "assign" and status is DeliveryStatus.ASSIGNED and wanted_rider != rider_id:
        raise OtherRider("the delivery is assigned to another rider: unassign that rider first")
    raise WrongStatus(f"the delivery is {status.value}: it does not accept {verb}")
