"""What OpenAPI says of the commands on riders, whose handlers read their requests themselves."""

from __future__ import annotations

import pytest
from litestar.openapi.spec import Operation, Parameter

from domain.riders.rider import MAX_KEPT
from infrastructure.http.fraud_operations import ReviewOperation
from infrastructure.http.payout_operations import CloseOperation


@pytest.mark.parametrize("operation", [ReviewOperation(), CloseOperation()])
def test_regression_each_command_on_a_rider_says_how_many_keys_are_known(operation: Operation) -> None:
    """A client could not learn that an older key counts as a new one."""
    (key,) = [one for one in operation.parameters or [] if isinstance(one, Parameter) and one.param_in == "header"]
    assert key.name == "Idempotency-Key"
    assert f"The latest {MAX_KEPT} keys" in str(key.description)
    assert "An older key counts as a new one" in str(key.description)
