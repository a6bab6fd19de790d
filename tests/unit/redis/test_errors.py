"""Which errors of Redis mean that it is unavailable for now, and which that the request is wrong."""

from __future__ import annotations

import pytest
import redis

from infrastructure.redis.connection import unavailable_as_port_error
from projections.core.ports import PortUnavailable, SinkRejected


@pytest.mark.parametrize(
    "answer",
    [
        "MISCONF Errors writing to the AOF file: No space left on device",
        "NOREPLICAS Not enough good replicas to write.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "Command # 2 (EVALSHA a 3 b) of pipeline caused error: "], ids=["one", "pipeline"]
)
def test_regression_a_server_that_takes_no_writes_for_now_is_waited_for(before: str, answer: str) -> None:
    with pytest.raises(PortUnavailable, match=answer.split(maxsplit=1)[0]), unavailable_as_port_error():
        raise redis.ResponseError(before + answer)


def test_a_wrong_command_is_not_waited_for() -> None:
    with pytest.raises(redis.ResponseError), unavailable_as_port_error():
        raise redis.ResponseError("ERR unknown command")


def test_a_key_of_another_type_is_not_waited_for_either() -> None:
    with pytest.raises(SinkRejected), unavailable_as_port_error():
        raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ClusterDownError("The cluster is down"),
        redis.exceptions.MasterDownError("Link with MASTER is down"),
        redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cluster_without_a_primary_and_a_slot_that_moves_are_waited_for(error: redis.ResponseError) -> None:
    """The client takes the code out of the messages of these."""
    with pytest.raises(PortUnavailable), unavailable_as_port_error():
        raise error
