"""The one line that says why a job failed, as Flink's stack traces and its client's output have it."""

from __future__ import annotations

import pytest

from infrastructure.observability.flink_failures import KAFKA_ADVICE, MAX_SHOWN_CHARS, reason_of

KAFKA = "org.apache.flink.kafka.shaded.org.apache.kafka.common"


def java(*causes: str) -> str:
    """A stack trace whose last cause is the innermost."""
    outermost = "java.lang.RuntimeException: One or more fetchers have encountered exception"
    return "\n\tat org.apache.flink.A.b(A.java:1)\nCaused by: ".join((outermost, *causes))


@pytest.mark.parametrize(
    "cause",
    [
        f"{KAFKA}.errors.SaslAuthenticationException: Authentication failed due to invalid credentials",
        f"{KAFKA}.errors.SslAuthenticationException: SSL handshake failed",
        "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
        f"{KAFKA}.errors.InvalidConfigurationException: No matching PRIVATE KEY entries in PEM file",
        f"{KAFKA}.errors.InvalidConfigurationException: Private key could not be loaded",
    ],
)
def test_what_kafkas_client_rejects_comes_with_the_variables_to_check(cause: str) -> None:
    assert reason_of(java(f"{KAFKA}.KafkaException: Failed to construct kafka consumer", cause)) == (
        f"{cause} ({KAFKA_ADVICE})"
    )


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        (java("java.net.ConnectException: Connection refused"), "java.net.ConnectException: Connection refused"),
        (
            "java.lang.RuntimeException: Error received from SDK harness: Traceback (most recent call last):\n"
            "infrastructure.errors.UserError: the TaskManager's environment lacks RIDELOG_POSTGRES_URL\n\tat java.A",
            "infrastructure.errors.UserError: the TaskManager's environment lacks RIDELOG_POSTGRES_URL",
        ),
        (
            java(f"{KAFKA}.errors.TopicAuthorizationException: Not authorized to access topics: [gps-pings]"),
            f"{KAFKA}.errors.TopicAuthorizationException: Not authorized to access topics: [gps-pings]",
        ),
        (
            "org.apache.flink.B: TaskManager with id a is no longer reachable.\n\tat org.A.b(A.java:1)\n\t... 3",
            "org.apache.flink.B: TaskManager with id a is no longer reachable.",
        ),
        ("", "it gave no reason"),
    ],
)
def test_another_reason_is_shown_as_it_is(trace: str, reason: str) -> None:
    assert reason_of(trace) == reason


def test_a_part_of_a_password_that_kafka_quotes_is_not_shown() -> None:
    """Given a password with a double quote, and no backslash before it."""
    cause = "java.lang.IllegalArgumentException: Value not specified for key 'the-rest' in JAAS config"
    shown = reason_of(java(cause))
    assert "the-rest" not in shown
    assert shown.startswith("java.lang.IllegalArgumentException: Value not specified in JAAS config (")


def test_a_long_output_is_cut() -> None:
    assert len(reason_of("x" * (2 * MAX_SHOWN_CHARS))) == MAX_SHOWN_CHARS
