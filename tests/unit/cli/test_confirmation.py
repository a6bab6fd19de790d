"""Commands that decide about money ask where a person can answer, and only there."""

from __future__ import annotations

import io

import pytest

from infrastructure.cli.confirmation import confirm
from infrastructure.errors import UserError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "yes\n", " YES \n"])
def test_yes_goes_on(answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    confirm("settle 3 payments?", yes=False, terminal=Terminal(answer))
    assert capsys.readouterr() == ("", "settle 3 payments? [y/N]\n")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_any_other_answer_and_the_end_of_the_input_do_nothing(answer: str) -> None:
    with pytest.raises(UserError, match="nothing was done"):
        confirm("settle 3 payments?", yes=False, terminal=Terminal(answer))


def test_programs_are_not_asked(capsys: pytest.CaptureFixture[str]) -> None:
    confirm("settle 3 payments?", yes=True, terminal=Terminal("n\n"))
    confirm("settle 3 payments?", yes=False, terminal=io.StringIO("n\n"))
    assert capsys.readouterr() == ("", "")
