"""Generations are pinned to the fold that writes them."""

from __future__ import annotations

import types
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from infrastructure.event_store.engine import writer_engine
from infrastructure.event_store.generations import FoldMismatch, active, claim
from projections.digest import fold_digest, source_tokens
from projections.speed import SPEED


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = writer_engine(postgres_url)
    yield engine
    engine.dispose()


def test_the_first_claim_makes_generation_1_and_readers_follow_it(engine: Engine) -> None:
    assert active(engine, "speed") is None
    assert claim(engine, "speed", 1, "digest") == 1
    assert active(engine, "speed") == 1
    assert claim(engine, "speed", 1, "digest") == 1


@pytest.mark.parametrize(("version", "digest"), [(2, "digest"), (1, "other")])
def test_invariant_9_another_fold_refuses_to_write(engine: Engine, version: int, digest: str) -> None:
    claim(engine, "speed", 1, "digest")
    with pytest.raises(FoldMismatch, match="rebuild"):
        claim(engine, "speed", version, digest)
    assert active(engine, "speed") == 1


def test_a_digest_changes_with_the_code_and_with_nothing_else() -> None:
    code = 'def fold(a):\n    """Words."""\n    return a + 1\n'
    same = '# a comment\ndef fold(a):\n    """Other words."""\n    return (a\n        + 1)\n'
    assert list(source_tokens(code)) == list(source_tokens(same))
    assert list(source_tokens(code)) != list(source_tokens(code.replace("1", "2")))
    assert list(source_tokens(code)) != list(source_tokens(code.replace("a + 1", "1 + a")))


def test_the_digest_of_the_speed_fold_is_pinned() -> None:
    # Changing the fold or its bytes needs a new fold_version and a rebuild: change this line knowingly.
    assert (SPEED.fold_version, fold_digest(SPEED)) == (1, "e0549ca7e4352f2aa6e9c0346f01d2f7")
    assert all(isinstance(module, types.ModuleType) for module in SPEED.modules)
