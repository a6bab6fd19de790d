"""``GET /deliveries/{order_id}/eta`` of a running ridelog: the ETA falls while the rider rides, and is on record.

What falls is the median of the model, which each first answer of a leg has on record. What is served is calibrated too,
by the outcomes of each leg: other tests of this ridelog deliver orders, and once an hour of outcomes is closed, one leg
may be late by minutes and the next one early.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from domain.deliveries.commands import Arrive, Assign, Complete, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.values import Coordinates
from infrastructure.backends import Backends
from infrastructure.settings.settings import Settings
from tests.e2e.test_speed import now_ms
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog

RESTAURANT, CUSTOMER = Coordinates(52.52, 13.40), Coordinates(52.53, 13.40)


def fix(rider: str, latitude: float) -> dict[str, Any]:
    return {
        "rider_id": rider,
        "latitude": latitude,
        "longitude": RESTAURANT.longitude,
        "event_timestamp_ms": now_ms(),
        "accuracy_meters": 4,
    }


def test_the_eta_of_an_order_falls_until_it_is_handed_over(ridelog: Ridelog, rider: str) -> None:
    order, info = f"order-of-{rider}", ridelog.info

    def command(backends: Backends, one: DeliveryCommand) -> int:
        [outcome] = backends.deliveries.execute([one])
        assert outcome.rejection is None
        assert outcome.position is not None
        return outcome.position

    def eta(position: int, of: str = "order") -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def served() -> bool:
            answer = ridelog.http.get(f"/deliveries/{order}/eta")
            found[:] = [answer.json()]
            return answer.status_code == 200 and (found[0]["positions"][of] or 0) >= position

        eventually(served, within_s=60, what=f"the ETA knows position {position}")
        return found[0]

    settings = Settings(data_dir=ridelog.data_dir, postgres_url=info.postgres_url, redis_url=info.redis_url)
    with Backends(settings) as backends:
        place = PlaceOrder(
            order_id=order,
            received_ms=now_ms(),
            restaurant=RESTAURANT,
            customer=CUSTOMER,
            time_zone="Europe/Berlin",
            currency="EUR",
            preparation_seconds=0,
        )
        placed = eta(command(backends, place))
        assert placed["because"][0] == "unassigned"
        # The rider's place is known before the leg begins: the first answer of the leg is from there.
        ridelog.speed_at(rider, ridelog.post([fix(rider, 52.50)])["position"])
        far = eta(command(backends, Assign(order_id=order, received_ms=now_ms(), rider_id=rider)))
        near = eta(ridelog.post([fix(rider, 52.515)])["position"], "rider")
        assert far["features"]["leg"] == near["features"]["leg"] == "to_restaurant"
        distances = [each["features"]["rider_to_restaurant_m"] for each in (far, near)]
        assert distances == pytest.approx([2_224, 556], abs=1)
        ridelog.speed_at(rider, ridelog.post([fix(rider, 52.5295)])["position"])
        close = eta(command(backends, PickUp(order_id=order, received_ms=now_ms())))
        assert close["features"]["leg"] == "to_customer"
        assert close["features"]["rider_to_customer_m"] == pytest.approx(56, abs=1)
        path = ridelog.http.post(f"/deliveries/{order}/link").json()["path"]
        tracked = ridelog.http.get(path)
        assert set(tracked.json()["eta"]) == {"p50_seconds", "p90_seconds", "at_ms"}
        assert tracked.json()["eta"]["at_ms"] > close["at_ms"]
        assert rider not in tracked.text.replace(order, "")
        assert close["positions"]["city_snapshot"] is not None
        arrived = eta(command(backends, Arrive(order_id=order, received_ms=now_ms())))
        assert arrived["features"]["leg"] == "at_customer"
        command(backends, Complete(order_id=order, received_ms=now_ms()))

        def over() -> bool:
            return ridelog.http.get(f"/deliveries/{order}/eta").status_code == 409

        eventually(over, within_s=60, what="the order is over")

        def bodies() -> list[bytes]:
            with backends.engine.connect() as connection:
                rows = connection.exec_driver_sql("SELECT body FROM served_etas WHERE order_id = %s", (order,))
                return [bytes(row.body) for row in rows]

        eventually(lambda: len(bodies()) >= 4, within_s=30, what="the answers are on record")

        def first_etas() -> list[Mapping[str, Any]]:
            with backends.engine.connect() as connection:
                rows = connection.exec_driver_sql(
                    "SELECT payload FROM events WHERE event_type = 'EtaServed' AND aggregate_key = %s ORDER BY version",
                    (order,),
                )
                return [dict(backends.decode(bytes(row.payload))) for row in rows]

        eventually(lambda: len(first_etas()) >= 4, within_s=30, what="the first answers of the legs are events")
        first = first_etas()
        assert [each["leg"] for each in first] == ["unassigned", "to_restaurant", "to_customer", "at_customer"]
        assert first[0]["event_timestamp_ms"] <= placed["at_ms"]
        riding = [each["model_p50_seconds"] for each in first[1:]]
        assert riding == sorted(set(riding), reverse=True)
        shown = ridelog.http.get(f"/deliveries/{order}").json()
        assert (shown["status"], shown["version"]) == ("completed", 5 + len(first))
