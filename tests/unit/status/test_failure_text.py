"""What people read of an unavailable server: what happened, and what to do, without the names of classes."""

from __future__ import annotations

import pytest

from infrastructure.status.failure_text import failure_text, in_one_line


@pytest.mark.parametrize(
    ("reason", "state", "advice"),
    [
        (
            "PortUnavailable: Redis: Valkey is loading the dataset in memory",
            "Redis has started and still loads its data",
            "nothing is lost",
        ),
        ("PortUnavailable: Redis: OOM command not allowed", "Redis has no free memory", "give it more memory"),
        (
            "PortUnavailable: Redis: Error 111 connecting to 127.0.0.1:6379. Connection refused.",
            "Redis does not answer (Error 111 connecting to 127.0.0.1:6379. Connection refused.)",
            "check that Redis runs",
        ),
        (
            "OperationalError: (psycopg2.OperationalError) connection to server failed: Connection refused\n"
            "\tIs the server running?\n(Background on this error at: https://sqlalche.me/e/20/e3q8)",
            "Postgres does not answer (connection to server failed: Connection refused)",
            "once Postgres answers",
        ),
        ("SlotUnusable: the slot is lost", "the slot is lost", "tries again by itself"),
        ("PortUnavailable: Kafka: unknown topic", "Kafka cannot be used now (unknown topic)", "once Kafka answers"),
    ],
)
def test_a_failure_says_what_happened_and_what_to_do(reason: str, state: str, advice: str) -> None:
    found = failure_text(reason)
    assert found.state == state
    assert advice in found.advice


def test_a_long_message_of_a_server_is_cut() -> None:
    assert len(failure_text(f"PortUnavailable: Redis: {'x' * 5_000}").state) < 300


def test_the_detail_of_an_answer_names_its_server_in_words_or_stays_as_it_is() -> None:
    assert in_one_line("Redis: Valkey is loading the dataset in memory") == (
        "Redis has started and still loads its data; "
        "nothing is lost: it goes on by itself as soon as the data is loaded"
    )
    assert in_one_line("no event of this rider counts as of then") == "no event of this rider counts as of then"
