"""``import-deliveries`` on a real Postgres: the log has what the HTTP commands would have recorded, in their order."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from domain.deliveries.application import Deliveries
from domain.deliveries.values import DeliverySnapshot
from domain.events.contracts import Codec
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory
from infrastructure.http.delivery_body import parse_place, parse_step
from infrastructure.imports.backfill import open_history
from infrastructure.settings.postgres_url import sqlalchemy_url
from infrastructure.settings.settings import Settings
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.worlds.backfilled import head_position
from tests.support.worlds.command_line import run_here

NOON = 1_596_283_200_000
HEADER = "order,restaurant,customer,placed,assigned,picked_up,arrived,completed,cancelled,rider,promised_seconds,items"
LINES = [
    f'a,"60.17,24.94","60.18,24.93",{NOON},{NOON + 60_000},{NOON + 600_000},{NOON + 1_500_000},{NOON + 1_560_000},,'
    "anna,1800,2",
    f'b,"60.16,24.94","60.19,24.93",{NOON + 30_000},{NOON + 90_000},{NOON + 80_000},,{NOON + 1_400_000},,anna,1800,',
    f'c,"60.17,24.94","60.20,24.93",{NOON + 40_000},{NOON + 95_000},,,,{NOON + 300_000},ben,,1',
    f'd,"60.17,24.94","60.20,24.93",{NOON + 50_000},,,,,{NOON + 55_000},,,',
]


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def run(url: str, cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    environment = kept | {"RIDELOG_POSTGRES_URL": url}
    return run_here(["import-deliveries", *map(str, arguments)], environment, cwd)


def imported(url: str, cwd: Path, *arguments: str | Path) -> dict[str, Any]:
    """The summary of an import that succeeds."""
    done = run(url, cwd, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    assert summary["rows"] == summary["accepted"] + summary["duplicates"] + sum(summary["rejected"].values())
    return summary


def failed(url: str, cwd: Path, *arguments: str | Path) -> str:
    done = run(url, cwd, *arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def logged(url: str) -> list[tuple[str, str, int]]:
    """Type, key and time of recording (epoch ms) of each event by position, whose times never step back."""
    engine = create_engine(sqlalchemy_url(url))
    query = "SELECT event_type, aggregate_key, (extract(epoch FROM recorded_at) * 1000)::bigint FROM events"
    with engine.connect() as connection:
        rows = [(row[0], row[1], int(row[2])) for row in connection.execute(text(f"{query} ORDER BY position"))]
    engine.dispose()
    times = [row[2] for row in rows]
    assert times == sorted(times)
    return rows


def states(url: str, cwd: Path, orders: str) -> dict[str, DeliverySnapshot]:
    """The deliveries as the log has them, without their positions."""
    with open_history(Settings(data_dir=cwd, postgres_url=url)) as history:
        deliveries = Deliveries(history.riders)
        return {order: replace(deliveries.get(order), position=0) for order in orders}


def over_http() -> dict[str, DeliverySnapshot]:
    """The same orders as bodies of ``POST /deliveries`` would have recorded them, each received when it happened."""
    store = MemoryEventStore()
    riders = Riders(EventStoreFactory(store, store.snapshots, Codec(LocalSchemaIds())), store)
    deliveries = Deliveries(riders)
    for line in csv.DictReader([HEADER, *LINES]):
        places = {}
        for name in ("restaurant", "customer"):
            latitude, longitude = line[name].split(",")
            places[name] = {"latitude": float(latitude), "longitude": float(longitude)}
        body: dict[str, Any] = {"order_id": line["order"], **places, "placed_at": int(line["placed"])}
        body |= {"time_zone": "Europe/Helsinki", "currency": "EUR"}
        body |= {name: int(line[name]) for name in ("promised_seconds", "items") if line[name]}
        commands: list[Any] = [parse_place(body, None, int(line["placed"]))]
        received = int(line["placed"])
        for verb, column in (
            ("assign", "assigned"),
            ("pickup", "picked_up"),
            ("arrive", "arrived"),
            ("complete", "completed"),
            ("cancel", "cancelled"),
        ):
            if line[column]:
                received = max(received, int(line[column]))
                rider = {"rider_id": line["rider"]} if verb == "assign" else {}
                step = {"at": int(line[column]), **rider}
                commands.append(parse_step(verb, line["order"], step, None, received))
        assert all(outcome.rejection is None for outcome in deliveries.execute(commands))
    return {order: replace(deliveries.get(order), position=0) for order in "abcd"}


def test_the_log_after_an_import_is_what_the_commands_would_have_recorded(postgres_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", LINES)
    summary = imported(postgres_url, tmp_path, path, "--time-zone", "Europe/Helsinki", "--batch", "3")
    assert (summary["accepted"], summary["findings"]["out_of_order"]) == (4, 1)
    assert summary["position"] == head_position(postgres_url)
    assert states(postgres_url, tmp_path, "abcd") == over_http()
    events = logged(postgres_url)
    assert [(kind, key) for kind, key, _ in events if kind.startswith("Delivery")][:8] == [
        ("DeliveryPlaced", "a"),
        ("DeliveryPlaced", "b"),
        ("DeliveryPlaced", "c"),
        ("DeliveryPlaced", "d"),
        ("DeliveryCancelled", "d"),
        ("DeliveryAssigned", "a"),
        ("DeliveryAssigned", "b"),
        ("DeliveryPickedUp", "b"),
    ]
    assert events[0] == ("DeliveryPlaced", "a", NOON)


def test_with_five_columns_an_order_is_unassigned_until_it_is_completed(postgres_url: str, tmp_path: Path) -> None:
    lines = [f"{n},60.17,24.94,60.18,24.93,{1596283200 + n},{1596285000 + n},1700" for n in range(3)]
    header = "id,restaurant_lat,restaurant_lon,customer_lat,customer_lon,created_at,delivered_at,promised_seconds"
    imported(postgres_url, tmp_path, write(tmp_path / "orders.csv", lines, header), "--time-zone", "Europe/Helsinki")
    events = logged(postgres_url)
    assert [kind for kind, _, _ in events[:3]] == ["DeliveryPlaced"] * 3
    assert [(kind, key) for kind, key, at in events if at == NOON + 1_800_000] == [
        ("DeliveryAssigned", "0"),
        ("RiderRegistered", "unknown:0"),
        ("LegStarted", "unknown:0"),
        ("DeliveryPickedUp", "0"),
        ("LegEnded", "unknown:0"),
        ("LegStarted", "unknown:0"),
        ("DeliveryCompleted", "0"),
        ("LegEnded", "unknown:0"),
    ]
    assert {at for _, _, at in events} == {NOON + n * 1_000 + end for n in range(3) for end in (0, 1_800_000)}


def test_orders_and_pings_are_in_one_order_of_time(postgres_url: str, tmp_path: Path) -> None:
    pings = tmp_path / "pings.csv"
    rows = [f"anna,60.17,24.94,{NOON + n * 20_000}" for n in (9, 2, 4)]
    # Received later than it was taken, and rejected.
    rows += [f"anna,60.17,24.94,{NOON}", "anna,0,0,1596283200000"]
    seen = [NOON + 180_000, NOON + 40_000, NOON + 80_000, NOON + 200_000, NOON]
    lines = [f"{row},{at}" for row, at in zip(rows, seen, strict=True)]
    write(pings, lines, "rider_id,latitude,longitude,event_timestamp_ms,seen")
    orders = write(tmp_path / "orders.csv", LINES)
    rejects = tmp_path / "rejects.csv"
    summary = imported(
        postgres_url, tmp_path, orders, "--pings", pings, "--ping-column", "recorded-at=seen", "--rejects", rejects
    )
    assert (summary["pings"]["accepted"], summary["pings"]["rejected"]) == (4, {"null_island": 1})
    found = [
        (kind, (at - NOON) // 1_000) for kind, key, at in logged(postgres_url) if kind in ("GpsPing", "LegStarted")
    ]
    assert [each for each in found if each[1] <= 200] == [
        ("GpsPing", 40),
        ("LegStarted", 60),
        ("GpsPing", 80),
        ("LegStarted", 90),
        ("LegStarted", 90),
        ("LegStarted", 95),
        ("GpsPing", 180),
        ("GpsPing", 200),
    ]
    with rejects.open(newline="") as rejected:
        (row,) = csv.DictReader(rejected)
    assert (row["file"], row["line"], row["code"], row["latitude"]) == (str(pings), "6", "null_island", "0")


def test_rejected_rows_and_repeats_are_accounted_for(postgres_url: str, tmp_path: Path) -> None:
    other = LINES[0].replace("60.18", "60.19")
    lines = [LINES[0], LINES[0], other, LINES[1].replace(str(NOON + 1_400_000), ""), '"' + LINES[2], LINES[3]]
    path = tmp_path / "orders.csv"
    # As a spreadsheet saves it: separated by semicolons, in UTF-16.
    table = "\n".join(";".join(row) for row in csv.reader([HEADER, *lines[:4]]))
    path.write_bytes(f"{table}\n{lines[4]}\n{';'.join(next(csv.reader([lines[5]])))}\n".encode("utf-16"))
    rejects = tmp_path / "rejects.csv"
    summary = imported(postgres_url, tmp_path, path, "--rejects", rejects)
    assert (summary["rows"], summary["accepted"], summary["duplicates"]) == (6, 2, 1)
    assert summary["rejected"] == {"delivery_exists": 1, "invalid_type": 1, "no_end": 1}
    with rejects.open(newline="") as rejected:
        rows = {row["line"]: (row["code"], row["order"]) for row in csv.DictReader(rejected)}
    assert rows == {"4": ("delivery_exists", "a"), "5": ("no_end", "b"), "6": ("invalid_type", "")}
    assert {key for kind, key, _ in logged(postgres_url) if kind == "DeliveryPlaced"} == {"a", "d"}


def test_an_import_is_refused_by_a_log_with_events_and_resumed_without_doubling(
    postgres_url: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", LINES)
    # The aborted import had recorded the first two orders, and not their ends.
    with open_history(Settings(data_dir=tmp_path, postgres_url=postgres_url)) as history:
        from infrastructure.imports.external_sort import ExternalSorter
        from infrastructure.imports.order_backfill import OrderRecorder, read_orders, settle_orders
        from infrastructure.imports.order_columns import open_orders
        from infrastructure.imports.order_entries import OrderEntry, StepEntry
        from infrastructure.imports.order_report import OrderReport
        from infrastructure.imports.order_rows import OrderDefaults

        sources = [open_orders(path, {})]
        report = OrderReport(sources)
        for each in ("orders", "steps"):
            (tmp_path / each).mkdir()
        orders = ExternalSorter(tmp_path / "orders", OrderEntry)
        steps = ExternalSorter(tmp_path / "steps", StepEntry)
        read_orders(sources, OrderDefaults(), NOON + 86_400_000, orders, report, lambda done, count: None)
        settle_orders(orders.in_order(), steps, report, lambda done, count: None)
        first = list(steps.in_order())[:6]
        OrderRecorder(history.joint.record, report, None).run(first, [], 10, lambda done, count: None)
    before = logged(postgres_url)
    assert "the log has" in (message := failed(postgres_url, tmp_path, path))
    assert "--resume" in message
    summary = imported(postgres_url, tmp_path, "--resume", path)
    assert (summary["accepted"], summary["duplicates"]) == (0, 4)
    after = logged(postgres_url)
    assert after[: len(before)] == before
    assert [key for kind, key, _ in after if kind in ("DeliveryCompleted", "DeliveryCancelled")] == ["d", "c", "b", "a"]
    assert imported(postgres_url, tmp_path, "--resume", path)["duplicates"] == 4
    assert logged(postgres_url) == after


def test_a_check_needs_no_database_and_records_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", [*LINES, LINES[0], "x,y,z,,,,,,,,,"])
    done = run("postgresql://127.0.0.1:1/none", tmp_path, "--check", "--json", path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["accepted"], summary["duplicates"], summary["rejected"]) == (4, 1, {"invalid_type": 1})
    assert "order, restaurant, customer, rider" not in done.stderr
    assert f"{path}: order, restaurant, customer, placed, completed, cancelled" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--column", "orders=nr"), "is not FIELD=NAME with a field of order, restaurant"),
        (("--time-zone", "Helsinki"), "--time-zone Helsinki: time_zone must be a name of the IANA database"),
        (("--currency", "euro"), "--currency euro: "),
    ],
)
def test_wrong_options_are_named(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run("postgresql://127.0.0.1:1/none", tmp_path, *arguments, write(tmp_path / "orders.csv", LINES))
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_of_rejected_rows_alone_fails_with_one_line(postgres_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", ["a,,,,,,,,,,,"])
    assert failed(postgres_url, tmp_path, path).splitlines()[-1] == (
        "error: none of 1 orders can be recorded; all were rejected"
    )
    assert head_position(postgres_url) == 0
