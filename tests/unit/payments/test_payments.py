"""Rules of hand-overs: what an answer means, when it is repeated, how a request is signed, what is never shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from infrastructure.cli.serve import PROGRAMS, without_payments
from infrastructure.observability.stage_reports import StageProgress, StageReport
from infrastructure.payments.handing_over import (
    ATTEMPT_DELAYS_S,
    BOOKED_AFTER_S,
    BOOKED_FROM_ATTEMPT,
    outcome,
    payment_of,
    settled,
)
from infrastructure.payments.provider import AnswerKind, Payment, ProviderAnswer
from infrastructure.payments.webhook import (
    CALL_TIMEOUT_S,
    MAX_RETRY_AFTER_S,
    answer_of,
    body_of,
    retry_after_s,
    signature,
)
from infrastructure.postgres.payment_handovers import DONE, HELD, OPEN, HandoverTally, OpenHandover
from infrastructure.settings.payment_provider import payments_address, secret_bytes
from infrastructure.settings.settings import Settings
from infrastructure.settings.sources import SettingsError
from infrastructure.status.payment_line import NO_PROVIDER, payment_line
from tests.support.servers.fake_provider import SECRET
from tests.support.servers.serving import ROOT

URL = "https://pay.example/hooks/a-long-and-secret-path"
PAYMENT = Payment("e", "p", "adjustment", "anna", "o", "to_customer", "EUR", -120, "2026-W48", 1_000, 7)
NONE_OPEN = HandoverTally(open=0, held=0, retried=0, oldest_s=None, differing=0)


def test_the_signature_is_that_of_the_published_vector() -> None:
    """https://github.com/standard-webhooks/standard-webhooks: the vector of its libraries."""
    found = signature(secret_bytes(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_page_verifies_what_is_sent_and_nothing_else() -> None:
    (example,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "payments.md").read_text(), re.DOTALL)
    page: dict[str, object] = {"base64": base64, "hashlib": hashlib, "hmac": hmac}
    exec(example, page)
    is_genuine = page["is_genuine"]
    assert callable(is_genuine)
    body = body_of(PAYMENT)
    headers = {
        "webhook-id": "e",
        "webhook-timestamp": "1000",
        "webhook-signature": signature(secret_bytes(SECRET), "e", 1_000, body),
    }
    assert is_genuine(SECRET, headers, body, 1_200)
    assert not is_genuine(SECRET, headers, body.replace(b"-120", b"-121"), 1_200)
    assert not is_genuine(SECRET, headers | {"webhook-id": "f"}, body, 1_200)
    assert not is_genuine(SECRET, headers, body, 1_301)


def test_a_body_has_everything_and_is_the_same_at_each_attempt() -> None:
    assert json.loads(body_of(PAYMENT)) == PAYMENT._asdict()
    assert body_of(PAYMENT) == body_of(Payment(*PAYMENT))
    handover = OpenHandover(*PAYMENT[:9], datetime.fromtimestamp(1, UTC), position=7, seq=3, state=OPEN, attempts=2)
    assert payment_of(handover) == PAYMENT


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((200, 201, 202, 204, 299), AnswerKind.DONE),
        ((409,), AnswerKind.CONFLICT),
        ((408, 425, 429, 500, 502, 503, 504, 599), AnswerKind.RETRY),
        ((301, 302, 307, 308, 400, 401, 403, 404, 410, 422), AnswerKind.REFUSED),
    ],
)
def test_what_a_status_means(statuses: tuple[int, ...], kind: AnswerKind) -> None:
    assert {answer_of(status, "", "").kind for status in statuses} == {kind}


