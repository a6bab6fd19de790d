"""Settings: precedence, round trip to a child process, errors that say what to do, hidden secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.settings.settings import Settings, SettingsError
from infrastructure.settings.tokens import parse_tokens, short_tokens_warning

EVERYTHING = {
    "RIDELOG_DATA_DIR": "/var/lib/ridelog",
    "RIDELOG_PORT": "0",
    "RIDELOG_POSTGRES_URL": "postgresql://u:p@db/ridelog",
    "RIDELOG_TOKENS": "ingest=a,ingest=b,read=c,admin=d",
    "RIDELOG_TOPIC_PARTITIONS": "16",
    "RIDELOG_KAFKA_CLIENT": "kafka-python",
    "RIDELOG_METRICS_DIR": "/tmp/metrics",
    "RIDELOG_LOG_FORMAT": "json",
}


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    toml = tmp_path / "ridelog.toml"
    toml.write_text('port = 1\nhost = "127.0.0.3"\nslot_name = "from_file"\n')
    env = {"RIDELOG_PORT": "2", "RIDELOG_HOST": "127.0.0.2"}
    settings = Settings.load({"port": 3, "host": None}, env, toml)
    assert (settings.port, settings.host, settings.slot_name) == (3, "127.0.0.2", "from_file")
    assert settings.feature_ttl_ms == 7_200_000


@pytest.mark.parametrize("env", [{}, EVERYTHING])
def test_the_environment_given_to_a_child_reproduces_the_settings(env: dict[str, str]) -> None:
    settings = Settings.load({}, env, None)
    assert Settings.load({}, settings.environment(), None) == settings


def test_relative_directories_become_absolute_because_a_child_may_run_elsewhere() -> None:
    assert Settings.load({"data_dir": "here"}, {}, None).data_dir == Path.cwd() / "here"


def test_variables_of_the_tests_and_empty_ones_are_not_settings() -> None:
    env = {"RIDELOG_GPS_DATA": "/data", "RIDELOG_TEST_SEED": "7", "RIDELOG_POSTGRES_URL": ""}
    assert Settings.load({}, env, None) == Settings.load({}, {}, None)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"RIDELOG_PROT": "1"}, "unknown setting RIDELOG_PROT; the closest known one is RIDELOG_PORT"),
        ({"RIDELOG_PORT": "eighty"}, 'RIDELOG_PORT is "eighty": a whole number from 0 to 65,535 is expected'),
        ({"RIDELOG_PORT": "70000"}, 'RIDELOG_PORT is "70000": a whole number from 0 to 65,535 is expected'),
        ({"RIDELOG_TOPIC_PARTITIONS": "12"}, ": one of 1, 2, 4, 8, 16, 32, 64 is expected"),
        ({"RIDELOG_FEATURE_TTL_MS": "0"}, 'RIDELOG_FEATURE_TTL_MS is "0": a whole number of at least 1 is expected'),
        ({"RIDELOG_KAFKA_CLIENT": "librdkafka"}, ": one of confluent, kafka-python is expected"),
        ({"RIDELOG_SLOT_NAME": "Has-Capitals"}, ": 1 to 63 small letters, digits and '_' is expected"),
    ],
)
def test_a_bad_value_is_named_with_its_origin_and_what_would_be_accepted(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match="RIDELOG_") as error:
        Settings.load({}, env, None)
    assert message in str(error.value)


def test_a_name_that_resembles_no_setting_gets_no_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"RIDELOG_XYZZY; no known one is like it; .*config show"):
        Settings.load({}, {"RIDELOG_XYZZY": "1"}, None)


def test_a_bad_value_that_may_hold_a_password_is_not_shown(tmp_path: Path) -> None:
    toml = tmp_path / "ridelog.toml"
    toml.write_text("tokens = ['admin=hunter2']\n")
    with pytest.raises(SettingsError, match=r"tokens in .* does not fit: text is expected") as error:
        Settings.load({}, {}, toml)
    assert "hunter2" not in str(error.value)


def test_an_unknown_key_or_a_broken_file_is_an_error(tmp_path: Path) -> None:
    toml = tmp_path / "ridelog.toml"
    toml.write_text("prot = 1\n")
    with pytest.raises(SettingsError, match=r"unknown setting prot in .*; the closest known one is port"):
        Settings.load({}, {}, toml)
    toml.write_text("port = = 1\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        Settings.load({}, {}, toml)
    with pytest.raises(SettingsError, match="--prot"):
        Settings.load({"prot": 1}, {}, None)


def test_tokens_by_role() -> None:
    settings = Settings.load({}, EVERYTHING, None)
    assert settings.parsed_tokens() == {"a": {"ingest"}, "b": {"ingest"}, "c": {"read"}, "d": {"admin"}}
    assert Settings().parsed_tokens() == {}
    several = Settings(tokens="read+dispatch=x.~_-+/9==,metrics=m").parsed_tokens()
    assert several == {"x.~_-+/9==": {"read", "dispatch"}, "m": {"metrics"}}
    assert Settings(tokens="read+dispatch=secret,metrics=other").public()["tokens"] == "dispatch+read=***,metrics=***"


@pytest.mark.parametrize(
    "tokens",
    [
        "secret",
        "root=secret",
        "ingest=",
        "=secret",
        "ingest",
        "Ingest=secret",
        "secret=ingest",
        "ingest=secret,read=secret",
        "ingest=secret,ingest=secret",
        "ingest=secret,",
        ",ingest=secret",
        "ingest=secret,,read=secret2",
        ",",
        "ingest=secret, read=secret2",
        "ingest= secret",
        "ingest =secret",
        "ingest=sec ret",
        "ingest=secret\n",
        "ingest=secret\tread=secret2",
        "ingest=s\u00e9cret",
        "ingest=secret\x7f",
        "ingest=secret;read=secret2",
        "ingest=secret|read+dispatch=secret2",
        "ingest=ingest=secret",
        '"ingest=secret"',
        "read+=secret",
        "+read=secret",
        "read+read=secret",
        "read+root=secret",
        "ingest=" + "secret" * 1_000,
    ],
    ids=lambda tokens: repr(tokens[:40]),
)
def test_malformed_tokens_are_rejected_in_one_line_that_does_not_show_them(tokens: str) -> None:
    with pytest.raises(SettingsError, match="tokens: item") as error:
        Settings.load({"tokens": tokens}, {}, None)
    for shown in ("secret", "cret", "root"):
        assert shown not in str(error.value)
    assert "\n" not in str(error.value)


def test_the_warning_of_a_short_token_names_the_version_that_rejects_it() -> None:
    warning = short_tokens_warning(parse_tokens(f"ingest=hunter2,read+metrics=short,admin={'x' * 16}"))
    assert warning is not None
    assert "2 of 3 tokens (ingest, metrics+read) have fewer than 16 characters" in warning
    assert "version 0.2.0 refuses them" in warning
    assert "hunter2" not in warning
    assert "\n" not in warning
    assert short_tokens_warning(parse_tokens(f"admin={'x' * 16}")) is None


ADDRESS_OF: dict[str, tuple[str, ...]] = {
    "postgres_url": ("postgres",),
    "redis_url": ("redis", "unix"),
    "schema_registry_url": ("http",),
    "kafka_bootstrap": ("",),
}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@db:5432/x", "postgresql://db:5432/x"),
        ("postgresql://u:se#cr/e?t@db/x?sslpassword=secret&sslmode=require", "postgresql://db/x"),
        ("POSTGRES://u:secret@[::1]:5432/x", "postgresql://[::1]:5432/x"),
        ("postgresql://u:secret@/x?host=a:1&host=b:2", "postgresql://a:1,b:2/x"),
        ("postgresql://ridelog@/ridelog?host=%2Frun", "postgresql:///ridelog?host=/run"),
        ("redis://:secret@cache/0", "redis://cache:6379/0"),
        ("rediss://u:se@cret@cache:1?password=secret", "rediss://cache:1/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis+cluster://:secret@one:7000,two", "redis+cluster://one:7000,two:6379"),
        ("rediss+cluster://u:se@cret@[::1]:7000/0?password=secret", "rediss+cluster://[::1]:7000"),
        ("sasl_ssl://u:secret@a:1,b:2?mechanism=PLAIN", "sasl_ssl://a:1,b:2"),
        ("a:1,b:2", "a:1,b:2"),
        ("http://registry:8081", "http://registry:8081"),
        ("https://u:secret@registry/base/?key=secret", "https://registry/base"),
    ],
)
def test_only_host_and_database_of_an_address_are_shown(url: str, shown: str) -> None:
    setting = next(name for name, start in ADDRESS_OF.items() if url.lower().startswith(start))
    public = Settings.load({setting: url}, {}, None).public()
    assert public[setting] == shown
    assert "secret" not in str(list(public.values()))


def test_public_settings_hide_tokens() -> None:
    assert Settings(tokens="ingest=secret,read=other").public()["tokens"] == "ingest=***,read=***"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_which_hosts_are_loopback(host: str, loopback: bool) -> None:
    assert Settings(host=host).on_loopback is loopback
