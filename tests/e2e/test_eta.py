"""``GET /deliveries/{order_id}/eta`` of a running ridelog: the ETA falls while the rider rides, and is on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.deliveries.commands import Assign, Complete, DeliveryCommand, PickUp, PlaceOrder
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
        command(backends, Assign(order_id=order, received_ms=now_ms(), rider_id=rider))
        far = eta(ridelog.post([fix(rider, 52.50)])["position"], "rider")
        near = eta(ridelog.post([fix(rider, 52.515)])["position"], "rider")
        assert far["features"]["leg"] == near["features"]["leg"] == "to_restaurant"
        command(backends, PickUp(order_id=order, received_ms=now_ms()))
        close = eta(ridelog.post([fix(rider, 52.5295)])["position"], "rider")
        path = ridelog.http.post(f"/deliveries/{order}/link").json()["path"]
        tracked = ridelog.http.get(path)
        assert set(tracked.json()["eta"]) == {"p50_seconds", "p90_seconds", "at_ms"}
        assert tracked.json()["eta"]["at_ms"] > close["at_ms"]
        assert rider not in tracked.text.replace(order, "")
        steps = [far["eta_seconds"], near["eta_seconds"], close["eta_seconds"]]
        assert steps == sorted(steps, reverse=True)
        assert len(set(steps)) == 3
        assert close["positions"]["city_snapshot"] is not None
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

        eventually(lambda: len(first_etas()) >= 3, within_s=30, what="the first answers of the legs are events")
        legs = [each["leg"] for each in first_etas()]
        assert legs[0] == "unassigned"
        assert {"to_restaurant"} < set(legs)
        assert len(set(legs)) == len(legs)
        assert first_etas()[0]["event_timestamp_ms"] <= placed["at_ms"]
        shown = ridelog.http.get(f"/deliveries/{order}").json()
        assert (shown["status"], shown["version"]) == ("completed", 4 + len(legs))
