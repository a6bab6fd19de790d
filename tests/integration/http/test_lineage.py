"""Causes and effects over real HTTP and Postgres: each link leads to the event that it names, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infrastructure.embedded.postgres import Postgres
from tests.support.servers.servers import fresh_database
from tests.support.worlds.linked_city import KEY, LATENESS_MS, ORDER, RIDER, LinkedCity, lineage_client, linked_city

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def city(migrated_postgres: Postgres) -> Iterator[LinkedCity]:
    with fresh_database(migrated_postgres) as url, linked_city(url) as one:
        yield one


@pytest.fixture(scope="module")
def http(city: LinkedCity) -> Iterator[httpx.Client]:
    with lineage_client(city.backends) as client:
        yield client


def get(http: httpx.Client, path: str, **query: Any) -> Any:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def event(http: httpx.Client, position: int) -> Any:
    return get(http, f"/lineage/events/{position}")


def position_of(city: LinkedCity, stream: str, key: str, kind: str, nth: int = 0) -> int:
    found = [each["position"] for each in city.events(stream, key) if each["type"] == kind]
    return int(found[nth])


def test_a_command_leads_to_its_legs_and_each_leg_back_to_it(city: LinkedCity, http: httpx.Client) -> None:
    pickup = event(http, position_of(city, "Delivery", ORDER, "DeliveryPickedUp"))
    assert [each["type"] for each in pickup["effects"]] == ["LegEnded", "LegStarted"]
    for effect in pickup["effects"]:
        leg = event(http, effect["position"])
        assert leg["cause"]["position"] == pickup["event"]["position"]
        assert leg["cause"]["event_id"] == pickup["event"]["event_id"]
    ended = event(http, pickup["effects"][0]["position"])
    assert [each["type"] for each in ended["request"]["events"]] == ["LegStarted"]


def test_a_rider_that_an_assignment_registered_names_it_as_the_cause(city: LinkedCity, http: httpx.Client) -> None:
    registered = event(http, position_of(city, "Rider", RIDER, "RiderRegistered"))
    assert registered["cause"]["type"] == "DeliveryAssigned"
    assigned = event(http, position_of(city, "Delivery", ORDER, "DeliveryAssigned"))
    assert "RiderRegistered" in [each["type"] for each in assigned["effects"]]


def test_a_command_is_found_by_its_key_with_all_that_it_recorded(city: LinkedCity, http: httpx.Client) -> None:
    found = get(http, f"/lineage/commands/{KEY}")
    assert [each["type"] for each in found["items"]][:1] == ["DeliveryAssigned"]
    assert {each["key"] for each in found["items"]} == {ORDER, RIDER}
    assert found["more"] is False
    of_order = get(http, f"/lineage/commands/{KEY}", order_id=ORDER)
    assert [each["type"] for each in of_order["items"]] == ["DeliveryAssigned"]
    assigned = event(http, of_order["items"][0]["position"])
    assert assigned["request"]["command_id"] == KEY


def test_a_ping_shows_the_speed_before_and_after_it_as_serving_had_it(city: LinkedCity, http: httpx.Client) -> None:
    position, earlier = city.positions[20], city.positions[19]
    found = event(http, position)
    change = found["change"]
    assert (change["verdict"], change["reason"]) == ("accepted", None)
    assert change["lateness_ms"] == 250
    assert change["weight"] > 0
    assert change["after"]["path_speed_mps"] == pytest.approx(5.0, abs=0.05)
    # What was after the ping before is what was before this one.
    assert change["before"] == event(http, earlier)["change"]["after"]
    assert len(change["after"]["pings"]) == 10
    assert (found["before"]["position"], found["after"]["position"]) == (earlier, city.positions[21])


def test_a_ping_leads_to_the_payout_of_its_leg_and_the_payout_to_its_pings(
    city: LinkedCity, http: httpx.Client
) -> None:
    [leg] = event(http, city.positions[5])["change"]["legs"]
    assert (leg["order_id"], leg["leg"]) == (ORDER, "to_restaurant")
    payout = get(http, f"/lineage/payouts/{leg['entries'][0]['entry_id']}")
    made_by = event(http, payout["made_by"]["position"])
    assert made_by["event"]["type"] == "LegEnded"
    assert [each["entry_id"] for each in made_by["payouts"]] == [payout["entry"]["entry_id"]]
    named = {(each["item"], each["place"]): each["event"]["position"] for each in payout["events"]}
    distance = next(item for item, _ in named if item not in {"base", "night", "waiting"})
    assert named[distance, "first"] == city.positions[0]
    assert named["base", "last"] == payout["made_by"]["position"]


def test_a_late_ping_leads_to_the_adjustment_that_it_made_and_back(city: LinkedCity, http: httpx.Client) -> None:
    late = city.late_ping()
    found = event(http, late)
    assert found["change"]["verdict"] == "too_late"
    assert found["change"]["lateness_ms"] == LATENESS_MS
    assert found["change"]["before"]["speed_mps"] == found["change"]["after"]["speed_mps"]
    [adjustment] = found["payouts"]
    assert (adjustment["kind"], adjustment["order_id"]) == ("adjustment", ORDER)
    assert adjustment["amount_minor"] > 0
    back = get(http, f"/lineage/payouts/{adjustment['entry_id']}")
    assert back["made_by"]["position"] == late
    assert [each["kind"] for each in back["payout"]] == ["payout", "adjustment"]


def test_an_alert_leads_to_its_evidence_and_a_ping_to_the_alert(city: LinkedCity, http: httpx.Client) -> None:
    position = city.positions[12]
    alert_id = city.raise_alert(position)
    alert = get(http, f"/lineage/alerts/{alert_id}")
    assert [each["event"]["position"] for each in alert["evidence"]] == [position]
    assert alert["raised_by"]["position"] == position
    [link] = event(http, position)["alerts"]
    assert (link["alert_id"], link["signals"]) == (alert_id, ["mock_flag"])
    assert event(http, city.positions[13])["alerts"] == []
    assert event(http, city.positions[11])["alerts"] == []


def test_an_eta_says_what_differs_from_the_one_before(city: LinkedCity, http: httpx.Client) -> None:
    placed = position_of(city, "Delivery", ORDER, "DeliveryPlaced")
    assigned = position_of(city, "Delivery", ORDER, "DeliveryAssigned")
    first = city.serve_eta(assigned, city.positions[3], 600.0, rider_speed_mps=5.0)
    second = city.serve_eta(
        position_of(city, "Delivery", ORDER, "DeliveryPickedUp"), city.positions[31], 300.0, rider_speed_mps=6.0
    )
    why = get(http, f"/lineage/etas/{second}")
    assert why["previous"]["id"] == first
    assert why["moved_seconds"] == pytest.approx(-299.99)
    assert why["changes"] == [{"feature": "rider_speed_mps", "before": 5.0, "after": 6.0}]
    assert [each["type"] for each in why["order_events"]] == ["DeliveryPickedUp"]
    # Between them: 28 pings and the two events of the pick-up.
    assert why["rider_events"] == 30
    assert why["order_event"]["position"] != placed
    assert [each["id"] for each in event(http, city.positions[3])["etas"]["items"]] == [first]
    assert [each["id"] for each in event(http, assigned)["etas"]["items"]] == [first]
    assert event(http, city.positions[4])["etas"] == {"items": [], "more": False}


def test_the_etas_of_an_order_are_paged_along_its_life(city: LinkedCity, http: httpx.Client) -> None:
    place = position_of(city, "Delivery", ORDER, "DeliveryCompleted")
    made = [city.serve_eta(place, city.positions[-1], 60.0 - n) for n in range(7)]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = get(http, f"/deliveries/{ORDER}/etas", limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen[-7:] == made
    assert seen == sorted(set(seen))
    for unknown in ("unknown", "a%00b"):
        assert get(http, f"/deliveries/{unknown}/etas") == {"items": [], "next": None}


def test_an_event_is_found_by_its_id(city: LinkedCity, http: httpx.Client) -> None:
    position = city.positions[7]
    found = get(http, "/lineage/events", key=RIDER, event_id=city.id_at(position))
    assert found["event"]["position"] == position


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/lineage/events/0", 404, "unknown_position"),
        ("/lineage/events/-1", 404, "unknown_position"),
        ("/lineage/events/99999999999999999999999", 404, "unknown_position"),
        ("/lineage/events/anna", 400, "invalid_request"),
        (f"/lineage/events?key={RIDER}&event_id={UNKNOWN_ID}", 404, "unknown_event"),
        (f"/lineage/events?key={RIDER}&event_id=x", 404, "unknown_event"),
        (f"/lineage/events?key=a%00b&event_id={UNKNOWN_ID}", 404, "unknown_event"),
        (f"/lineage/events?key={RIDER}&stream=Courier&event_id={UNKNOWN_ID}", 400, "invalid_request"),
        ("/lineage/commands/none", 404, "unknown_command"),
        ("/lineage/commands/a%00b", 404, "unknown_command"),
        ("/lineage/commands/a?order_id=%00", 404, "unknown_command"),
        (f"/lineage/alerts/{UNKNOWN_ID}", 404, "unknown_alert"),
        ("/lineage/payouts/none", 404, "unknown_entry"),
        ("/lineage/payouts/a%00b", 404, "unknown_entry"),
        ("/lineage/etas/0", 404, "unknown_eta"),
        ("/lineage/etas/9999999999999999999999", 404, "unknown_eta"),
        ("/lineage/etas/x", 400, "invalid_request"),
        ("/deliveries/x/etas?cursor=x", 400, "invalid_cursor"),
    ],
)
def test_what_does_not_exist_is_an_error_that_says_so(http: httpx.Client, path: str, status: int, code: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
