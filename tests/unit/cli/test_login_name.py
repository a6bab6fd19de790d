"""A discard records permanently who decided it. If the system has no name for the user, the command asks for one."""

from __future__ import annotations

import pytest
import typer

from infrastructure.cli.parked import login_name


def test_the_login_name_is_taken() -> None:
    assert login_name(lambda: "ann") == "ann"


# Python up to 3.12 and from 3.13 on.
@pytest.mark.parametrize("unknown", [KeyError("getpwuid(): uid not found: 54321"), OSError("No username set")])
def test_regression_a_user_without_a_name_is_asked_for_one(unknown: Exception) -> None:
    def ask() -> str:
        raise unknown

    with pytest.raises(typer.BadParameter, match="--who"):
        login_name(ask)
