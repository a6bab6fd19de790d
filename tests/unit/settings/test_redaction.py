"""Known secrets are removed from every text of the process."""

from __future__ import annotations

import pytest

from infrastructure.settings.redaction import redact, remember


@pytest.mark.parametrize(
    ("secret", "is_hidden"),
    [
        ("redaction", False),
        ("redact1", False),
        ("redact12", True),
        ("redactionisaword", True),
        ("QwErTyUiOpAsDfGhJkLz", True),
    ],
    ids=["a word", "too short", "short", "letters as long as a token", "letters of a generator"],
)
def test_regression_a_token_of_letters_alone_is_hidden_and_a_word_is_not(secret: str, is_hidden: bool) -> None:
    """A secret of any length was taken for a word if it had neither digits nor signs, and so was shown in logs."""
    remember({secret})
    assert redact(f"Bearer {secret}!") == ("Bearer ***!" if is_hidden else f"Bearer {secret}!")
