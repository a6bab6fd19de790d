"""A link opens the order that it was made for until it expires; whatever else is sent opens nothing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer

from domain.errors import InvalidType, OutOfRange
from infrastructure.http.delivery_links import DEFAULT_LIFETIME_S, MAX_LIFETIME_S, lifetime_seconds
from infrastructure.http.link_tokens import MAX_TOKEN_CHARS, LinkTokens

NOW_MS = 1_790_000_000_000
SECRET = "a secret of the tests, thirty-two characters"
TOKENS = LinkTokens(SECRET)

orders = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


@given(orders, st.integers(1, 1 << 50))
def test_a_token_opens_its_order_until_it_expires(order_id: str, expires_ms: int) -> None:
    token = TOKENS.sign(order_id, expires_ms)
    assert len(token) <= MAX_TOKEN_CHARS
    assert TOKENS.order_of(token, expires_ms - 1) == order_id
    assert TOKENS.order_of(token, expires_ms) is None
    assert LinkTokens(SECRET.encode()).order_of(token, 0) == order_id


@given(orders, orders)
def test_a_token_of_another_secret_or_for_another_use_of_this_one_opens_nothing(one: str, other: str) -> None:
    assert TOKENS.order_of(LinkTokens(SECRET + "!").sign(one, NOW_MS), 0) is None
    for serializer in (URLSafeSerializer(SECRET), URLSafeTimedSerializer(SECRET), URLSafeSerializer(SECRET, "other")):
        token = serializer.dumps([other, NOW_MS])
        assert TOKENS.order_of(token if isinstance(token, str) else token.decode(), 0) is None


@given(st.data())
def test_a_token_with_any_character_changed_opens_nothing(data: st.DataObject) -> None:
    token = TOKENS.sign("order-7", NOW_MS)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c != token[at]))
    assert TOKENS.order_of(token[:at] + other + token[at + 1 :], 0) is None
    assert TOKENS.order_of(token[:at], 0) is None
    assert TOKENS.order_of(token + other, 0) is None


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_other_text_opens_nothing(text: str) -> None:
    assert TOKENS.order_of(text, 0) is None


def test_the_payload_of_one_order_with_the_signature_of_another_opens_nothing() -> None:
    one, other = TOKENS.sign("order-7", NOW_MS), TOKENS.sign("order-8", NOW_MS)
    assert TOKENS.order_of(f"{one.rpartition('.')[0]}.{other.rpartition('.')[2]}", 0) is None
    assert TOKENS.order_of("." + one, 0) is None
    assert TOKENS.order_of(one * 40, 0) is None


@pytest.mark.parametrize(
    "payload", [["order-7"], {"o": 1}, "order-7", [7, 7], ["order-7", "7"], ["order-7", True], None]
)
def test_a_signed_payload_of_another_form_opens_nothing(payload: object) -> None:
    token = TOKENS._serializer.dumps(payload)
    assert TOKENS.order_of(token if isinstance(token, str) else token.decode(), 0) is None


def test_a_lifetime_is_bounded() -> None:
    assert lifetime_seconds({}) == lifetime_seconds({"expires_in_seconds": None}) == DEFAULT_LIFETIME_S
    assert lifetime_seconds({"expires_in_seconds": 60.0}) == 60
    for value in (0, -1, MAX_LIFETIME_S + 1, 10**40):
        with pytest.raises(OutOfRange):
            lifetime_seconds({"expires_in_seconds": value})
    others: list[object] = ["60", True, 1.5, []]
    for other in others:
        with pytest.raises(InvalidType):
            lifetime_seconds({"expires_in_seconds": other})
