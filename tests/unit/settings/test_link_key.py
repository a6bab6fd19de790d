"""The secret that signs customers' links is long, and is shown nowhere."""

from __future__ import annotations

import pytest

from infrastructure.settings.redaction import redact
from infrastructure.settings.settings import Settings, SettingsError

SECRET = "0123456789-0123456789-0123456789"


def test_it_reaches_a_child_process_and_no_report() -> None:
    settings = Settings.load({}, {"RIDELOG_LINK_KEY": SECRET}, None)
    assert settings.link_key == SECRET
    assert settings.environment()["RIDELOG_LINK_KEY"] == SECRET
    assert settings.public()["link_key"] == "***"
    assert redact(f"the key {SECRET} was used") == "the key *** was used"


def test_a_short_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="RIDELOG_LINK_KEY") as caught:
        Settings.load({}, {"RIDELOG_LINK_KEY": SECRET[:-1]}, None)
    assert "at least 32 characters" in str(caught.value)
    assert SECRET[:-1] not in str(caught.value)
