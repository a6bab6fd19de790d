"""Several servers in one URL: each form that the engine takes has one reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.errors import UserError
from infrastructure.postgres.engine import connect_args
from infrastructure.settings.postgres_url import libpq_parameters, sqlalchemy_url, with_hosts_in_query


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://u:p@a:1,b:2/db", "a,b", "1,2"),
        ("postgresql://u:p@a:1,b:2?sslmode=require", "a,b", "1,2"),
        ("postgresql://a:1,b:2", "a,b", "1,2"),
        ("postgresql://u:p@[::1]:1,[::2]/db", "::1,::2", "1,5432"),
        ("postgresql://u:p@a:1,b,c:3/db", "a,b,c", "1,5432,3"),
        ("postgresql://u:p@a,b/db", "a,b", None),
        ("postgresql://u:p@a,b:2/db", "a,b", "2"),
        ("postgresql://u:p@/db?host=a:1&host=b:2", "a,b", "1,2"),
        ("postgresql://u:p@/db?host=a,b&port=1,2", "a,b", "1,2"),
        ("postgresql+psycopg2://u:p,q@a:1/db", "a", "1"),
        ("postgresql://u@/db?host=%2Frun%2Fpostgres", "/run/postgres", None),
    ],
)
def test_hosts_and_ports_as_libpq_gets_them(url: str, host: str, port: str | None) -> None:
    found = libpq_parameters(sqlalchemy_url(url))
    assert (found["host"], found.get("port")) == (host, port)


def test_user_password_database_and_parameters_stay_as_they_are() -> None:
    found = libpq_parameters(sqlalchemy_url("postgresql://u:p%40%2C@a:1,b:2/db?sslmode=require"))
    expected = {"user": "u", "password": "p@,", "dbname": "db", "sslmode": "require"}
    assert {name: found[name] for name in expected} == expected


@given(st.text(max_size=40))
def test_a_url_without_several_hosts_is_not_changed(text: str) -> None:
    assert "," in text or with_hosts_in_query(f"postgresql://{text}") == f"postgresql://{text}"


@pytest.mark.parametrize("url", ["postgresql://a:1,b:x/db", "postgresql://u@/db?host=a,b&port=1", "nothing"])
def test_hosts_that_make_no_sense_are_refused_by_the_name_of_their_setting(url: str) -> None:
    with pytest.raises(UserError, match="RIDELOG_POSTGRES_REPLICATION_URL"):
        sqlalchemy_url(url, "RIDELOG_POSTGRES_REPLICATION_URL")


def test_the_encoding_is_ours_whatever_the_url_says() -> None:
    url = sqlalchemy_url("postgresql://u@a/db?client_encoding=latin1")
    assert (libpq_parameters(url) | connect_args(url))["client_encoding"] == "utf8"


def test_of_several_hosts_the_one_that_takes_writes_is_used() -> None:
    def wanted(url: str) -> str | None:
        address = sqlalchemy_url(url)
        return (libpq_parameters(address) | connect_args(address)).get("target_session_attrs")

    assert wanted("postgresql://u@one:1,two:2/db") == "read-write"
    assert wanted("postgresql://u@one:1,two:2/db?target_session_attrs=primary") == "primary"
    assert wanted("postgresql://u@one/db") is None