def test_a_wait_that_the_provider_asks_for_is_bounded() -> None:
    assert retry_after_s("120") == 120.0
    assert retry_after_s("9" * 5_000) == MAX_RETRY_AFTER_S
    assert {retry_after_s(text) for text in ("", "-1", "1.5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "²")} == {0.0}


def test_delays_grow_to_a_bound_and_a_longer_wait_that_is_asked_for_counts() -> None:
    answer = ProviderAnswer(AnswerKind.RETRY, 503, "", "status 503")
    waits = [outcome(answer, attempt).wait_s for attempt in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] == ATTEMPT_DELAYS_S[-1] == 300.0
    assert outcome(answer._replace(retry_after_s=30.0), 1).wait_s == 30.0
    assert outcome(answer._replace(retry_after_s=30.0), 11).wait_s == 300.0
    states = {kind: outcome(answer._replace(kind=kind), 1).state for kind in AnswerKind}
    assert states == {
        AnswerKind.DONE: DONE,
        AnswerKind.CONFLICT: OPEN,
        AnswerKind.RETRY: OPEN,
        AnswerKind.REFUSED: HELD,
    }


def test_a_conflict_is_repeated_until_no_earlier_request_can_be_in_progress() -> None:
    """Regression: 409 counted as done at once. The request in progress could still fail, and the payout was lost."""
    conflict = ProviderAnswer(AnswerKind.CONFLICT, 409, "", "status 409")
    attempts = range(1, BOOKED_FROM_ATTEMPT + 2)
    states = [outcome(settled(conflict, attempt, BOOKED_AFTER_S), attempt).state for attempt in attempts]
    assert states == [OPEN] * (BOOKED_FROM_ATTEMPT - 1) + [DONE] * 2
    for soon_s in (None, 0.0, BOOKED_AFTER_S - 0.001):
        assert {settled(conflict, attempt, soon_s).kind for attempt in range(1, 50)} == {AnswerKind.RETRY}
    waited_s = outcome(conflict, BOOKED_FROM_ATTEMPT - 1).wait_s
    assert waited_s >= BOOKED_AFTER_S > CALL_TIMEOUT_S
    assert outcome(conflict._replace(retry_after_s=30.0), 1).wait_s == 30.0


@pytest.mark.parametrize(
    "url", ["http://pay.example/x", "https://user:password-of-mine@pay.example", "ftp://pay.example", "pay", "https://"]
)
def test_an_address_that_money_must_not_go_to_is_rejected_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="RIDELOG_PAYMENTS_URL") as caught:
        Settings.load({}, {"RIDELOG_PAYMENTS_URL": url, "RIDELOG_PAYMENTS_SECRET": SECRET}, None)
    assert "password-of-mine" not in str(caught.value)


@pytest.mark.parametrize("secret", ["short-secret-here", "whsec_MfKQ", "whsec_no base64 at all, of any kind"])
def test_a_secret_that_can_be_guessed_or_read_wrongly_is_rejected_without_showing_it(secret: str) -> None:
    with pytest.raises(SettingsError, match="RIDELOG_PAYMENTS_SECRET") as caught:
        Settings.load({}, {"RIDELOG_PAYMENTS_URL": URL, "RIDELOG_PAYMENTS_SECRET": secret}, None)
    assert secret.removeprefix("whsec_") not in str(caught.value)


@pytest.mark.parametrize("only", ["RIDELOG_PAYMENTS_URL", "RIDELOG_PAYMENTS_SECRET"])
def test_address_and_secret_are_needed_together(only: str) -> None:
    with pytest.raises(SettingsError, match="needed together"):
        Settings.load({}, {only: {"RIDELOG_PAYMENTS_URL": URL}.get(only, SECRET)}, None)


def test_secret_and_path_are_not_shown_and_programs_get_them() -> None:
    settings = Settings.load({}, {"RIDELOG_PAYMENTS_URL": URL, "RIDELOG_PAYMENTS_SECRET": SECRET}, None)
    shown = settings.public()
    assert (shown["payments_url"], shown["payments_secret"]) == ("https://pay.example", "***")
    assert settings.environment()["RIDELOG_PAYMENTS_SECRET"] == SECRET
    assert "a-long-and-secret-path" in payments_address(URL).secrets


def test_loopback_may_be_plain_http() -> None:
    assert payments_address("http://127.0.0.1:99/x").shown == "http://127.0.0.1:99"
    assert payments_address("http://[::1]:99/x").shown == "http://[::1]:99"


def test_without_a_provider_payments_do_not_run_and_cannot_be_asked_for() -> None:
    assert without_payments(PROGRAMS, named=False) == ("api", "tailer", "projections", "city")
    with pytest.raises(typer.BadParameter, match="RIDELOG_PAYMENTS_URL"):
        without_payments(("api", "payments"), named=True)


def test_an_instant_that_is_no_time_is_rejected_at_the_start() -> None:
    assert (
        Settings.load({}, {"RIDELOG_PAYMENTS_SINCE": "2026-11-30T00:00:00Z"}, None).payments_since_ms
        == 1_795_996_800_000
    )
    with pytest.raises(SettingsError, match="RIDELOG_PAYMENTS_SINCE"):
        Settings.load({}, {"RIDELOG_PAYMENTS_SINCE": "yesterday"}, None)


def report(state: str = "running", age_s: float = 0.5, **detail: object) -> StageReport:
    return StageReport("payments", "host:1", age_s, StageProgress(state=state, detail=detail))


def test_the_status_line_is_good_without_a_provider_and_with_payments_under_way() -> None:
    without = payment_line(None, NONE_OPEN, 30.0, has_provider=False)
    assert without.good
    assert without.state == NO_PROVIDER
    busy = payment_line(report(), HandoverTally(5, 0, 2, 40.0, 0), 30.0, has_provider=True)
    assert busy.good
    assert (busy.lag_events, busy.lag_seconds) == (5, 40.0)
    elsewhere = payment_line(report(), NONE_OPEN, 30.0, has_provider=False)
    assert (elsewhere.state, elsewhere.good) == ("running", True)


@pytest.mark.parametrize(
    ("one", "tally", "command"),
    [
        (None, NONE_OPEN, "app.py serve"),
        (report(age_s=60.0), NONE_OPEN, "serve"),
        (report(state="OperationalError: gone"), NONE_OPEN, "it tries again by itself"),
        (report(unpaid_history="3 payouts are old"), NONE_OPEN, "RIDELOG_PAYMENTS_SINCE"),
        (report(), NONE_OPEN._replace(held=1), "payments retry"),
        (report(), NONE_OPEN._replace(differing=1), "payments settle"),
        (report(), NONE_OPEN._replace(open=1, retried=1, oldest_s=9_000.0), "the log of payments"),
    ],
)
def test_the_status_line_says_what_to_run(one: StageReport | None, tally: HandoverTally, command: str) -> None:
    line = payment_line(one, tally, 30.0, has_provider=True)
    assert command in line.advice


def test_held_payments_show_even_if_the_provider_was_taken_away() -> None:
    assert "payments retry" in payment_line(None, NONE_OPEN._replace(held=1), 30.0, has_provider=False).advice


def test_the_page_names_the_delays_that_are_in_the_code() -> None:
    page = Path(ROOT / "docs" / "payments.md").read_text()
    assert ", ".join(f"{delay:g}" for delay in ATTEMPT_DELAYS_S) in page
