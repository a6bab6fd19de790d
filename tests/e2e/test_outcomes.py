"""How deliveries ended, of a running ridelog: served as rows, rebuilt, and answered as of the past."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.support.waiting import eventually
from tests.support.worlds.dispatcher import Dispatcher
from tests.support.worlds.ridelog import Ridelog

COUNTS = ("completed", "cancelled", "unassigned", "arrivals", "promised", "late", "etas", "beyond_p90")


def test_outcomes_are_served_rebuilt_and_answered_as_of_the_past(ridelog: Ridelog, rider: str) -> None:
    def life(*verbs: str, **placed: Any) -> Dispatcher:
        dispatcher = Dispatcher(ridelog, f"order-{uuid.uuid4().hex[:10]}", rider)
        dispatcher.place(**placed)
        dispatcher.steps(*verbs)
        return dispatcher

    def rows(**query: Any) -> list[dict[str, Any]]:
        answer = ridelog.http.get("/analytics/outcome-riders", params={"rider_id": rider, **query})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    delivered = life("assign", "pickup", "arrive", promised_seconds=3_600)
    asked = ridelog.http.get(f"/deliveries/{delivered.order}/eta")
    eventually(
        lambda: ridelog.http.get(f"/deliveries/{delivered.order}/eta").status_code == 200,
        within_s=60,
        what=f"the ETA is served, at first: {asked.status_code}",
    )
    eventually(lambda: delivered.get()["version"] >= 5, within_s=30, what="the first ETA is an event")
    known = delivered.steps("complete")["position"]
    # An open order may follow an unassignment, which counts by itself.
    life("assign", "unassign")
    life("assign", "cancel")
    eventually(lambda: [row["cancelled"] for row in rows()] == [1], within_s=60, what="the outcomes are folded")
    (row,) = rows()
    assert [row[name] for name in COUNTS] == [1, 1, 1, 1, 1, 0, 1, row["beyond_p90"]]
    assert row["lateness_ms"] == row["placed_to_completed_ms"] - 3_600_000
    assert row["eta_abs_error_ms"] == abs(row["eta_error_ms"])
    (then,) = rows(position=known)
    assert [then[name] for name in COUNTS] == [1, 0, 0, 1, 1, 0, 1, row["beyond_p90"]]

    outcome = json.loads(ridelog.ask("rebuild-projection", "outcomes", "--json").stdout)
    assert (outcome["verdict"], outcome["parked"]) == ("switched", [])
    assert rows() == [row]
    hours = ridelog.http.get("/analytics/outcome-hours").json()
    assert hours["generation"] == 2
    assert sum(hour["cancelled"] for hour in hours["items"]) >= 1
    assert 'ridelog_stage_connected{stage="outcomes"} 1.0' in ridelog.http.get("/metrics").text
