"""The file of rejected rows on a full disk: one line that names it, whether few rows are rejected or many."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.cli.import_report import interrupted_import
from infrastructure.errors import UserError
from infrastructure.imports.order_columns import OrderColumns, OrderFile
from infrastructure.imports.order_rows import OrderRow
from infrastructure.imports.report import RejectFile

FULL = Path("/dev/full")
"""A device of Linux on which every write fails as on a full disk."""

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def source(tmp_path: Path) -> OrderFile:
    file = tmp_path / "orders.csv"
    file.write_text("order_id\n")
    return OrderFile(file, ("order_id",), OrderColumns())


@pytest.mark.parametrize("rows", [1, 5_000], ids=["found at its end", "found on the way"])
def test_a_full_disk_is_an_error_that_names_the_file(source: OrderFile, rows: int) -> None:
    def reject_all() -> None:
        with RejectFile(FULL, [source]) as rejects:
            for line in range(rows):
                rejects.add(OrderRow(source, line, [f"order-{line}"], None), "invalid_type", "restaurant is missing")

    with pytest.raises(UserError, match=r"^/dev/full cannot be written: .*No space left on device.*--rejects"):
        reject_all()


def test_regression_an_import_that_fails_or_is_interrupted_leaves_no_half_of_a_file(
    source: OrderFile, tmp_path: Path
) -> None:
    """Some of the rejected rows had the name of all of them."""
    rejects = tmp_path / "rejects.csv"

    def reject_and_fail() -> None:
        with RejectFile(rejects, [source]) as file:
            file.add(OrderRow(source, 2, ["order-2"], None), "invalid_type", "restaurant is missing")
            raise UserError("the server is unavailable")

    with pytest.raises(UserError, match="unavailable"):
        reject_and_fail()
    with RejectFile(rejects, [source]) as file:
        assert interrupted_import("repeat the import", file).endswith("--rejects is written by an import that ends")
    assert list(tmp_path.iterdir()) == [source.path]
    with RejectFile(rejects, [source]) as file:
        file.add(OrderRow(source, 2, ["order-2"], None), "invalid_type", "restaurant is missing")
    assert len(rejects.read_text().splitlines()) == 2


def test_an_import_that_has_failed_already_keeps_its_own_error(source: OrderFile) -> None:
    def fail() -> None:
        with RejectFile(FULL, [source]):
            raise UserError("orders are damaged")

    with pytest.raises(UserError, match=r"^orders are damaged$"):
        fail()
