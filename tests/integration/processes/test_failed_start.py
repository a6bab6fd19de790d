"""An API process that cannot serve ends and says why, so that its supervisor restarts it or reports it."""

from __future__ import annotations

from pathlib import Path

from infrastructure.settings.settings import Settings
from tests.support.program_process import ProgramProcess
from tests.support.time_limits import scaled_s


def test_regression_an_api_process_whose_secret_is_damaged_ends(postgres_url: str, tmp_path: Path) -> None:
    """A full disk cut the file. The threads of the group commits were started by then, and kept the process alive."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "link-key").write_bytes(b"cut")
    (data / "link-key").chmod(0o600)
    settings = Settings(
        postgres_url=postgres_url,
        redis_url="redis://127.0.0.1:1/0",
        kafka_bootstrap="127.0.0.1:1",
        data_dir=data,
        port=0,
    )
    api = ProgramProcess(settings, "api", tmp_path / "api.log")
    try:
        assert api.process.wait(scaled_s(60)) != 0
    finally:
        api.process.kill()
        api.process.wait(scaled_s(20))
    assert "delete it, and a new one is made" in api.log.read_text()
